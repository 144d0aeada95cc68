"""Who plays whom: which source is put on which face of the target."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gpu_tasks.contract.options import FaceMapping, FaceSelection
from gpu_tasks.faces.selection import Face, SeenFace, Selected

# The part played by all sources together, where no map is given.
EVERYONE: Final = None


class Casting:
    """Chooses the faces that are swapped, and remembers for each track which source it was given.

    Without a map every selected face is given all sources, averaged. With one, each entry is given the face at its
    place from the left in the frame in which it has none, and keeps that face while it is seen. A face that was given
    away keeps its source for good, so what is put on it does not depend on where in a clip one looks.

    Args:
        selection: Which faces are changed, where there is no map.
        face_map: One source for one face; every entry has a position.
    """

    def __init__(self, selection: FaceSelection, face_map: Sequence[FaceMapping] = ()) -> None:
        self._selected = Selected(selection)
        self._face_map = tuple(face_map)
        self._entry_of_track: dict[int, int] = {}

    @property
    def parts(self) -> tuple[int | None, ...]:
        """Every source that may be asked for: indices of the job's sources, or EVERYONE."""
        return tuple(sorted({entry.source_index for entry in self._face_map})) or (EVERYONE,)

    def survey(self, clip: Iterable[Sequence[SeenFace]]) -> None:
        """A place is counted in the frame in which it is asked for, not over the clip."""

    def among(self, faces: Sequence[Face]) -> tuple[Face, ...]:
        """Return the faces of the next frame that are changed."""
        if not self._face_map:
            return self._selected.among(faces)
        from_left = sorted(faces, key=lambda face: face.centre_x)
        playing = {self._entry_of_track.get(face.track_id) for face in faces}
        for number, entry in enumerate(self._face_map):
            place = entry.position or 0
            if number in playing or place >= len(from_left):
                continue
            self._entry_of_track.setdefault(from_left[place].track_id, number)
        return tuple(face for face in faces if face.track_id in self._entry_of_track)

    def part_of(self, face: SeenFace) -> int | None:
        """Return the source for a face that was chosen: an index of the job's sources, or EVERYONE."""
        if not self._face_map:
            return EVERYONE
        return self._face_map[self._entry_of_track[face.track_id]].source_index


def refusal_of(selection: FaceSelection, face_map: Sequence[FaceMapping], source_count: int) -> Mapping[str, str]:
    """Say by field what cannot be cast; empty when all can."""
    found = {}
    if selection.mode == "reference":
        found["face_selection.mode"] = "reference needs a network that recognises faces; use many or one."
    if face_map and selection != FaceSelection():
        found["face_selection"] = "face_map says which faces are changed; leave this out."
    for number, entry in enumerate(face_map):
        if entry.reference_key is not None:
            found[f"face_map.{number}.reference_key"] = "needs a network that recognises faces; use position."
        elif entry.position is None:
            found[f"face_map.{number}.position"] = "say which face from the left it is."
        if entry.source_index >= source_count:
            found[f"face_map.{number}.source_index"] = f"there are {source_count} sources."
    return found
