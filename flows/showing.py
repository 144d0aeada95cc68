"""A part of the draft result as a picture or a clip: the frames that both stages would make, before their encode."""

from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final

import cv2

from flows.glimpsing import track_glimpse
from gpu_tasks.contract.credentials import InputClaim, RunClaims, StageClaim
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, Segment, Stage, Timeline
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.draft.models import FaceModels
from gpu_tasks.draft.one_pass import DraftOrder, draft_frames
from gpu_tasks.media.join import join
from gpu_tasks.media.writer import VideoWriter

_JPEG_QUALITY: Final = 95


def tracked(order: DraftOrder, models: FaceModels) -> None:
    """Find the faces of the part that an order shows, and write its tracks.

    Raises:
        FaultError: As VideoReader does.
    """
    track_glimpse(order.target, order.tracks, models, order.timeline, order.frames)


def show_still(order: DraftOrder, destination: Path, models: FaceModels) -> int:
    """Write the first frame of an order, as PNG or JPEG by the name of the file; return 1 when it shows a face.

    Raises:
        FaultError: As `draft_frames`.
    """
    with closing(draft_frames(order, models)) as frames:
        shown = next(frames)
    settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if destination.suffix.lower() != ".png" else []
    done, encoded = cv2.imencode(destination.suffix.lower(), shown.pixels, settings)
    if not done:
        raise FaultError(FaultCode.INTERNAL)
    destination.write_bytes(encoded.tobytes())
    return int(shown.has_face)


def show_clip(order: DraftOrder, destination: Path, models: FaceModels, *, sound: Path | None) -> int:
    """Write an order as an MP4 with the sound that belongs to its part; return how many frames show a face.

    Args:
        order: What is shown.
        destination: Where the file goes.
        models: Place the points on faces.
        sound: Begins with the result, wherever in it the part lies.

    Raises:
        FaultError: As `draft_frames`, VideoWriter and `join`.
    """
    silent = destination.with_name(f"silent-{destination.name}")
    with_face = 0
    with closing(draft_frames(order, models)) as frames:
        first = next(frames)
        height, width = first.pixels.shape[:2]
        with VideoWriter(silent, width=width, height=height, fps=order.timeline.fps) as writer:
            for shown in chain((first,), frames):
                with_face += shown.has_face
                writer.write(shown.pixels)
    join(
        [silent],
        destination=destination,
        fps=order.timeline.fps,
        audio_from=sound,
        duration_seconds=float(order.frames.frame_count / order.timeline.fps),
        audio_start_seconds=order.frames.start_frame / order.timeline.fps,
    )
    return with_face


def part_at(timeline: Timeline, at_seconds: float, frame_count: int, *, field: str) -> Segment:
    """Return the part of a result that begins with the frame on the screen at some second.

    Args:
        timeline: Of the whole result.
        at_seconds: From its start.
        frame_count: How many frames are shown, if there are so many left.
        field: What the caller calls the second.

    Raises:
        FaultError: REQUEST_INVALID when it lies after the end.
    """
    start = int(Fraction(at_seconds).limit_denominator(1_000_000) * timeline.fps)
    if start >= timeline.frame_count:
        lasts = f"{field}: the result lasts {timeline.duration_seconds:.2f} s."
        raise FaultError(FaultCode.REQUEST_INVALID, lasts, field=field)
    return Segment(start_frame=start, stop_frame=min(start + frame_count, timeline.frame_count))


def preview_claims(
    order: DraftOrder, inputs: Sequence[InputClaim], *, task_id: str, consent_id: str | None
) -> RunClaims:
    """Return what is said of a preview in its signature."""
    made_by = {Stage.WAV2LIP: order.driving_audio is not None, Stage.FACEFUSION: bool(order.sources)}
    return RunClaims.model_validate(
        {
            "task_id": task_id,
            "stages": [
                StageClaim.model_validate(
                    {
                        "stage": stage,
                        "engine": Engine.DRAFT,
                        "model_revisions": manifest().revisions(Engine.DRAFT, stage),
                    }
                )
                for stage, is_used in made_by.items()
                if is_used
            ],
            "inputs": tuple(inputs),
            "consent_id": consent_id,
            "is_preview": True,
        }
    )
