"""Both stages of the draft engine in one pass: decode once, move the lips, swap the faces, encode once.

What a preview shows. The frames are those of the two stages run apart, but for the encoding between them.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple, cast

from gpu_tasks.contract.jobs import Quality, Segment, Timeline
from gpu_tasks.contract.media import FaceCoverage
from gpu_tasks.contract.options import FaceMapping, FaceSelection
from gpu_tasks.draft.lips import DraftLips
from gpu_tasks.draft.models import FaceModels
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.draft.speech import SAMPLE_RATE, mouth_shapes
from gpu_tasks.draft.swap import DraftSwap
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.faces.casting import EVERYONE, Casting
from gpu_tasks.faces.finding import chosen_faces, with_mouth_of
from gpu_tasks.faces.selection import Speaker
from gpu_tasks.faces.trackfile import TracksReader
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.playing import frames_on_timeline
from gpu_tasks.media.writer import VideoWriter


@dataclass(frozen=True, slots=True)
class DraftOrder:
    """What is to be shown.

    Attributes:
        target: The footage that the timeline was planned for.
        timeline: The grid of the whole result.
        tracks: The tracks artifact of the target.
        segment: The part of the timeline to show; None is all.
        driving_audio: Moves the lips; None leaves them.
        sources: Pictures, HWC uint8 BGR, of the one person who is put in, or of those that the map names; none leaves
            the faces.
        selection: Whose faces are swapped, where there is no map.
        face_map: One of the sources for one face each, by place.
    """

    target: Path
    timeline: Timeline
    tracks: Path
    segment: Segment | None = None
    driving_audio: Path | None = None
    sources: tuple[Frame, ...] = ()
    selection: FaceSelection = field(default_factory=FaceSelection)
    face_map: tuple[FaceMapping, ...] = ()

    @property
    def frames(self) -> Segment:
        """The part of the timeline that is shown."""
        return self.segment or Segment(start_frame=0, stop_frame=self.timeline.frame_count)


class Shown(NamedTuple):
    """A changed frame: its number on the timeline, HWC uint8 BGR, and whether a face was changed in it."""

    number: int
    pixels: Frame
    has_face: bool


def draft_frames(
    order: DraftOrder, models: FaceModels, *, checkpoint: Callable[[], None] = lambda: None
) -> Generator[Shown]:
    """Yield the frames of an order, changed, as they are before they are encoded. Close it when leaving it early.

    Args:
        order: What is to be shown.
        models: Place the points on faces.
        checkpoint: Called at every frame; what it raises ends the pass.

    Raises:
        FaultError: NO_FACE_IN_SOURCE, REQUEST_INVALID when timeline or tracks are those of another video, and what
            media raise.
    """
    frames = cast("Generator[tuple[int, Frame]]", frames_on_timeline(order.target, order.timeline, order.frames))
    with closing(frames), _lips(order) as move, _swap(order, models, is_moved=order.driving_audio is not None) as swap:
        for index, pixels in frames:
            checkpoint()
            moved = move(index, pixels)
            swapped = swap(index, moved.pixels)
            yield Shown(index, swapped.pixels, moved.has_face or swapped.has_face)


def render_draft(
    order: DraftOrder,
    destination: Path,
    models: FaceModels,
    *,
    quality: Quality = Quality.DELIVERY,
    checkpoint: Callable[[], None] = lambda: None,
) -> FaceCoverage:
    """Write the frames of an order to an MP4 without sound.

    Args:
        order: What is to be shown.
        destination: Where the file goes; it appears when it is whole.
        models: Place the points on faces.
        quality: Of the encoding.
        checkpoint: Called at every frame; what it raises ends the pass.

    Raises:
        FaultError: As `draft_frames`; DISK_FULL.
    """
    with_face = 0
    with closing(draft_frames(order, models, checkpoint=checkpoint)) as frames:
        first = next(frames)
        height, width = first.pixels.shape[:2]
        with VideoWriter(destination, width=width, height=height, fps=order.timeline.fps, quality=quality) as writer:
            for shown in chain((first,), frames):
                with_face += shown.has_face
                writer.write(shown.pixels)
    return FaceCoverage(frames_looked_at=order.frames.frame_count, frames_with_face=with_face)


class _Done(NamedTuple):
    pixels: Frame
    has_face: bool


@contextmanager
def _lips(order: DraftOrder) -> Iterator[Callable[[int, Frame], _Done]]:
    if order.driving_audio is None:
        yield lambda _index, pixels: _Done(pixels, has_face=False)
        return
    voice = load_mono(order.driving_audio, sample_rate=SAMPLE_RATE)
    # Over the whole sound also for a part: loudness is judged against all of it.
    shapes = mouth_shapes(voice, order.timeline.fps, order.timeline.frame_count)
    lips = DraftLips()
    with TracksReader(order.tracks) as tracks:
        speaker = chosen_faces(tracks, order.timeline, Speaker())

        def move(index: int, pixels: Frame) -> _Done:
            faces = speaker(index)
            for face in faces:
                pixels = lips.apply(pixels, face.mesh_468, float(shapes.opening[index]), float(shapes.spread[index]))
            return _Done(pixels, has_face=bool(faces))

        yield move


@contextmanager
def _swap(order: DraftOrder, models: FaceModels, *, is_moved: bool) -> Iterator[Callable[[int, Frame], _Done]]:
    if not order.sources:
        yield lambda _index, pixels: _Done(pixels, has_face=False)
        return
    sources = [DraftSource.from_image(source, models.detector, models.mesh) for source in order.sources]
    casting = Casting(order.selection, order.face_map)
    swaps = {part: DraftSwap(sources if part is EVERYONE else [sources[part]]) for part in casting.parts}
    with TracksReader(order.tracks) as tracks:
        selected = chosen_faces(tracks, order.timeline, casting)

        def put_in(index: int, pixels: Frame) -> _Done:
            tracked = selected(index)
            faces = tuple(with_mouth_of(pixels, face, models.mesh) for face in tracked) if is_moved else tracked
            for face in faces:
                # Settled tracks keep the light steady by themselves; memory of it would tell parts apart.
                pixels = swaps[casting.part_of(face.track_id)].apply(pixels, face.mesh_468, track_id=None)
            return _Done(pixels, has_face=bool(faces))

        yield put_in
