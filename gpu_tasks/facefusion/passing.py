"""One way through a job's frames: decode, look, swap, paste, enhance; many crops through a network at once."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.jobs import FaceFusionJob
from gpu_tasks.facefusion import masks
from gpu_tasks.facefusion.colour import light_between, lit
from gpu_tasks.facefusion.content import ContentCheck
from gpu_tasks.facefusion.equipment import Equipment
from gpu_tasks.facefusion.geometry import affine_to
from gpu_tasks.facefusion.looking import FacePoints
from gpu_tasks.facefusion.pasting import cut, paste_into
from gpu_tasks.facefusion.steadying import REACH, mean_of, steady_mask, with_margin, with_neighbours
from gpu_tasks.facefusion.swappers import Swapper
from gpu_tasks.faces.align import transform
from gpu_tasks.faces.arrays import Affine, Floats, Frame, Mask
from gpu_tasks.faces.tracker import TrackedFace
from gpu_tasks.runtime.finding import Finder
from gpu_tasks.runtime.frames import CHANGING, Changed, played_frames
from gpu_tasks.runtime.overlap import ahead
from gpu_tasks.runtime.pipeline import Bench

_FRAMES_AHEAD: Final = 4
_GROUPS_AHEAD: Final = 1
_NO_PADDING: Final = (0, 0, 0, 0)
_NO_CROPS: Final = np.empty((0, 0, 0, 3), np.uint8)

# From a track to what its swapper takes as the source.
SourceOf = Callable[[int], Floats]
Grouped = TypeVar("Grouped")


class _Cut(NamedTuple):
    """A face, and the crop of it that is swapped; without a swapper there is no crop."""

    track_id: int
    mesh_468: Floats
    points: FacePoints
    affine: Affine | None
    crop: Frame | None


class _Swapped(NamedTuple):
    """A face after the swapper.

    Attributes:
        cut: As before it.
        crop: (size, size, 3) uint8 BGR.
        light: What brings it into the target's light, (n, n, 3) float32.
        seen: (size, size) float32, what networks let through of it.
    """

    cut: _Cut
    crop: Frame | None
    light: Floats | None
    seen: Mask | None


class _Framed(NamedTuple):
    place: int
    pixels: Frame
    cuts: tuple[_Cut, ...]


class _Done(NamedTuple):
    place: int
    pixels: Frame
    faces: tuple[_Swapped, ...]


@dataclass(frozen=True, slots=True)
class Pass:
    """One way through a job's frames.

    Attributes:
        job: What is asked.
        bench: Where it is done.
        equipment: With what.
        find: The faces that are changed.
        source_of: What is put on them.
        content: Looks at the frames as they come.
    """

    job: FaceFusionJob
    bench: Bench
    equipment: Equipment
    find: Finder
    source_of: SourceOf
    content: ContentCheck

    def changed(self) -> Generator[Changed]:
        """Yield the changed frames, in order.

        Decoding and cropping, the swapper, and what comes after it each have a thread; only so many frames are
        between them.
        """
        total = self.job.frames.frame_count
        cut = ahead(self._cut(), most_waiting=_FRAMES_AHEAD)
        swapped = ahead(self._swapped(cut), most_waiting=_GROUPS_AHEAD)
        with closing(self._enhanced(self._pasted(swapped))) as frames:
            for done, frame in enumerate(frames):
                self.bench.checkpoint()
                self.bench.report(done, total, CHANGING)
                pixels = frame.pixels
                if self.equipment.frame_enhancer is not None:
                    pixels = self.equipment.frame_enhancer.enhance(pixels)
                yield Changed(pixels, has_face=bool(frame.faces))

    @property
    def _reach(self) -> int:
        """How many frames around a frame have a say in it."""
        equipment, is_lit = self.equipment, self.job.options.face_swapper_colour_match
        flickers = is_lit or equipment.occluder is not None or equipment.parser is not None
        return REACH if equipment.swapper is not None and flickers else 0

    def _cut(self) -> Generator[_Framed]:
        wanted = self.job.frames
        with closing(played_frames(with_margin(self.job, self._reach), self.bench)) as frames:
            for index, pixels in frames:
                if wanted.start_frame <= index < wanted.stop_frame:
                    self.content.look(index, pixels)
                yield _Framed(index, pixels, tuple(self._cut_of(pixels, face) for face in self.find(index, pixels)))

    def _cut_of(self, pixels: Frame, face: TrackedFace) -> _Cut:
        points = self.equipment.points.of(pixels, face.mesh_468)
        swapper = self.equipment.swapper
        if swapper is None:
            return _Cut(face.track_id, face.mesh_468, points, None, None)
        affine = affine_to(swapper.facts.template, points.points_5, swapper.size)
        return _Cut(face.track_id, face.mesh_468, points, affine, cut(pixels, affine, swapper.size))

    def _swapped(self, frames: Generator[_Framed]) -> Generator[_Done]:
        swapper = self.equipment.swapper
        most = swapper.most_crops if swapper else 1
        with closing(frames):
            for group in _grouped(frames, most, lambda frame: len(frame.cuts)):
                self.bench.checkpoint()
                crops = iter(self._swap(swapper, group))
                for frame in group:
                    yield _Done(frame.place, frame.pixels, tuple(self._judged(cut, crops) for cut in frame.cuts))

    def _swap(self, swapper: Swapper | None, group: Sequence[_Framed]) -> NDArray[np.uint8]:
        cuts = [cut for frame in group for cut in frame.cuts if cut.crop is not None]
        if swapper is None or not cuts:
            return _NO_CROPS
        sources = np.stack([self.source_of(cut.track_id) for cut in cuts])
        return swapper.swap(sources, np.stack([cut.crop for cut in cuts if cut.crop is not None]))

    def _judged(self, cut: _Cut, crops: Iterator[Frame]) -> _Swapped:
        if cut.crop is None:
            return _Swapped(cut, None, None, None)
        crop, options = next(crops), self.job.options
        seen = []
        if self.equipment.occluder is not None:
            seen.append(self.equipment.occluder.mask(cut.crop))
        if self.equipment.parser is not None:
            seen.append(self.equipment.parser.mask(crop, options.face_mask_regions))
        light = light_between(crop, cut.crop) if options.face_swapper_colour_match else None
        return _Swapped(cut, crop, light, masks.smallest(seen) if seen else None)

    def _pasted(self, frames: Generator[_Done]) -> Generator[_Done]:
        with closing(with_neighbours(frames, self._reach, self.job.frames)) as neighboured:
            for frame, around in neighboured:
                for face in frame.faces:
                    same = [other for one in around for other in one.faces if other.cut.track_id == face.cut.track_id]
                    self._paste(frame.pixels, face, same)
                yield frame

    def _paste(self, pixels: Frame, face: _Swapped, same: Sequence[_Swapped]) -> None:
        if face.crop is None or face.cut.affine is None:
            return
        crop = face.crop
        if face.light is not None:
            crop = lit(crop, mean_of([other.light for other in same if other.light is not None]))
        taken = self._still_masks(face.cut, face.cut.affine, crop.shape[0])
        if face.seen is not None:
            taken.append(steady_mask(face.seen, [other.seen for other in same if other.seen is not None]))
        paste_into(pixels, crop, masks.smallest(taken), face.cut.affine)

    def _still_masks(self, cut: _Cut, affine: Affine, size: int) -> list[Mask]:
        """Masks that are made of the face's points, which are steady."""
        options, found = self.job.options, []
        if "box" in options.face_mask_types:
            found.append(masks.box_mask(size, options.face_mask_blur, options.face_mask_padding))
        if "area" in options.face_mask_types:
            points = transform(cut.points.landmarks_68, affine)
            found.append(masks.area_mask(points, size, options.face_mask_areas))
        if "hull" in options.face_mask_types:
            found.append(masks.hull_mask(transform(cut.mesh_468[:, :2], affine), size))
        return found

    def _enhanced(self, frames: Generator[_Done]) -> Generator[_Done]:
        enhancer, options = self.equipment.face_enhancer, self.job.options
        share = np.float32(options.face_enhancer_blend / 100)
        with closing(frames):
            if enhancer is None or not share:
                yield from frames
                return
            size, template = enhancer.facts.size, enhancer.facts.template
            box = masks.box_mask(size, options.face_mask_blur, _NO_PADDING)
            for group in _grouped(frames, enhancer.most_crops, lambda frame: len(frame.faces)):
                self.bench.checkpoint()
                places = [
                    (frame, affine_to(template, face.cut.points.points_5, size))
                    for frame in group
                    for face in frame.faces
                ]
                crops = [cut(frame.pixels, affine, size) for frame, affine in places]
                made = enhancer.enhance(np.stack(crops)) if crops else _NO_CROPS
                for (frame, affine), before, after in zip(places, crops, made, strict=True):
                    taken = box
                    if self.equipment.occluder is not None:
                        taken = masks.smallest([box, self.equipment.occluder.mask(before)])
                    paste_into(frame.pixels, after, taken * share, affine)
                yield from group


def _grouped(frames: Iterator[Grouped], most: int, count: Callable[[Grouped], int]) -> Generator[tuple[Grouped, ...]]:
    """Collect frames until their faces fill a batch; those without a face must not collect without end."""
    group: list[Grouped] = []
    faces = 0
    for frame in frames:
        group.append(frame)
        faces += count(frame)
        if faces >= most or len(group) >= 2 * most:
            yield tuple(group)
            group, faces = [], 0
    if group:
        yield tuple(group)
