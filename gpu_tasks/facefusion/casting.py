"""Who is given whose face: selection by place or likeness, and several identities in one pass."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from gpu_tasks.contract.options import FaceMapping, FaceOrder, FaceSelection
from gpu_tasks.faces.selection import Face, SeenFace
from gpu_tasks.faces.trackfile import FacePlace

# The part played by all sources together, where no map is given.
EVERYONE: Final = None

# How far the face of each track is from the picture under a reference key.
Likeness = Mapping[str, Mapping[int, float]]

_ORDERS: Final[Mapping[FaceOrder, Callable[[FacePlace], float]]] = {
    "left-right": lambda face: face.centre_x,
    "right-left": lambda face: -face.centre_x,
    "top-bottom": lambda face: face.top + face.bottom,
    "bottom-top": lambda face: -face.top - face.bottom,
    "small-large": lambda face: face.height_px,
    "large-small": lambda face: -face.height_px,
    "best-worst": lambda face: -face.score,
    "worst-best": lambda face: face.score,
}


class Casting:
    """Chooses the tracks that are changed, over a whole clip, and whose face each is given.

    A track keeps its part for good, so what is put on it does not depend on where in a clip one looks.

    Args:
        selection: Which faces are changed, where there is no map.
        face_map: One source for one face each; a face found by reference is not given away by place.
        likeness: For every reference key that these name.
    """

    def __init__(self, selection: FaceSelection, face_map: Sequence[FaceMapping], likeness: Likeness) -> None:
        self._selection = selection
        self._entries = tuple(face_map)
        self._likeness = likeness
        self._parts: dict[int, int | None] = {}
        self._one: int | None = None

    @property
    def parts(self) -> tuple[int | None, ...]:
        """Every source that may be asked for: indices of the job's sources, or EVERYONE."""
        return tuple(sorted({entry.source_index for entry in self._entries})) or (EVERYONE,)

    def survey(self, clip: Iterable[Sequence[SeenFace]]) -> None:
        """Go through a whole clip and give its tracks their parts; one face at a time is chosen as frames come."""
        playing_by_place: dict[int, int] = {}
        for faces in clip:
            places = [face for face in faces if isinstance(face, FacePlace)]
            if self._entries:
                self._cast_by_reference(places)
                self._cast_by_place(places, playing_by_place)
            elif self._selection.mode != "one":
                self._parts.update({face.track_id: EVERYONE for face in places if self._is_wanted(face.track_id)})

    def among(self, faces: Sequence[Face]) -> tuple[Face, ...]:
        """Return the faces of the next frame that are changed."""
        if self._entries or self._selection.mode != "one":
            return tuple(face for face in faces if face.track_id in self._parts)
        self._one = self._one_of([face for face in faces if isinstance(face, FacePlace)])
        return tuple(face for face in faces if face.track_id == self._one)

    def part_of(self, track_id: int) -> int | None:
        """Return the source for a track that was chosen: an index of the job's sources, or EVERYONE."""
        return self._parts[track_id] if self._entries else EVERYONE

    def _is_wanted(self, track_id: int) -> bool:
        key = self._selection.reference_key
        if self._selection.mode != "reference" or key is None:
            return True
        return self._likeness[key].get(track_id, 1.0) < self._selection.reference_distance

    def _one_of(self, places: Sequence[FacePlace]) -> int | None:
        """Keep the one while it is seen; else choose the face at the place asked for."""
        if any(face.track_id == self._one for face in places):
            return self._one
        position = self._selection.position
        return next((face.track_id for face in self._ordered(places)[position : position + 1]), None)

    def _cast_by_reference(self, places: Sequence[FacePlace]) -> None:
        for face in places:
            near = [
                (self._likeness[entry.reference_key].get(face.track_id, 1.0), entry.source_index)
                for entry in self._entries
                if entry.reference_key is not None
            ]
            nearest = min(near, default=(1.0, 0))
            if face.track_id not in self._parts and nearest[0] < self._selection.reference_distance:
                self._parts[face.track_id] = nearest[1]

    def _cast_by_place(self, places: Sequence[FacePlace], playing: dict[int, int]) -> None:
        ordered, seen = self._ordered(places), {face.track_id for face in places}
        for number, entry in enumerate(self._entries):
            if entry.position is None or entry.reference_key is not None or playing.get(number) in seen:
                continue
            if entry.position < len(ordered) and ordered[entry.position].track_id not in self._parts:
                playing[number] = ordered[entry.position].track_id
                self._parts[playing[number]] = entry.source_index

    def _ordered(self, places: Sequence[FacePlace]) -> list[FacePlace]:
        return sorted(places, key=_ORDERS[self._selection.order])
