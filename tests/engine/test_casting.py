"""Which source plays which face."""

from dataclasses import dataclass

import pytest

from gpu_tasks.contract.casting import needing_recognition, uncastable
from gpu_tasks.contract.options import FaceMapping, FaceSelection
from gpu_tasks.faces.casting import EVERYONE, Casting


@dataclass(frozen=True)
class Seen:
    track_id: int
    centre_x: float
    height_px: float = 100
    centre_y: float = 50
    score: float = 0.9


LEFT, MIDDLE, RIGHT = Seen(7, 100), Seen(3, 300), Seen(5, 500)
# The second source for the leftmost face, the first one for the rightmost of three.
MAP = (FaceMapping(source_index=1, position=0), FaceMapping(source_index=0, position=2))


def cast(casting: Casting, *faces: Seen) -> dict[int, int | None]:
    return {face.track_id: casting.part_of(face.track_id) for face in casting.among(faces)}


def test_without_a_map_all_sources_together_play_every_selected_face() -> None:
    assert cast(Casting(FaceSelection()), MIDDLE, LEFT) == {3: EVERYONE, 7: EVERYONE}
    assert cast(Casting(FaceSelection(mode="one", position=1)), MIDDLE, LEFT) == {3: EVERYONE}


def test_a_map_gives_each_place_its_source_and_leaves_the_others() -> None:
    assert cast(Casting(FaceSelection(), MAP), MIDDLE, RIGHT, LEFT) == {7: 1, 5: 0}


def test_a_face_keeps_its_source_when_faces_change_places_leave_and_come_back() -> None:
    casting = Casting(FaceSelection(), MAP)
    cast(casting, LEFT, MIDDLE, RIGHT)
    assert cast(casting, Seen(7, 600), MIDDLE, RIGHT) == {7: 1, 5: 0}
    assert cast(casting, RIGHT) == {5: 0}
    assert cast(casting, MIDDLE, RIGHT, LEFT) == {5: 0, 7: 1}


def test_a_face_that_was_given_away_is_not_given_to_another_entry() -> None:
    casting = Casting(
        FaceSelection(), (FaceMapping(source_index=0, position=0), FaceMapping(source_index=1, position=1))
    )
    cast(casting, LEFT, RIGHT)
    # The right one is leftmost now, and stays the second entry's.
    assert cast(casting, RIGHT) == {5: 1}
    # Another face at the left is a new one for the first entry.
    assert cast(casting, Seen(11, 50), RIGHT) == {11: 0, 5: 1}


def test_only_sources_that_a_map_names_are_prepared() -> None:
    assert Casting(FaceSelection(), MAP).parts == (0, 1)
    assert Casting(FaceSelection()).parts == (EVERYONE,)


REFERENCE = "uploads/source/a.jpg"


@pytest.mark.parametrize(
    ("selection", "face_map", "field"),
    [
        (FaceSelection(mode="reference"), (), "face_selection.reference_key"),
        (FaceSelection(reference_key=REFERENCE), (), "face_selection.reference_key"),
        (FaceSelection(mode="one"), MAP, "face_selection"),
        (FaceSelection(), (FaceMapping(source_index=0),), "face_map.0.position"),
        (FaceSelection(), (FaceMapping(source_index=0, position=0, reference_key=REFERENCE),), "face_map.0.position"),
        (FaceSelection(), (*MAP, FaceMapping(source_index=2, position=1)), "face_map.2.source_index"),
    ],
)
def test_what_cannot_be_cast_is_said_by_field(
    selection: FaceSelection, face_map: tuple[FaceMapping, ...], field: str
) -> None:
    assert [name for name, _ in uncastable(selection, face_map, 2)] == [field]
    assert not list(uncastable(FaceSelection(order="large-small"), MAP, 2))


def test_a_reference_needs_somebody_who_is_put_on_whom_it_shows() -> None:
    selection = FaceSelection(mode="reference", reference_key=REFERENCE)
    assert [name for name, _ in uncastable(selection, (), 0)] == ["face_selection.mode"]
    assert not list(uncastable(selection, (), 1))


def test_what_needs_recognition_is_said_by_field() -> None:
    by_reference = (*MAP, FaceMapping(source_index=0, reference_key=REFERENCE))
    assert [name for name, _ in needing_recognition(FaceSelection(), by_reference)] == ["face_map.2.reference_key"]
    selection = FaceSelection(mode="reference", reference_key=REFERENCE)
    assert [name for name, _ in needing_recognition(selection, ())] == ["face_selection.mode"]
    assert not list(needing_recognition(FaceSelection(mode="one", order="best-worst"), MAP))
