"""Who is given whose face: selection by place or likeness, and several identities in one pass."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gpu_tasks.contract.options import FaceMapping, FaceSelection
from gpu_tasks.faces.selection import Face, SeenFace, Selected, in_order

# The part played by all sources together, where no map is given.
EVERYONE: Final = None

# How far the face of each track is from the picture under a reference key: 0 the same, 1 the opposite.
Likeness = Mapping[str, Mapping[int, float]]

_NOBODY_KNOWN: Final[Likeness] = {}
_OPPOSITE: Final = 1.0


class Casting:
    """Chooses the faces that are changed, and remembers for each track whose face it was given.

    Without a map every selected face is given all sources, averaged. With one, a face like an entry's reference is
    given that entry's source, and an entry with a position the face at its place in the frame in which nobody plays it.
    A face that was given away keeps its source for good, so what is put on it does not depend on where in a clip one
    looks.

    Args:
        selection: Which faces are changed, where there is no map; with one, how places are counted and how alike a
            reference must be.
        face_map: One source for one face each; a face found by reference is not given away by place.
        likeness: For every reference key that these name, the tracks of the clip.
    """

    def __init__(
        self, selection: FaceSelection, face_map: Sequence[FaceMapping] = (), likeness: Likeness = _NOBODY_KNOWN
    ) -> None:
        self._selection = selection
        self._selected = Selected(selection)
        self._entries = tuple(face_map)
        self._likeness = likeness
        self._entry_of_track: dict[int, int] = {}
        self._is_surveyed = False

    @property
    def parts(self) -> tuple[int | None, ...]:
        """Every source that may be asked for: indices of the job's sources, or EVERYONE."""
        return tuple(sorted({entry.source_index for entry in self._entries})) or (EVERYONE,)

    def survey(self, clip: Iterable[Sequence[SeenFace]]) -> None:
        """Give the tracks of a whole clip their parts; where it is not known they are given as frames come."""
        for faces in clip:
            self._cast(faces)
        self._is_surveyed = True

    def among(self, faces: Sequence[Face]) -> tuple[Face, ...]:
        """Return the faces of the next frame that are changed."""
        if self._entries:
            if not self._is_surveyed:
                self._cast(faces)
            return tuple(face for face in faces if face.track_id in self._entry_of_track)
        if self._selection.mode == "reference":
            return tuple(face for face in faces if self._is_wanted(face.track_id))
        return self._selected.among(faces)

    def part_of(self, track_id: int) -> int | None:
        """Return the source for a track that was chosen: an index of the job's sources, or EVERYONE."""
        return self._entries[self._entry_of_track[track_id]].source_index if self._entries else EVERYONE

    def _is_wanted(self, track_id: int) -> bool:
        return self._distance(track_id, self._selection.reference_key) < self._selection.reference_distance

    def _cast(self, faces: Sequence[SeenFace]) -> None:
        for face in faces:
            if face.track_id not in self._entry_of_track and (likest := self._likest(face.track_id)) is not None:
                self._entry_of_track[face.track_id] = likest
        playing = {self._entry_of_track.get(face.track_id) for face in faces}
        ordered = in_order(faces, self._selection.order)
        for number, entry in enumerate(self._entries):
            if entry.position is None or number in playing or entry.position >= len(ordered):
                continue
            self._entry_of_track.setdefault(ordered[entry.position].track_id, number)

    def _likest(self, track_id: int) -> int | None:
        """Return the entry whose reference is nearest to a track, None where none is near enough."""
        known = [(self._distance(track_id, entry.reference_key), number) for number, entry in enumerate(self._entries)]
        nearest, number = min(known, default=(_OPPOSITE, 0))
        return number if nearest < self._selection.reference_distance else None

    def _distance(self, track_id: int, reference_key: str | None) -> float:
        return self._likeness.get(reference_key or "", {}).get(track_id, _OPPOSITE)
