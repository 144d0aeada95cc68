"""Becomes the program it is given, after what only the new process itself can set.

Run as `python -I -S launch.py PARENT_PID DEATH_SIGNAL ACCOUNT COMMAND...`, standard library only. ACCOUNT is
`UID:GID`, or `-` to stay who we are. A program between fork and exec, and not a `preexec_fn`: the parent has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_EXIT_CANNOT_EXECUTE = 126
_EXIT_PARENT_GONE = 125


def main(arguments: list[str]) -> None:
    """Set signals, umask, account and the parent's death signal, then execute the command."""
    parent, death_signal, account, *command = arguments
    # A shell's background job inherits an ignored SIGINT, Python ignores SIGPIPE: both would survive the exec.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o077)
    if account != "-":
        uid, gid = (int(part) for part in account.split(":"))
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the account: changing it clears this setting.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit(_EXIT_PARENT_GONE)
    try:
        os.execve(command[0], command, os.environ)  # noqa: S606 - this program's one purpose
    except OSError as error:
        print(f"{command[0]} cannot be executed: {error.strerror}", file=sys.stderr)  # noqa: T201 - stderr is its log
        sys.exit(_EXIT_CANNOT_EXECUTE)


if __name__ == "__main__":
    main(sys.argv[1:])
