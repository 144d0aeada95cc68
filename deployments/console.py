"""What the command line shows of a stack that starts and of a task that runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from deployments.local.addresses import StackAddresses
from deployments.local.services import Happening, StackEvent
from gpu_tasks.contract.credentials import CredentialState, Verdict
from gpu_tasks.contract.records import Status, TaskRecord

_COLOURS = {Status.COMPLETED: "green", Status.FAILED: "red", Status.CANCELLED: "yellow"}
_TOLD = {
    Happening.NOTICE: "yellow",
    Happening.READY: "green",
    Happening.DIED: "red",
    Happening.GAVE_UP: "red",
    Happening.KILLED: "yellow",
}


class Told:
    """Writes for people to standard error, so that standard output stays clean for `--json`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)

    def line(self, text: str, *, style: str = "") -> None:
        # Unbroken: the line may go to a file or to a program.
        self.console.print(text, style=style, markup=False, soft_wrap=True)

    def stack_event(self, event: StackEvent) -> None:
        """Show what a person wants to know of the stack: what is ready, what died, what it says."""
        if event.what not in _TOLD:
            return
        took = "" if event.seconds is None else f" {event.seconds:5.1f} s"
        name = event.service or "stack"
        self.line(f"{name:>15} {event.what}{took} {event.detail}".rstrip(), style=_TOLD[event.what])

    def addresses(self, addresses: StackAddresses) -> None:
        """Show where to go."""
        self.line(f"API          {addresses.api_url}   (docs: {addresses.api_url}/docs)")
        self.line(f"Prefect UI   {addresses.prefect_ui_url}")

    @contextmanager
    def watching(self) -> Iterator["Watched"]:
        """Show a bar that follows the records it is given."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.fields[stage]:>10}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[message]}", markup=False),
        )
        with Progress(*columns, console=self.console, transient=not self.console.is_terminal) as progress:
            yield Watched(progress)

    def verdict(self, verdict: Verdict) -> None:
        """Show what a file's credential is worth and what it says."""
        self.line(verdict.state, style="green" if verdict.state is CredentialState.TRUSTED else "red")
        for reason in verdict.reasons:
            self.line(reason)
        if verdict.signer:
            self.line(f"signed by {verdict.signer.name}, {verdict.signer.organisation}")
        if verdict.claims:
            stages = ", ".join(f"{stage.stage} ({stage.engine})" for stage in verdict.claims.stages)
            self.line(f"task {verdict.claims.task_id}: {stages}")

    def outcome(self, record: TaskRecord) -> None:
        """Show how a task stands or ended, in one or two lines."""
        self.line(
            f"{record.task_id} {record.status} ({record.stage}, {record.percent:.0f} %)",
            style=_COLOURS.get(record.status, ""),
        )
        if record.error:
            where = f" in {record.error.stage}" if record.error.stage else ""
            self.line(f"{record.error.error}{where}: {record.error.detail}", style="red")
        if record.result:
            self.line(f"{record.result.output_key}  {record.result.duration_sec:.2f} s, {record.result.encoder}")


class Watched:
    """One bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar = progress.add_task("", total=100, stage="queued", message="")

    def show(self, record: TaskRecord) -> None:
        message = record.progress[-1].message if record.progress else ""
        self._progress.update(self._bar, completed=record.percent, stage=record.stage, message=message)
