"""Crops lie on the face as in the training, and only the lower face comes back from them."""

import cv2
import numpy as np
import pytest

from gpu_tasks.draft.models import topology
from gpu_tasks.faces.align import invert, transform
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.faces.mesh import (
    CHIN,
    FOREHEAD,
    INNER_MOUTH,
    LEFT_EYE_CORNER,
    NOSE_BASE,
    NOSE_TIP,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    RIGHT_EYE_CORNER,
)
from gpu_tasks.wav2lip.picture import face_affine, lower_face_mask, template_affine, whole_mask

SIZE = 96


def face(*, tilt: float = 0.0, scale: float = 12.0, centre: tuple[float, float] = (300.0, 200.0)) -> Floats:
    """The canonical face, frontal, in a frame: 17.66 units high and 15.32 wide."""
    points = topology().vertices * np.array([scale, -scale, -scale], np.float32)
    cos, sin = np.cos(tilt), np.sin(tilt)
    turned = points[:, :2] @ np.array([[cos, sin], [-sin, cos]], np.float32) + np.array(centre, np.float32)
    return np.concatenate([turned, points[:, 2:]], axis=1).astype(np.float32)


@pytest.mark.parametrize("tilt", [0.0, 0.5, -0.8, 2.5], ids=["upright", "to the right", "to the left", "upside-down"])
@pytest.mark.parametrize("portrait", [True, False], ids=["portrait", "square"])
def test_a_crop_is_upright_and_its_hidden_half_begins_between_tip_and_base_of_the_nose(
    tilt: float,
    portrait: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    mesh = face(tilt=tilt)
    placed = transform(mesh[:, :2], face_affine(mesh, SIZE, portrait=portrait))
    right_eye, left_eye = placed[RIGHT_EYE_CORNER], placed[LEFT_EYE_CORNER]
    assert right_eye[1] == pytest.approx(left_eye[1], abs=0.1)
    assert right_eye[0] < SIZE / 2 < left_eye[0]
    assert placed[NOSE_BASE, 0] == pytest.approx(SIZE / 2, abs=1)
    assert placed[NOSE_TIP, 1] < SIZE / 2 < placed[NOSE_BASE, 1]
    # The chin is inside with a little room below, the mouth in the lower half.
    assert SIZE * 0.92 < placed[CHIN, 1] < SIZE * 0.98
    assert placed[FOREHEAD, 1] == pytest.approx(0, abs=0.1)
    assert (placed[list(INNER_MOUTH), 1] > SIZE / 2).all()
    # Portrait: narrower in the frame, so the face is wider in the crop.
    eyes = float(left_eye[0] - right_eye[0]) / SIZE
    assert eyes == pytest.approx(8.9 / 18.46 / (0.82 if portrait else 1), rel=0.02)


@pytest.mark.parametrize("tilt", [0.0, 0.5, -0.8])
def test_five_points_go_where_the_template_has_them(tilt: float) -> None:
    mesh = face(tilt=tilt)
    placed = transform(mesh[:, :2], template_affine(mesh, 512))
    # FFHQ at 512 pixels: eyes about (193, 240) and (319, 240), nose (257, 314), mouth (201, 371) and (313, 371). The
    # canonical face is not the mean face of FFHQ.
    for point, expected in (
        (NOSE_TIP, (257, 314)),
        (OUTER_UPPER_LIP[0], (201, 371)),
        (OUTER_UPPER_LIP[-1], (313, 371)),
    ):
        assert placed[point] == pytest.approx(expected, abs=30)
    affine = template_affine(mesh, 512)
    # A similarity: no stretching, no mirroring.
    assert affine[0, 0] == pytest.approx(affine[1, 1])
    assert affine[0, 1] == pytest.approx(-affine[1, 0])


@pytest.mark.parametrize("tilt", [0.0, 0.6])
def test_the_mask_covers_the_mouth_and_nothing_beyond_jaw_and_nose(tilt: float) -> None:
    mesh = face(tilt=tilt)
    affine = face_affine(mesh, SIZE, portrait=True)
    mask = lower_face_mask(mesh, affine, SIZE)
    placed = np.rint(transform(mesh[:, :2], affine)).astype(int)

    def at(point: int) -> float:
        return float(mask[placed[point, 1], placed[point, 0]])

    assert min(at(point) for point in (*OUTER_UPPER_LIP, *OUTER_LOWER_LIP)) > 0.9
    assert at(CHIN) < 0.2
    assert at(NOSE_TIP) == at(RIGHT_EYE_CORNER) == 0
    assert mask[0].max() == 0
    assert max(mask[:, 0].max(), mask[:, -1].max(), mask[-1].max()) < 0.1
    # Soft: no step between neighbours that could be seen as an edge.
    assert max(np.abs(np.diff(mask, axis=0)).max(), np.abs(np.diff(mask, axis=1)).max()) < 0.4
    assert 0 <= mask.min() < mask.max() <= 1


def test_without_a_mask_the_whole_crop_comes_back_with_soft_edges() -> None:
    mask = whole_mask(SIZE)
    assert (mask[10:-10, 10:-10] == 1).all()
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) < 0.1


def test_a_crop_put_back_lies_where_it_was_cut() -> None:
    mesh = face(tilt=0.4)
    affine = face_affine(mesh, SIZE, portrait=True)
    corners = np.array([[0, 0], [SIZE, 0], [SIZE, SIZE], [0, SIZE]], np.float32)
    box = cv2.minAreaRect(transform(corners, invert(affine)))
    sides = sorted(box[1])
    # 1.045 of the face's 17.66 units, at 12 pixels each; 0.82 of that across.
    assert sides == pytest.approx([0.82 * 221.5, 221.5], rel=0.01)
