"""What can go wrong with the local stack, each with a sentence that says what to do.

StackError
├── StackAlreadyRunning    another process holds the data directory
├── DataDirectoryUnusable  belongs to someone else, or cannot be written
├── CredentialsUnusable    the credentials file is readable by others or is no credentials file
├── NoFreePort             the whole range is taken
├── AccountMissing         run as root, and no account to drop to for Postgres
├── ServiceFailed          one service did not start in time, or ended before it was ready
└── ServiceGaveUp          one service died too often
NotReady is no error of the stack: a probe raises it until the service answers.
"""

from pathlib import Path


class StackError(Exception):
    """The local stack cannot start or go on."""


class StackAlreadyRunning(StackError):  # noqa: N818 - the sentence it makes is what happened, like FileExistsError's
    def __init__(self, data_directory: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"{data_directory} is in use by {holder}. Stop it first or choose another data directory.")
        self.data_directory = data_directory
        self.pid = pid


class DataDirectoryUnusable(StackError):  # noqa: N818 - the same
    pass


class CredentialsUnusable(StackError):  # noqa: N818 - the same
    pass


class NoFreePort(StackError):  # noqa: N818 - the same
    pass


class AccountMissing(StackError):  # noqa: N818 - the same
    pass


class ServiceFailed(StackError):  # noqa: N818 - the same
    def __init__(self, service: str, reason: str, log_path: Path) -> None:
        super().__init__(f"{service} did not start: {reason}. Its log: {log_path}")
        self.service = service
        self.reason = reason
        self.log_path = log_path


class ServiceGaveUp(StackError):  # noqa: N818 - the same
    def __init__(self, service: str, deaths: int, seconds: float, log_path: Path) -> None:
        super().__init__(
            f"{service} died {deaths} times within {seconds:.0f} s and is left stopped. Its log: {log_path}"
        )
        self.service = service
        self.log_path = log_path


class NotReady(Exception):  # noqa: N818 - a probe's answer
    """The service does not answer yet; the message is the reason last seen."""
