"""One streaming pass over a target: decode, change, encode, with memory that does not grow with its length."""

from collections.abc import Callable, Generator
from contextlib import closing
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import FaceFusionJob, Wav2LipJob
from gpu_tasks.contract.media import FaceCoverage
from gpu_tasks.media.join import join
from gpu_tasks.media.playing import frames_laid_out, frames_on_timeline
from gpu_tasks.media.writer import DEFAULT_PRESET, X264, VideoWriter
from gpu_tasks.runtime.overlap import behind
from gpu_tasks.runtime.pipeline import Bench, Product

Pixels = NDArray[np.uint8]


class Changed(NamedTuple):
    """A frame after the change, HWC uint8 BGR of the same size, and whether a face was found in it."""

    pixels: Pixels
    has_face: bool


# Called with a frame's index on the whole timeline and its pixels, in order.
Change: TypeAlias = Callable[[int, Pixels], Changed]


class Encoding(NamedTuple):
    encoder: str
    preset: str


# What a report of progress says meanwhile.
CHANGING: Final = "changing frames"
DEFAULT_ENCODING = Encoding(X264, DEFAULT_PRESET)


def render(  # noqa: PLR0913  # what goes in, what is done, what comes out: each by name
    job: Wav2LipJob | FaceFusionJob,
    bench: Bench,
    change: Change,
    *,
    sound: Path | None,
    encoding: Encoding = DEFAULT_ENCODING,
    notes: tuple[str, ...] = (),
) -> Product:
    """Change every frame of the job's part of the timeline, one after the other, and lay the sound under it.

    Args, errors: As `encode`; `change` is what is done to each frame.
    """
    frames = changed_frames(job, bench, change)
    return encode(job, bench, frames, sound=sound, encoding=encoding, notes=notes)


def encode(  # noqa: PLR0913  # as above
    job: Wav2LipJob | FaceFusionJob,
    bench: Bench,
    changed: Generator[Changed],
    *,
    sound: Path | None,
    encoding: Encoding = DEFAULT_ENCODING,
    notes: tuple[str, ...] = (),
) -> Product:
    """Encode the changed frames of the job's part of the timeline and lay the sound under them.

    Args:
        job: Names timeline, segment and quality.
        bench: Where the work is done.
        changed: All frames, in order; it is closed here.
        sound: A file whose first audio stream goes under a whole video. Segments stay silent: the parts of a sound
            would click where they are joined.
        encoding: What the caller wants; the product tells what ran.
        notes: For the receipt.

    Raises:
        FaultError: NO_FACE_DETECTED when no frame of a whole video has a face (a segment may well have none), and
            what media and storage raise.
    """
    frame_count = job.frames.frame_count
    silent = bench.folder / "silent.mp4"
    with_face = 0
    with closing(changed) as frames:
        first = next(frames)
        # Left in this order: what still waits is encoded, then the file is finished.
        with _open_writer(silent, first.pixels, job, encoding) as writer, behind(writer.write) as hand_over:
            for frame in chain((first,), frames):
                with_face += frame.has_face
                hand_over(frame.pixels)
            if not with_face and job.segment is None:
                raise FaultError(FaultCode.NO_FACE_DETECTED)
    bench.checkpoint()
    path = silent
    if sound is not None and job.segment is None:
        path = _with_sound(silent, sound, job.timeline.fps, frame_count)
    return Product(
        path=path,
        faces=FaceCoverage(frames_looked_at=frame_count, frames_with_face=with_face),
        encoder=writer.encoder,
        notes=(*notes, *_fallback(encoding.encoder, writer.encoder)),
    )


def changed_frames(job: Wav2LipJob | FaceFusionJob, bench: Bench, change: Change) -> Generator[Changed]:
    """Yield the changed frames of the job's part of the timeline, in order, as they are before they are encoded.

    Raises:
        FaultError: What media and the change raise.
    """
    with closing(played_frames(job, bench)) as frames:
        for done, (index, pixels) in enumerate(frames):
            bench.report(done, job.frames.frame_count, CHANGING)
            yield change(index, pixels)


def played_frames(job: Wav2LipJob | FaceFusionJob, bench: Bench) -> Generator[tuple[int, Pixels]]:
    """Yield index and pixels of the frames of the job's part of the timeline, in order, while the job is wanted.

    Raises:
        FaultError: What media raise.
        JobCancelledError: At the next frame after the job was stopped.
    """
    target, part = bench.path_of(job.target), job.frames
    played = (
        frames_on_timeline(target, job.timeline, part)
        if job.laid_out is None
        else frames_laid_out(target, job.laid_out, part)
    )
    with closing(cast("Generator[tuple[int, Pixels]]", played)) as frames:
        for frame in frames:
            bench.checkpoint()
            yield frame


def _fallback(wanted: str, ran: str) -> tuple[str, ...]:
    return () if wanted == ran else (f"{wanted} is not available on this worker; {ran} encoded",)


def _open_writer(path: Path, first: Pixels, job: Wav2LipJob | FaceFusionJob, encoding: Encoding) -> VideoWriter:
    height, width = first.shape[:2]
    return VideoWriter(
        path,
        width=width,
        height=height,
        fps=job.timeline.fps,
        quality=job.quality,
        encoder=encoding.encoder,
        preset=encoding.preset,
    )


def _with_sound(silent: Path, sound: Path, fps: Fraction, frame_count: int) -> Path:
    whole = silent.with_name("whole.mp4")
    join([silent], destination=whole, fps=fps, audio_from=sound, duration_seconds=float(frame_count / fps))
    return whole
