"""What the command line shows of a stack that starts and of a task that runs, in the reader's language."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from deployments.local.services import Happening, StackEvent
from deployments.wording.messages import Message
from deployments.wording.speaking import text
from gpu_tasks.contract.faults import Fault
from gpu_tasks.contract.records import RecordStage, Status, TaskRecord
from gpu_tasks.contract.sentences import Language, told, told_fault

if TYPE_CHECKING:  # it imports half of the stack, which most commands do not need
    from deployments.local.addresses import StackAddresses

STATUSES: Mapping[Status, Message] = {status: Message[f"STATUS_{status.name}"] for status in Status}
STAGES: Mapping[RecordStage, Message] = {stage: Message[f"STAGE_{stage.name}"] for stage in RecordStage}
HAPPENINGS: Mapping[Happening, Message] = {what: Message[f"HAPPENING_{what.name}"] for what in Happening}

_COLOURS = {Status.COMPLETED: "green", Status.FAILED: "red", Status.CANCELLED: "yellow"}
_SHOWN = {
    Happening.NOTICE: "yellow",
    Happening.READY: "green",
    Happening.DIED: "red",
    Happening.GAVE_UP: "red",
    Happening.KILLED: "yellow",
}


class Told:
    """Writes for people to standard error, so that standard output stays clean for `--json`."""

    def __init__(self, language: Language = Language.ENGLISH, *, quiet: bool = False) -> None:
        self.language = language
        self.console = Console(stderr=True, quiet=quiet, highlight=False)

    def text(self, message: Message, **values: object) -> str:
        """Return what a message says in the reader's language."""
        return text(message, self.language, **values)

    def say(self, message: Message, *, style: str = "", **values: object) -> None:
        """Write a message as a line of its own."""
        self.line(self.text(message, **values), style=style)

    def line(self, line: str, *, style: str = "") -> None:
        # Unbroken: the line may go to a file or to a program.
        self.console.print(line, style=style, markup=False, soft_wrap=True)

    def fault(self, fault: Fault) -> None:
        """Write a fault: its code, and what it means."""
        self.line(f"[{fault.code}] {told_fault(fault, self.language)}", style="red")

    def rows(self, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """Write columns under their headings on standard output: they are what was asked for, and copied from."""
        widths = [max(cell_len(row[place]) for row in (headings, *rows)) for place in range(len(headings))]
        for row in (headings, *rows):
            cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
            sys.stdout.write("  ".join(cells).rstrip() + "\n")

    def stack_event(self, event: StackEvent) -> None:
        """Show what a person wants to know of the stack: what is ready, what died, what it says."""
        if event.what not in _SHOWN:
            return
        self.line(
            self.text(
                Message.SERVICE,
                name=event.service or self.text(Message.WHOLE_STACK),
                happening=self.text(HAPPENINGS[event.what]),
                took="" if event.seconds is None else self.text(Message.SECONDS, seconds=event.seconds),
                detail=event.detail,
            ).rstrip(),
            style=_SHOWN[event.what],
        )

    def addresses(self, addresses: "StackAddresses") -> None:
        """Show where to go."""
        self.say(Message.ADDRESS_PAGE, url=addresses.page_url)
        self.say(Message.ADDRESS_API, url=addresses.api_url)
        self.say(Message.ADDRESS_PREFECT, url=addresses.prefect_ui_url)
        self.say(Message.PREFECT_LOGIN, login=addresses.prefect_login.get_secret_value())

    @contextmanager
    def watching(self) -> Iterator["Watched"]:
        """Show a bar that follows the records it is given."""
        with _bar(self, TextColumn("{task.fields[message]}", markup=False)) as progress:
            yield Watched(self, progress)

    @contextmanager
    def fetching(self, name: str) -> Iterator["Fetched"]:
        """Show a bar that follows the bytes of a file."""
        with _bar(self) as progress:
            yield Fetched(progress, name)

    def outcome(self, record: TaskRecord) -> None:
        """Show how a task stands or ended, in one or two lines."""
        self.say(
            Message.OUTCOME,
            task_id=record.task_id,
            status=self.text(STATUSES[record.status]),
            stage=self.text(STAGES[record.stage]),
            percent=record.percent,
            style=_COLOURS.get(record.status, ""),
        )
        if (error := record.error) is not None:
            detail = told(error.error, error.detail, self.language)
            if error.stage:
                self.say(Message.FAILED_IN, code=error.error, stage=error.stage, detail=detail, style="red")
            else:
                self.say(Message.FAILED_WITH, code=error.error, detail=detail, style="red")
        if (result := record.result) is not None:
            self.say(Message.RESULT, key=result.output_key, seconds=result.duration_sec, encoder=result.encoder)


class Watched:
    """The bar of a task."""

    def __init__(self, told: Told, progress: Progress) -> None:
        self._told = told
        self._progress = progress
        self._bar = progress.add_task("", total=100, name=told.text(STAGES[RecordStage.QUEUED]), message="")

    def show(self, record: TaskRecord) -> None:
        message = record.progress[-1].message if record.progress else ""
        name = self._told.text(STAGES[record.stage])
        self._progress.update(self._bar, completed=record.percent, name=name, message=message)


class Fetched:
    """The bar of a file that is fetched."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._bar = progress.add_task("", total=None, name=name)

    def show(self, have: int, total: int | None) -> None:
        self._progress.update(self._bar, completed=have, total=total)


def _bar(told: Told, *more: TextColumn) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[name]:>10}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        *more,
    )
    return Progress(*columns, console=told.console, transient=not told.console.is_terminal)
