"""A run as operators see it in the Prefect UI: what it does and for whom, and a bar per stage.

Nothing here slows a run down or ends it: it is written beside the run, seldom, and what Prefect does not take is left
out.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
from prefect.logging import get_logger

from blocks.tags import OURS, label_tag
from flows.request import PipelineRequest
from gpu_tasks.contract.jobs import Stage

# Between two writes of one run's bars, at first and later: with hundreds of runs the server feels every one.
_FIRST_PAUSE_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_LAST_SECONDS: Final = 5.0
_PICTURE_SECONDS: Final = 15.0
_MAX_NAME_LETTERS: Final = 160
_MAX_FILE_LETTERS: Final = 32
_STEM_LETTERS: Final = 12
_PROGRESS: Final = "progress"
_FULL: Final = 100.0
_SHEET: Final = "Target and result at equal moments, and the sources."

_logger = get_logger(__name__)


@dataclass
class _Bar:
    percent: float = 0.0
    message: str = ""
    told: tuple[float, str] | None = None
    artifact_id: UUID | None = None


class Board:
    """The bars of one run.

    Args:
        task_id: The run.
        request: What it does.
        tags: Those that the run has.
    """

    def __init__(self, task_id: str, request: PipelineRequest, tags: Collection[str]) -> None:
        self._run_id = UUID(task_id)
        self._name = name_of(request)
        self._tags = sorted({*tags, *tags_of(request)})
        self._bars: dict[Stage, _Bar] = {}
        self._is_entitled = False
        self._hanging: list[asyncio.Task[None]] = []

    def begin(self, stage: Stage) -> None:
        """Show a stage's bar; what lies before the stage is done."""
        for earlier, bar in self._bars.items():
            if _ORDER[earlier] < _ORDER[stage]:
                bar.percent = _FULL
        self._bars.setdefault(stage, _Bar())

    def show(self, stage: Stage, fraction: float, message: str) -> None:
        """Let a stage's bar stand at a fraction, 0..1."""
        bar = self._bars.setdefault(stage, _Bar())
        bar.percent, bar.message = round(_FULL * fraction, 1), message

    def fill(self) -> None:
        """Let all bars be full: the run has come to its end."""
        for bar in self._bars.values():
            bar.percent = _FULL

    def hang(self, drawing: Coroutine[Any, Any, str]) -> None:
        """Leave a picture with the run once it is drawn; the run ends after that, its record may be closed before."""
        self._hanging.append(asyncio.create_task(self._hang(drawing)))

    async def _hang(self, drawing: Awaitable[str]) -> None:
        try:
            url = await drawing
        except Exception as error:  # noqa: BLE001  # whatever it is, the result is there without a picture
            _logger.warning("The contact sheet could not be drawn. (%s)", type(error).__name__)
            return
        with _left_out():
            async with get_client() as client:
                await client.create_artifact(
                    ArtifactCreate(type="image", data=url, description=_SHEET, flow_run_id=self._run_id)
                )

    @asynccontextmanager
    async def kept(self, *, attempts: int) -> AsyncIterator[None]:
        """Write down what is shown while the block runs, and once more when it has ended, unless it goes on elsewhere.

        Args:
            attempts: Which attempt of the run this is; a later one goes on with the bars of the one before.
        """
        keeping = asyncio.create_task(self._keep(attempts=attempts))
        try:
            yield
        except asyncio.CancelledError:
            raise
        except Exception:
            await self._last()
            raise
        else:
            await asyncio.gather(self._last(), self._hung())
        finally:
            for task in (keeping, *self._hanging):
                task.cancel()
            await asyncio.wait([keeping, *self._hanging])

    async def _hung(self) -> None:
        """Wait a while for pictures: readers know the result already, and Prefect should not know it much later."""
        if self._hanging:
            await asyncio.wait(self._hanging, timeout=_PICTURE_SECONDS)

    async def _keep(self, *, attempts: int) -> None:
        await self._entitle()
        if attempts > 1:
            with _left_out():
                async with get_client() as client:
                    await self._find(client)
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await self._tell()

    async def _last(self) -> None:
        with _left_out():
            async with asyncio.timeout(_LAST_SECONDS):
                if not self._is_entitled:
                    await self._entitle()
                await self._tell()

    async def _entitle(self) -> None:
        with _left_out():
            async with get_client() as client:
                await client.update_flow_run(self._run_id, name=self._name, tags=self._tags)
            self._is_entitled = True

    async def _find(self, client: PrefectClient) -> None:
        """Take over the bars that an earlier attempt has left."""
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[self._run_id]), type=ArtifactFilterType(any_=[_PROGRESS])
            )
        )
        for artifact in found:
            with suppress(ValueError):
                stage = Stage((artifact.description or "").partition(":")[0])
                percent = float(artifact.data) if isinstance(artifact.data, int | float) else 0.0
                bar = self._bars.setdefault(stage, _Bar(percent=percent))
                bar.artifact_id = artifact.id

    async def _tell(self) -> None:
        """Write down the bars that have changed."""
        now = {stage: _told(stage, bar) for stage, bar in self._bars.items()}
        changed = {stage: told for stage, told in now.items() if told != self._bars[stage].told}
        if not changed:
            return
        with _left_out():
            async with get_client() as client:
                await asyncio.gather(*(self._write(client, stage, told) for stage, told in changed.items()))

    async def _write(self, client: PrefectClient, stage: Stage, told: tuple[float, str]) -> None:
        bar, (percent, description) = self._bars[stage], told
        if bar.artifact_id is None:
            artifact = ArtifactCreate(type=_PROGRESS, data=percent, description=description, flow_run_id=self._run_id)
            bar.artifact_id = (await client.create_artifact(artifact)).id
        else:
            await client.update_artifact(bar.artifact_id, ArtifactUpdate(data=percent, description=description))
        bar.told = told


_ORDER = {stage: place for place, stage in enumerate(Stage)}


def _told(stage: Stage, bar: _Bar) -> tuple[float, str]:
    return bar.percent, f"{stage}: {'done' if bar.percent == _FULL else bar.message}".removesuffix(": ")


def name_of(request: PipelineRequest) -> str:
    """Return what a run does, with what, and for whom: `lip-sync and face swap of anna.mp4 (customer=acme)`."""
    does = {Stage.WAV2LIP: "lip-sync", Stage.FACEFUSION: "face swap"}
    what = " and ".join(does[stage] for stage in request.gpu_stages) or "nothing"
    whose = ", ".join(f"{name}={value}" for name, value in sorted(request.labels.items()))
    name = f"{what} of {_short(request.target_key.rpartition('/')[2])}" + (f" ({whose})" if whose else "")
    return name if len(name) <= _MAX_NAME_LETTERS else f"{name[: _MAX_NAME_LETTERS - 1]}…"


def _short(file_name: str) -> str:
    """Leave enough of a name to tell it from others; the door names uploads by 32 digits."""
    stem, dot, suffix = file_name.rpartition(".")
    return file_name if len(file_name) <= _MAX_FILE_LETTERS else f"{(stem or suffix)[:_STEM_LETTERS]}…{dot}{suffix[:8]}"


def tags_of(request: PipelineRequest) -> list[str]:
    """Return by which words operators find a run."""
    labels = (label_tag(name, value) for name, value in request.labels.items())
    return [OURS, *(stage.value for stage in request.gpu_stages), *labels]


@contextmanager
def _left_out() -> Iterator[None]:
    """Go on where Prefect does not take something that only operators would miss."""
    try:
        yield
    except (httpx.HTTPError, OSError, TimeoutError) as error:
        _logger.debug("Prefect did not take what operators are shown. (%s)", type(error).__name__)
