"""One streaming pass over a result and its target: every meter sees every frame once, memory stays flat."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.detector import FaceDetector
from gpu_tasks.media.playing import frames_on_timeline
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.quality.aperture import mouth_opening
from gpu_tasks.quality.following import Follower, Place, Steadier, face_at, place_of
from gpu_tasks.quality.likeness import LikenessMeter
from gpu_tasks.quality.steadiness import FlickerMeter, OutsideMeter

_PIECE_SECONDS: Final = 10
# Identity and light change slowly: every fifth frame tells the mean of a clip, for a fifth of the cost.
_LIKENESS_EVERY: Final = 5


class Played(NamedTuple):
    """The target as it lies under the result.

    Attributes:
        path: The footage.
        timeline: At least as long as the result, whatever was planned.
        planned_seconds: How long the result should be.
        is_scaled: The target had another size, so pixels cannot be compared.
    """

    path: Path
    timeline: Timeline
    planned_seconds: float
    is_scaled: bool


class Seen(NamedTuple):
    """What the pass saw, one value per frame of the result; NaN where nothing was measured.

    Attributes:
        looked_at: (frames,) bool.
        has_face: (frames,) bool.
        lost: (frames,) bool, the target shows a face there and the result none.
        opening: (frames,) float64.
        own_opening: (frames,) float64, the target's mouth.
    """

    looked_at: NDArray[np.bool_]
    has_face: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    opening: NDArray[np.float64]
    own_opening: NDArray[np.float64]

    @classmethod
    def nothing(cls, frame_count: int) -> "Seen":
        looked_at, has_face, lost = (np.zeros(frame_count, np.bool_) for _ in range(3))
        opening, own_opening = (np.full(frame_count, np.nan) for _ in range(2))
        return cls(looked_at, has_face, lost, opening, own_opening)


class Meters(NamedTuple):
    """What is filled in by the pass besides the curves."""

    flicker: FlickerMeter
    outside: OutsideMeter
    likeness: LikenessMeter | None


class _Waiting(NamedTuple):
    """A frame until its face's place is settled."""

    number: int
    result: Frame
    target: Frame | None
    places: tuple[Place, ...]


def pieces_of(frame_count: int, fps: Fraction, most_frames: int | None) -> tuple[Segment, ...]:
    """Return which frames to look at: all, or pieces of ten seconds spread evenly from the first frame to the last."""
    if most_frames is None or frame_count <= most_frames:
        return (Segment(start_frame=0, stop_frame=frame_count),)
    length = min(round(_PIECE_SECONDS * fps), most_frames)
    count = max(1, most_frames // length)
    starts = [round(place * (frame_count - length) / max(count - 1, 1)) for place in range(count)]
    return tuple(Segment(start_frame=start, stop_frame=start + length) for start in starts)


def look(  # noqa: PLR0913  # what is looked at, by what, how much of it, and who may stop it
    result: Path,
    played: Played | None,
    detector: FaceDetector,
    meters: Meters,
    pieces: Sequence[Segment],
    *,
    spoken: Callable[[int], Floats | None] | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> Seen:
    """Go through the pieces of a result once.

    Args:
        result: The video.
        played: The target that was changed.
        detector: Finds the faces, in the result; in the target only where the result shows none.
        meters: Are filled in.
        pieces: In ascending order, not overlapping.
        spoken: Where in a frame of the result the face lies that was to speak, (2,) frame pixels; where it gives None
            that face is not in the frame, and no other is measured in its stead. Without it, it is the largest one at
            first, and the same as long as it is seen.
        checkpoint: Called at every frame; what it raises ends the pass.

    Raises:
        MediaError: As VideoReader does.
    """
    with VideoReader(result) as reader:
        seen = Seen.nothing(reader.info.frame_count)
        for piece in pieces:
            follower, steadier, waiting = Follower(detector), Steadier(), deque[_Waiting]()
            with closing(_pairs(reader, played, piece)) as pairs:
                for index, pixels, target in pairs:
                    checkpoint()
                    faces = follower.look(pixels)
                    seen.looked_at[index], seen.has_face[index] = True, bool(faces)
                    if not faces and target is not None:
                        seen.lost[index] = bool(detector.detect(target, tiles=False))
                    others = tuple(place_of(face.points) for face in faces)
                    waiting.append(_Waiting(index, pixels, target, others))
                    measured = face_at(faces, spoken(index)) if spoken else next(iter(faces), None)
                    for place in steadier.push(measured.points[:4] if measured else None):
                        _measure(seen, meters, waiting.popleft(), place, is_scaled=bool(played and played.is_scaled))
            for place in steadier.finish():
                _measure(seen, meters, waiting.popleft(), place, is_scaled=bool(played and played.is_scaled))
    return seen


def _pairs(
    reader: VideoReader, played: Played | None, piece: Segment
) -> Generator[tuple[int, Frame, Frame | None], None, None]:
    frames = reader.frames(piece.start_frame, piece.stop_frame)
    if played is None:
        for frame in frames:
            yield frame.index, frame.pixels, None
        return
    shown = cast("Generator[tuple[int, Frame]]", frames_on_timeline(played.path, played.timeline, piece))
    with closing(shown):
        for frame, (_, target) in zip(frames, shown, strict=True):
            yield frame.index, frame.pixels, _of_size(target, frame.pixels)


def _of_size(target: Frame, result: Frame) -> Frame:
    """Bring a target to the size of its result: the writer leaves an odd last column or row out."""
    height, width = result.shape[:2]
    if target.shape == result.shape:
        return target
    if 0 <= target.shape[0] - height <= 1 and 0 <= target.shape[1] - width <= 1:
        return np.ascontiguousarray(target[:height, :width])
    return np.asarray(cv2.resize(target, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _measure(seen: Seen, meters: Meters, waited: _Waiting, place: Place | None, *, is_scaled: bool) -> None:
    index, result, target, places = waited
    if target is not None and not is_scaled and places:
        meters.outside.look(index, result, target, (*places, *((place,) if place else ())))
    if target is not None and places and meters.likeness is not None and index % _LIKENESS_EVERY == 0:
        meters.likeness.look(result, target, places)
    if place is None:
        return
    seen.opening[index] = mouth_opening(result, place)
    both = (result,) if target is None else (result, target)
    meters.flicker.look(index, both, place)
    if target is None:
        return
    seen.own_opening[index] = mouth_opening(target, place)
