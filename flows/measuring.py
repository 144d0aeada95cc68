"""How good a result came out, measured in the CPU pool beside publishing: told in the record, never a run's end.

The first half runs in a process of the pool and imports no Prefect; the second half asks for it.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from flows.footage import Footage, Whole
from flows.workbench import scratch, store_of
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Timeline
from gpu_tasks.contract.quality import QualityPolicy, QualityReport
from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.faces.finding import chosen_faces
from gpu_tasks.faces.selection import speaker_at
from gpu_tasks.faces.trackfile import TracksReader
from gpu_tasks.quality.inspection import inspect_video
from gpu_tasks.settings import R2Settings

# Raise it when equal files get other figures.
_MEASURE_REVISION: Final = 3

_logger = logging.getLogger(__name__)


class Inspected(BaseModel):
    """What is measured against what, and by which thresholds; equal ones have equal figures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    result: Artifact
    target: Artifact
    audio: Artifact | None
    sources: tuple[Artifact, ...]
    timeline: Timeline
    tracks: Artifact
    speaker: int | None
    policy: QualityPolicy
    measure_revision: int = _MEASURE_REVISION


def inspected_of(footage: Footage, whole: Whole, policy: QualityPolicy, speaker: int | None) -> Inspected:
    """Return what the figures of a run are taken from."""
    return Inspected(
        result=whole.artifact,
        target=footage.target,
        audio=footage.audio,
        sources=footage.sources,
        timeline=footage.timeline,
        tracks=footage.tracks,
        speaker=speaker,
        policy=policy,
    )


def inspect(inspected: Inspected, r2: R2Settings) -> QualityReport:
    """Measure a result; in a process of the CPU pool.

    Raises:
        FaultError: DEADLINE_EXCEEDED when it takes longer than the policy grants, otherwise as media and storage raise.
    """
    store, began = store_of(r2), time.monotonic()

    def checkpoint() -> None:
        if time.monotonic() - began > inspected.policy.most_seconds:
            raise FaultError(FaultCode.DEADLINE_EXCEEDED, f"Measuring took over {inspected.policy.most_seconds:g} s.")

    with ExitStack() as stack:
        folder = stack.enter_context(scratch())

        def fetched(artifact: Artifact) -> Path:
            # Named by digest: a picture given twice is fetched once.
            path = folder / artifact.sha256
            if not path.exists():
                store.fetch(artifact, path)
            return path

        spoken: Callable[[int], Floats | None] | None = None
        if inspected.audio:
            spoken = _spoken(stack.enter_context(TracksReader(fetched(inspected.tracks))), inspected)
        return inspect_video(
            fetched(inspected.result),
            face_models().detector,
            target=fetched(inspected.target),
            audio=fetched(inspected.audio) if inspected.audio else None,
            sources=[fetched(source) for source in inspected.sources],
            timeline=inspected.timeline,
            thresholds=inspected.policy,
            judge_lips=inspected.audio is not None,
            most_frames=inspected.policy.most_frames,
            spoken=spoken,
            checkpoint=checkpoint,
        ).report


def _spoken(tracks: TracksReader, inspected: Inspected) -> Callable[[int], Floats | None]:
    """Tell whose lips were moved; nobody's where the speaker is not seen or the plan has ended."""
    speaker = chosen_faces(tracks, inspected.timeline, speaker_at(inspected.speaker))

    def middle(index: int) -> Floats | None:
        faces = speaker(index) if index < inspected.timeline.frame_count else ()
        return np.asarray(faces[0].mesh_468[:, :2].mean(axis=0), np.float32) if faces else None

    return middle


async def told_of(measuring: Awaitable[QualityReport]) -> dict[str, Any]:
    """Return what the record's `details.quality` says: the figures, or why there are none. Never raises an error."""
    try:
        report = await measuring
    except FaultError as error:
        return {"measured": False, "reason": error.fault.code.value, "detail": error.fault.detail}
    except Exception:
        # A measure that breaks is our fault and not the result's: the log has it, the run goes on.
        _logger.exception("The result could not be measured.")
        return {"measured": False, "reason": FaultCode.INTERNAL.value, "detail": ""}
    return {"measured": True, **report.model_dump(mode="json")}
