"""Faces are followed by the detector alone, and settled without delay."""

import numpy as np

from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.faces.detector import Face
from gpu_tasks.quality.following import HALF_WIDTH, TEMPLATE, Follower, Place, Steadier, face_at, place_of
from tests.quality.footage import closed_face, moved


def settled(courses: list[Floats | None]) -> list[Place | None]:
    steadier = Steadier()
    return [place for points in courses for place in steadier.push(points)] + list(steadier.finish())


def points(x: float, side: float = 100.0) -> Floats:
    return np.asarray(TEMPLATE * side + (x, 50), np.float32)


def test_every_frame_gets_a_place_or_none_in_order() -> None:
    for count in (1, 2, HALF_WIDTH, HALF_WIDTH + 1, 20):
        places = settled([points(number) for number in range(count)])
        assert [round(place.at((0, 0))[0]) for place in places if place] == list(range(count))
    gap = settled([points(1), None, points(3)])
    assert [place is None for place in gap] == [False, True, False]


def test_trembling_is_taken_out_and_steady_motion_is_not() -> None:
    draw = np.random.default_rng(1)
    still = [points(50) + draw.normal(scale=1.0, size=(4, 2)).astype(np.float32) for _ in range(60)]
    raw = np.std([place_of(each).at((0, 0))[0] for each in still])
    calm = np.std([place.at((0, 0))[0] for place in settled(list(still)) if place])
    assert calm < 0.7 * raw
    speeding = [points(0.02 * number**2) for number in range(40)]
    where = [place.at((0, 0))[0] for place in settled(list(speeding)) if place]
    assert np.abs(np.array(where) - 0.02 * np.arange(40) ** 2).max() < 0.01


def test_a_cut_is_not_smoothed_over() -> None:
    places = settled([*(points(10) for _ in range(8)), *(points(300) for _ in range(8))])
    assert {round(place.at((0, 0))[0]) for place in places if place} == {10, 300}


def test_a_face_is_kept_while_it_moves_and_found_again_after_it_was_gone() -> None:
    frame = closed_face()
    follower = Follower(face_models().detector)
    began = float(follower.look(frame)[0].points[0][0])
    for step in range(1, 12):
        (face, *_) = follower.look(moved(frame, 0, 1, (step * 4, 0)))
        assert abs(float(face.points[0][0]) - began - 4 * step) < 4
    assert follower.look(np.full_like(frame, 90)) == ()
    assert follower.look(frame)


def test_two_faces_are_both_seen_and_the_first_stays_the_first() -> None:
    frame = closed_face()
    both = np.hstack([frame, frame[:, ::-1]])
    follower = Follower(face_models().detector)
    seen = [follower.look(moved(both, 0, 1, (shift, 0))) for shift in range(6)]
    assert all(len(faces) == 2 for faces in seen)
    sides = [np.sign(faces[0].points[2][0] - faces[1].points[2][0]) for faces in seen]
    assert len(set(sides)) == 1


def test_of_the_faces_around_a_point_the_one_with_the_nearest_middle_counts() -> None:
    def boxed(left: float, right: float) -> Face:
        return Face(np.array([left, 0, right, 100], np.float32), points(left), 0.9)

    behind, before = boxed(0, 100), boxed(60, 160)
    for faces in ([behind, before], [before, behind]):
        assert face_at(faces, np.array([90, 50], np.float32)) is before
        assert face_at(faces, np.array([65, 50], np.float32)) is behind
    assert face_at([behind, before], np.array([300, 50], np.float32)) is None
    assert face_at([behind, before], None) is None
