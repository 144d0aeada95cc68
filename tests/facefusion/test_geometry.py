"""Crops against computations that share no code with the engine."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.facefusion.boosting import interleaved, together
from gpu_tasks.facefusion.geometry import (
    TEMPLATES,
    Template,
    affine_to,
    five_of_68,
    five_of_mesh,
    landmarks_68_of_mesh,
)
from gpu_tasks.facefusion.pasting import cut, paste_into
from gpu_tasks.facefusion.tensors import crops_of, tensor_of
from gpu_tasks.faces.align import warp
from gpu_tasks.faces.arrays import Floats, Frame
from tests.facefusion.clips import Clip

RANDOM = np.random.default_rng(11)


def least_squares(points: Floats, onto: NDArray[np.float64]) -> NDArray[np.float64]:
    """The similarity by the normal equations: a, b, and the shift as four unknowns."""
    rows, values = [], []
    for (x, y), (u, v) in zip(points.astype(np.float64), onto, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        values += [u, v]
    (a, b, c, d), *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    return np.array([[a, -b, c], [b, a, d]])


def some_faces() -> list[Floats]:
    """Five points of faces of many sizes, turns and places, noisy, up to the far corner of an 8K frame."""
    faces = []
    for _ in range(40):
        angle, side = RANDOM.uniform(-np.pi, np.pi), RANDOM.uniform(20, 1500)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = (TEMPLATES[Template.FFHQ_512] - 0.5) @ turn.T * side
        place = RANDOM.uniform([0, 0], [7680, 4320])
        faces.append((points + place + RANDOM.normal(0, side / 60, (5, 2))).astype(np.float32))
    return faces


@pytest.mark.parametrize("template", list(Template))
@pytest.mark.parametrize("size", [112, 256, 512])
def test_a_warp_is_the_least_squares_similarity(template: Template, size: int) -> None:
    for points in some_faces():
        by_hand = least_squares(points, TEMPLATES[template].astype(np.float64) * size)
        affine = affine_to(template, points, size)
        # The matrix is kept in single precision: far out in 8K its shift has no more digits than that.
        kept = 2 * float(np.spacing(np.float32(np.abs(by_hand).max())))
        assert np.abs(affine - by_hand).max() <= 1e-4 + kept


def test_a_warp_in_a_frame_of_1080p_is_right_to_a_ten_thousandth_of_a_pixel() -> None:
    for points in (points for points in some_faces() if np.ptp(points[:, 0]) > 60):
        moved = (points - points.mean(0) + [960, 540]).astype(np.float32)
        by_hand = least_squares(moved, TEMPLATES[Template.ARCFACE_128].astype(np.float64) * 256)
        assert np.abs(affine_to(Template.ARCFACE_128, moved, 256) - by_hand).max() < 1e-4


def test_a_warp_never_mirrors_and_survives_points_in_one_place() -> None:
    mirrored = TEMPLATES[Template.FFHQ_512] * np.array([-300, 300], np.float32) + np.array([500, 100], np.float32)
    affine = affine_to(Template.FFHQ_512, mirrored.astype(np.float32), 256)
    assert affine[0, 0] * affine[1, 1] - affine[0, 1] * affine[1, 0] >= 0
    assert np.isfinite(affine_to(Template.FFHQ_512, np.full((5, 2), 7, np.float32), 256)).all()


def test_templates_name_points_in_the_order_in_which_they_are_seen() -> None:
    for points in TEMPLATES.values():
        left_eye, right_eye, nose, left_mouth, right_mouth = points
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_the_mesh_lies_on_a_template_as_its_68_points_do(clip: Clip) -> None:
    for (mesh,) in clip.meshes(clip.job())[:3]:
        direct, by_68 = five_of_mesh(mesh), five_of_68(landmarks_68_of_mesh(mesh))
        face_px = float(np.ptp(mesh[:, 1]))
        assert np.linalg.norm(direct - by_68, axis=1).max() < 0.03 * face_px
        affine = affine_to(Template.FFHQ_512, direct, 1)
        placed = direct @ affine[:, :2].T + affine[:, 2]
        assert np.abs(placed - TEMPLATES[Template.FFHQ_512]).max() < 0.07


def test_the_68_points_go_round_the_face_as_they_are_numbered(clip: Clip) -> None:
    mesh = clip.meshes(clip.job())[0][0]
    points = landmarks_68_of_mesh(mesh)
    face_px = float(np.ptp(mesh[:, 1]))
    jaw, brows, eyes, mouth = points[:17], points[17:27], points[36:48], points[48:]
    assert np.all(np.diff(jaw[:16, 0]) > -0.03 * face_px)
    # The head is tilted a little.
    assert abs(int(jaw[:, 1].argmax()) - 8) <= 1
    assert brows[:, 1].max() < eyes[:, 1].mean()
    assert eyes[:, 1].max() < points[33, 1] < mouth[:, 1].mean() < jaw[8, 1]
    assert mouth[0, 0] < mouth[3, 0] < mouth[6, 0]


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.9])
def test_a_cut_is_what_warping_the_whole_frame_gives(scale: float) -> None:
    frame = np.asarray(cv2.GaussianBlur(RANDOM.integers(0, 256, (240, 320, 3), np.uint8), (0, 0), 2), np.uint8)
    for place in ((60, 50), (-30, 10), (250, 200)):
        affine = np.array([[scale, 0.1, -scale * place[0]], [-0.1, scale, -scale * place[1]]], np.float32)
        difference = np.abs(cut(frame, affine, 96).astype(int) - warp(frame, affine, 96))
        assert difference.max() <= 1


def pasted_by_hand(frame: Frame, crop: Frame, mask: Floats, affine: Floats) -> NDArray[np.float64]:
    """The documented formula over the whole frame, in double precision."""
    inverse = cv2.invertAffineTransform(affine.astype(np.float64))
    shape = frame.shape[1::-1]
    taken = np.clip(cv2.warpAffine(mask, inverse, shape), 0, 1)[..., None].astype(np.float64)
    above = cv2.warpAffine(crop.astype(np.float32), inverse, shape, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(taken * above + (1 - taken) * frame, np.float64)


def test_a_paste_follows_the_formula_and_leaves_the_rest_as_it_is() -> None:
    frame = RANDOM.integers(0, 256, (240, 320, 3), np.uint8)
    crop = np.asarray(cv2.GaussianBlur(RANDOM.integers(0, 256, (128, 128, 3), np.uint8), (0, 0), 3), np.uint8)
    mask = np.zeros((128, 128), np.float32)
    mask[12:-12, 12:-12] = 1
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 4), np.float32)
    affine = np.array([[0.8, 0.2, -40], [-0.2, 0.8, 10]], np.float32)
    after = frame.copy()
    paste_into(after, crop, mask, affine)
    by_hand = pasted_by_hand(frame, crop, mask, affine)
    assert np.abs(after - by_hand).mean() < 0.4
    assert np.abs(after - by_hand).max() < 4
    inverse = cv2.invertAffineTransform(affine)
    outside = cv2.warpAffine((mask > 0).astype(np.float32), inverse, (320, 240)) == 0
    assert np.array_equal(after[outside], frame[outside])
    assert outside.mean() > 0.3


def test_a_crop_beyond_the_frame_is_pasted_where_the_frame_is_and_nothing_where_it_is_not() -> None:
    frame = RANDOM.integers(0, 256, (100, 100, 3), np.uint8)
    crop, mask = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), np.float32)
    half_out = frame.copy()
    paste_into(half_out, crop, mask, np.array([[1, 0, 32], [0, 1, 0]], np.float32))
    assert not half_out[2:60, :28].any()
    assert np.array_equal(half_out[:, 40:], frame[:, 40:])
    out = frame.copy()
    paste_into(out, crop, mask, np.array([[1, 0, 500], [0, 1, 0]], np.float32))
    assert np.array_equal(out, frame)


def test_tensors_are_the_formula_and_come_back_as_they_were() -> None:
    crops = RANDOM.integers(0, 256, (3, 40, 40, 3), np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    by_hand = ((crops[..., ::-1] / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert np.abs(tensor_of(crops, mean, std) - by_hand).max() < 1e-5
    assert np.array_equal(crops_of(tensor_of(crops, mean, std), mean, std), crops)
    beyond = np.stack([np.full((3, 2, 2), value, np.float32) for value in (-0.5, 1.5)])
    assert np.array_equal(np.unique(crops_of(beyond)), [0, 255])


def test_interleaved_parts_are_every_nth_pixel_and_weave_together_again() -> None:
    crop = RANDOM.integers(0, 256, (48, 48, 3), np.uint8)
    parts = interleaved(crop, 3)
    assert np.array_equal(parts[5], crop[1::3, 2::3])
    assert np.array_equal(together(parts), crop)
