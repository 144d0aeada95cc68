"""Geometry against small independent references."""

from collections.abc import Sequence

import cv2
import numpy as np

from gpu_tasks.draft.raster import draw_mesh, facing_back_to_front
from gpu_tasks.faces.align import Region, crop_affine, fit_similarity, invert, paste_back, transform, warp
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.masks import faded_inward, low_frequencies, outline_mask


def _floats(values: Sequence[object]) -> Floats:
    return np.array(values, np.float32)


def _smooth_picture(height: int, width: int) -> Frame:
    noise = np.random.default_rng(3).integers(0, 255, (height, width, 3)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(noise, (0, 0), 5), np.float32)
    return np.asarray(20 + 215 * (soft - soft.min()) / np.ptp(soft), np.uint8)


def test_a_crop_affine_maps_the_turned_square_onto_the_crop() -> None:
    angle, side, size = 0.3, 80.0, 64
    affine = crop_affine(Region(100, 60, side, angle), size)
    along, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    corners = [np.array([100, 60]) + (a * along + b * down) * side / 2 for a, b in ((-1, -1), (1, -1), (1, 1))]

    np.testing.assert_allclose(transform(_floats(corners), affine), [[0, 0], [64, 0], [64, 64]], atol=1e-4)


def test_pasting_back_an_unchanged_crop_gives_the_frame_back() -> None:
    frame = _smooth_picture(200, 240)
    affine = crop_affine(Region(120, 100, 110, 0.4), 160)
    pasted = paste_back(frame, warp(frame, affine, 160), np.ones((160, 160), np.float32), affine)

    assert np.abs(pasted.astype(int) - frame).max() <= 3


def test_pasting_back_touches_nothing_outside_the_mask() -> None:
    frame = _smooth_picture(200, 240)
    affine = crop_affine(Region(120, 100, 60, 0.2), 64)
    mask = np.zeros((64, 64), np.float32)
    mask[20:40, 20:40] = 1
    pasted = paste_back(frame, np.zeros((64, 64, 3), np.uint8), mask, affine)
    y, x = np.mgrid[0:200, 0:240]
    place = transform(np.stack([x.ravel(), y.ravel()], 1).astype(np.float32), affine)
    outside = ((place < 18) | (place > 41)).any(1).reshape(200, 240)

    assert (pasted[outside] == frame[outside]).all()
    assert (pasted[98:102, 118:122] == 0).all()


def test_pasting_over_the_edge_of_a_frame_is_cut_at_the_edge() -> None:
    frame = _smooth_picture(50, 50)
    affine = crop_affine(Region(0, 0, 40, 0), 40)
    pasted = paste_back(frame, np.full((40, 40, 3), 7, np.uint8), np.ones((40, 40), np.float32), affine)

    assert (pasted[:18, :18] == 7).all()
    assert (pasted[22:] == frame[22:]).all()


def test_a_crop_wholly_outside_leaves_the_frame_as_it_was() -> None:
    frame = _smooth_picture(50, 50)
    affine = crop_affine(Region(500, 500, 40, 0), 40)

    assert (paste_back(frame, np.zeros((40, 40, 3), np.uint8), np.ones((40, 40), np.float32), affine) == frame).all()


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200
    crop = warp(stripes, crop_affine(Region(200, 200, 380, 0), 60), 60)

    assert np.abs(crop[10:50, 10:50].astype(int) - 100).max() < 12


def test_a_shrunk_crop_lies_where_the_affine_says() -> None:
    y, x = np.mgrid[0:400, 0:400].astype(np.float32)
    ramp = np.repeat((x * 0.3 + y * 0.2)[..., None], 3, 2).astype(np.uint8)
    affine = crop_affine(Region(190, 210, 300, 0.25), 60)
    crop = warp(ramp, affine, 60)
    places = transform(_floats([[15, 20], [30, 30], [40, 12]]), invert(affine))

    for (column, row), (at_x, at_y) in zip(((15, 20), (30, 30), (40, 12)), places, strict=True):
        assert abs(int(crop[row, column, 0]) - (at_x * 0.3 + at_y * 0.2)) < 1.5


def test_a_similarity_is_recovered_from_points() -> None:
    points = np.random.default_rng(4).normal(0, 30, (50, 2)).astype(np.float32)
    turn = 1.7 * np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    fit = fit_similarity(points, (points @ turn.T + [5, -8]).astype(np.float32))

    np.testing.assert_allclose(fit, np.column_stack([turn, [5, -8]]), atol=1e-3)


def test_drawing_a_mesh_equals_asking_every_pixel_for_its_triangle() -> None:
    rng = np.random.default_rng(5)
    points = rng.uniform(2, 38, (12, 2)).astype(np.float32)
    values = rng.normal(0, 1, (12, 2)).astype(np.float32)
    triangles = np.array([rng.choice(12, 3, replace=False) for _ in range(15)])
    drawn, covered = draw_mesh(points, values, triangles, (40, 40))

    for row in range(40):
        for column in range(40):
            expected, on_edge = None, False
            for a, b, c in triangles:
                weights = np.linalg.lstsq(
                    np.vstack([points[[a, b, c]].T, np.ones(3)]), np.array([column, row, 1.0]), rcond=None
                )[0]
                on_edge |= bool(np.abs(weights).min() < 5e-3)
                if (weights >= 0).all():
                    expected = weights @ values[[a, b, c]]
            if on_edge:
                continue
            assert covered[row, column] == (expected is not None)
            if expected is not None:
                np.testing.assert_allclose(drawn[row, column], expected, atol=2e-3)


def test_what_faces_away_is_not_drawn_and_what_is_near_is_drawn_last() -> None:
    points = _floats([[0, 0, 5], [10, 0, 5], [0, 10, 5], [0, 0, 1], [10, 0, 1], [0, 10, 1]])
    triangles = np.array([[3, 4, 5], [0, 1, 2]])
    away = np.array([[3, 4, 5], [0, 1, 2], [0, 1, 2], [1, 0, 2]])

    assert facing_back_to_front(points, triangles).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [1, 0, 2] not in facing_back_to_front(points, away).tolist()


def test_a_fade_stays_inside_its_mask_and_reaches_one() -> None:
    mask = outline_mask(_floats([[10, 10], [50, 10], [50, 50], [10, 50]]), (60, 60))
    faded = faded_inward(mask, 8)

    assert (faded[mask == 0] == 0).all()
    assert faded[30, 30] == 1
    assert 0 < faded[30, 13] < 0.5


def test_low_frequencies_do_not_take_in_what_does_not_count() -> None:
    picture = np.full((40, 40, 3), 100, np.float32)
    picture[:, 20:] = 255
    weight = np.ones((40, 40), np.float32)
    weight[:, 20:] = 0

    np.testing.assert_allclose(low_frequencies(picture, weight, 6)[:, :30], 100, atol=1e-2)
