"""The mouth follows the voice, measured on the pixels that come out."""

import cv2
import numpy as np
import pytest

from gpu_tasks.draft.lips import DraftLips
from gpu_tasks.draft.lower_lip import with_lower_lip_seen
from gpu_tasks.draft.models import FaceModels
from gpu_tasks.draft.motion import MotionField, fetch
from gpu_tasks.draft.mouth import mouth_columns
from gpu_tasks.draft.parting import with_parting_seen
from gpu_tasks.draft.seen import look
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import region_of
from tests.engine.conftest import Spoken
from tests.engine.footage import correlation, inside_mouth_share

_CORNERS = [61, 291]


def _aperture(mesh: Floats) -> float:
    return float(np.linalg.norm(mesh[13, :2] - mesh[14, :2]) / np.linalg.norm(mesh[10, :2] - mesh[152, :2]))


def _seen_aperture(models: FaceModels, frame: Frame, mesh: Floats) -> float:
    return _aperture(models.mesh.landmarks(frame, region_of(mesh))[0])


def test_a_fresh_tracker_sees_the_mouth_follow_the_voice(models: FaceModels, spoken: Spoken) -> None:
    tracker = models.new_tracker()
    seen = np.array([_aperture(tracker.track(frame)[0].mesh_468) for frame in spoken.spoken])
    shuffled = np.random.default_rng(7).permutation(spoken.shapes.opening)

    assert correlation(seen, spoken.shapes.opening) > 0.7
    assert abs(correlation(seen, shuffled)) < 0.3
    before = np.array([_aperture(mesh) for mesh in spoken.meshes])
    assert abs(correlation(before, spoken.shapes.opening)) < 0.3


def test_the_dark_inside_of_the_mouth_follows_the_voice(spoken: Spoken) -> None:
    seen = np.array(
        [
            inside_mouth_share(frame, mesh[_CORNERS, :2])
            for frame, mesh in zip(spoken.spoken, spoken.meshes, strict=True)
        ]
    )
    shuffled = np.random.default_rng(8).permutation(spoken.shapes.opening)

    assert correlation(seen, spoken.shapes.opening) > 0.6
    assert abs(correlation(seen, shuffled)) < 0.3
    assert seen[spoken.shapes.opening == 0].mean() < 0.25 * seen[spoken.shapes.opening > 0.8].mean()


def test_the_mouth_is_nearest_to_the_voice_without_any_shift(models: FaceModels, spoken: Spoken) -> None:
    tracker = models.new_tracker()
    seen = np.array([_aperture(tracker.track(frame)[0].mesh_468) for frame in spoken.spoken])
    by_lag = {lag: correlation(np.roll(seen, lag), spoken.shapes.opening) for lag in range(-5, 6)}

    assert max(by_lag, key=lambda lag: by_lag[lag]) == 0


def test_an_open_mouth_is_closed(models: FaceModels, spoken: Spoken) -> None:
    widest = int(np.argmax([_aperture(mesh) for mesh in spoken.meshes]))
    frame, mesh = spoken.frames[widest], spoken.meshes[widest]
    closed = DraftLips().apply(frame, mesh, 0.0, 0.5)

    assert _seen_aperture(models, closed, mesh) < 0.35 * _aperture(mesh)
    corners = mesh[_CORNERS, :2]
    assert inside_mouth_share(closed, corners) < 0.2 * inside_mouth_share(frame, corners)


def test_the_mouth_opens_more_the_more_it_is_asked_to(models: FaceModels, spoken: Spoken) -> None:
    seen = [
        _seen_aperture(models, DraftLips().apply(spoken.frames[0], spoken.meshes[0], opening, 0.5), spoken.meshes[0])
        for opening in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]

    assert seen == sorted(seen)
    assert seen[-1] > seen[0] + 0.04


def test_a_spread_mouth_is_wider_than_a_rounded_one(models: FaceModels, spoken: Spoken) -> None:
    def width(spread: float) -> float:
        frame = DraftLips().apply(spoken.frames[0], spoken.meshes[0], 0.3, spread)
        mesh, _ = models.mesh.landmarks(frame, region_of(spoken.meshes[0]))
        return float(np.linalg.norm(mesh[61, :2] - mesh[291, :2]))

    assert width(1.0) > 1.03 * width(0.0)


def test_nothing_outside_the_lower_face_changes(spoken: Spoken) -> None:
    y, x = np.mgrid[0 : spoken.frames[0].shape[0], 0 : spoken.frames[0].shape[1]].astype(np.float32)
    for before, after, mesh in zip(spoken.frames, spoken.spoken, spoken.meshes, strict=True):
        down = mesh[152, :2] - mesh[10, :2]
        height = float(np.linalg.norm(down))
        below_nose = ((x - mesh[4, 0]) * down[0] + (y - mesh[4, 1]) * down[1]) / height
        hull = np.zeros(before.shape[:2], np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(np.rint(mesh[:, :2]).astype(np.int32)), (1,))
        away = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5)
        outside = (below_nose < 0) | (away > 0.2 * height)
        assert (after[outside] == before[outside]).all()
        assert (after != before).any()


def test_the_skin_between_chin_and_frame_stays_sharp(spoken: Spoken) -> None:
    frame, mesh = spoken.frames[0], spoken.meshes[0]
    moved = DraftLips().apply(frame, mesh, 0.6, 0.5)
    left, top = (mesh[:, :2].min(0)).astype(int)
    right, bottom = (mesh[:, :2].max(0)).astype(int)
    face = slice(top, bottom), slice(left, right)

    def detail(picture: Frame) -> float:
        return float(cv2.Laplacian(cv2.cvtColor(picture[face], cv2.COLOR_BGR2GRAY), cv2.CV_32F).std())

    assert detail(moved) > 0.9 * detail(frame)


def test_the_frame_that_was_given_is_not_written_to(spoken: Spoken) -> None:
    frame = spoken.frames[3].copy()
    frame.flags.writeable = False

    assert DraftLips().apply(frame, spoken.meshes[3], 1.0, 0.0) is not frame


@pytest.mark.parametrize("shift", [(-250, 0), (250, 0), (0, 220), (0, -260), (2000, 2000)])
def test_a_face_over_the_edge_of_the_frame_is_no_error(spoken: Spoken, shift: tuple[int, int]) -> None:
    mesh = spoken.meshes[0] + np.array([*shift, 0], np.float32)

    assert DraftLips().apply(spoken.frames[0], mesh, 0.8, 0.7).shape == spoken.frames[0].shape


def test_a_large_face_opens_as_far_as_the_same_face_small(spoken: Spoken) -> None:
    frame, mesh = spoken.frames[0], spoken.meshes[0]
    small = DraftLips().apply(frame, mesh, 0.8, 0.5)
    enlarged = np.asarray(cv2.resize(frame, None, fx=3, fy=3), np.uint8)
    large = DraftLips().apply(enlarged, mesh * 3, 0.8, 0.5)
    shrunk = np.asarray(cv2.resize(large, (528, 432), interpolation=cv2.INTER_AREA), np.uint8)
    corners = mesh[_CORNERS, :2]

    assert abs(inside_mouth_share(shrunk, corners) - inside_mouth_share(small, corners)) < 0.05


def test_a_shout_is_closed_without_a_dark_line_or_corner(spoken: Spoken) -> None:
    shouts = [number for number, mesh in enumerate(spoken.meshes) if _aperture(mesh) > 0.12]
    assert len(shouts) > 15
    for number in shouts:
        mesh, corners = spoken.meshes[number], spoken.meshes[number][_CORNERS, :2]
        closed = DraftLips().apply(spoken.frames[number], mesh, 0.0, 0.5)

        assert inside_mouth_share(closed, corners) < 0.04
        assert inside_mouth_share(spoken.frames[number], corners) > 0.08


def test_lips_of_two_colours_meet_without_stairs() -> None:
    frame = np.full((40, 60, 3), 200, np.uint8)
    frame[20:] = 50
    y, x = np.mgrid[0:40, 0:60].astype(np.float32)
    below = y - (0.3 * x + 10)  # the lips meet on a slope
    upper, lower = np.full_like(y, 5), np.full_like(y, 35)
    is_upper = below < 0
    motion = MotionField(x, np.where(is_upper, upper, lower), x, np.where(is_upper, lower, upper), below, -below, x, y)
    drawn = fetch(frame, motion)[..., 0]

    on_the_seam = np.abs(below) < 0.4
    assert ((drawn > 60) & (drawn < 190))[on_the_seam].all()
    assert np.abs(drawn - (125 - 150 * np.clip(below, -0.5, 0.5))).max() < 1


@pytest.mark.parametrize(("number", "teeth"), [(46, 0.0), (60, 0.0), (76, 1.0), (77, 1.0)])
def test_own_teeth_are_seen_where_a_person_sees_them(spoken: Spoken, number: int, teeth: float) -> None:
    columns = mouth_columns(spoken.meshes[number], 0.5)

    assert look(spoken.frames[number], columns).teeth == teeth


def test_a_brighter_or_darker_picture_shows_the_same_teeth(spoken: Spoken) -> None:
    columns = mouth_columns(spoken.meshes[76], 0.5)
    for gain in (0.5, 1.3):
        lit = np.clip(spoken.frames[76].astype(np.float32) * gain, 0, 255).astype(np.uint8)

        assert look(lit, columns).teeth == 1.0


def test_the_lower_lip_of_a_shout_is_moved_to_where_its_red_ends(spoken: Spoken) -> None:
    moved = [
        float(np.linalg.norm(with_lower_lip_seen(frame, mesh)[17] - mesh[17]) / np.linalg.norm(mesh[10] - mesh[152]))
        for frame, mesh in zip(spoken.frames, spoken.meshes, strict=True)
    ]

    # Looked at: in frames 113 to 116 the mesh takes the tongue for the lip, in 57 to 61 it is nearly right.
    assert min(moved[113:117]) > 0.03
    assert max(moved[57:62]) < 0.03
    # A mouth that is not wide open is left alone.
    assert max(moved[:50]) == 0


def test_lips_that_part_over_teeth_are_parted_and_no_others(spoken: Spoken, source: Frame, models: FaceModels) -> None:
    by_frame = [
        _aperture(with_parting_seen(frame, mesh)) - _aperture(mesh)
        for frame, mesh in zip(spoken.frames, spoken.meshes, strict=True)
    ]
    smile = models.new_tracker().track(source)[0].mesh_468

    # Looked at: clenched teeth are seen in frames 72 to 74, lips closed or dark between in the first 70.
    assert min(by_frame[72:75]) > 0.01
    assert max(by_frame[:70]) < 0.003
    assert min(by_frame) > -1e-6
    # Where the mesh already has the teeth between the lips nothing is to be done.
    assert abs(_aperture(with_parting_seen(source, smile)) - _aperture(smile)) < 0.003


def test_own_teeth_stay_where_they_were_filmed_however_far_the_jaw_drops(source: Frame, models: FaceModels) -> None:
    mesh = models.new_tracker().track(source)[0].mesh_468
    left, right = mesh[_CORNERS, :2]
    x = slice(int(left[0] + 0.4 * (right[0] - left[0])), int(left[0] + 0.6 * (right[0] - left[0])))
    # The front teeth, as far as the curve of the lower lip leaves them free on either side.
    upper, lower = mesh[13, 1], mesh[14, 1]
    y = slice(int(upper + 0.3 * (lower - upper)), int(upper + 0.55 * (lower - upper)))
    before = source[y, x].astype(int)
    for opening in (0.8, 0.9, 1.0):
        after = DraftLips().apply(source, mesh, opening, 0.5)[y, x].astype(int)

        assert np.abs(after - before).mean() < 3
