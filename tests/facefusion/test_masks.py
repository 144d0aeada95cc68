"""Masks against the documented formulas, computed by numpy alone."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.options import MaskRegion
from gpu_tasks.facefusion.masks import Occluder, Parser, area_mask, box_mask, hull_mask, smallest, softened
from gpu_tasks.faces.mesh import OVAL
from gpu_tasks.runtime.devices import Devices
from gpu_tasks.runtime.sessions import OnnxNetwork
from gpu_tasks.weights import WeightStore
from tests.facefusion.clips import Clip


def gaussian(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """A Gaussian along both axes; edges are mirrored without repeating the edge."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(values, [(reach, reach) if axis == other else (0, 0) for other in (0, 1)], mode="reflect")
        values = np.apply_along_axis(lambda line: np.convolve(line, kernel, mode="valid"), axis, padded)
    return values


def box_by_hand(size: int, blur: float, padding: tuple[int, int, int, int]) -> NDArray[np.float64]:
    amount = int(size * 0.5 * blur)
    border = max(amount // 2, 1)
    top, right, bottom, left = (max(border, int(size * percent / 100)) for percent in padding)
    mask = np.ones((size, size))
    mask[:top] = mask[-bottom:] = 0
    mask[:, :left] = 0
    mask[:, -right:] = 0
    return gaussian(mask, amount * 0.25) if amount else mask


@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize("blur", [0.0, 0.1, 0.3, 0.8])
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (10, 0, 25, 5)])
def test_the_box_follows_the_formula(size: int, blur: float, padding: tuple[int, int, int, int]) -> None:
    assert np.abs(box_mask(size, blur, padding) - box_by_hand(size, blur, padding)).max() < 0.004


def test_padding_is_top_right_bottom_left() -> None:
    one_side = [(20, 0, 0, 0), (0, 20, 0, 0), (0, 0, 20, 0), (0, 0, 0, 20)]
    sides = [box_mask(100, 0.0, padding)[[10, 50, 89, 50], [50, 89, 50, 10]] for padding in one_side]
    assert [int(np.flatnonzero(side == 0)[0]) for side in sides] == [0, 1, 2, 3]
    assert all((side == 0).sum() == 1 for side in sides)


def test_a_softened_mask_grows_nowhere() -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[20:44, 20:44] = 1
    by_hand = (np.clip(gaussian(mask.astype(np.float64), 5), 0.5, 1) - 0.5) * 2
    assert np.abs(softened(mask) - by_hand).max() < 0.004
    assert not softened(mask)[:19].any()


def test_an_area_is_the_softened_hull_of_its_points() -> None:
    points = np.random.default_rng(4).uniform(20, 108, (68, 2)).astype(np.float32)
    mouth = area_mask(points, 128, ["mouth"])
    hull = np.asarray(cv2.convexHull(points[48:68].astype(np.int32)), np.int32)
    inside = np.asarray(cv2.fillConvexPoly(np.zeros((128, 128), np.uint8), hull, (1,)), np.float64)
    by_hand = (np.clip(gaussian(inside, 5), 0.5, 1) - 0.5) * 2
    assert np.abs(mouth - by_hand).max() < 0.004
    assert (area_mask(points, 128, ["mouth", "lower-face"]) >= mouth - 1e-6).all()


def test_the_hull_ends_where_the_face_does(clip: Clip) -> None:
    mesh = clip.meshes(clip.job())[0][0][:, :2]
    low, high = mesh.min(0), mesh.max(0)
    placed = (mesh - low) / (high - low).max() * 200 + 28
    mask = hull_mask(placed.astype(np.float32), 256)
    outline = placed[list(OVAL)].astype(np.float32).reshape(-1, 1, 2)
    for y in range(0, 256, 4):
        for x in range(0, 256, 4):
            inside = cv2.pointPolygonTest(outline, (x, y), measureDist=True)
            if inside < -1.5:
                assert mask[y, x] == 0
            if inside > 18:
                assert mask[y, x] > 0.95


def test_the_smallest_of_masks_counts() -> None:
    one, other = np.random.default_rng(1).random((2, 8, 8)).astype(np.float32) * 1.5
    assert np.array_equal(smallest([one, other]), np.clip(np.minimum(one, other), 0, 1))


def test_what_covers_the_face_is_masked_by_the_occluder(weights: WeightStore, devices: Devices) -> None:
    crop = np.full((192, 192, 3), 90, np.uint8)
    # Blue counts as covering, red does not: a crop in the wrong order shows.
    crop[:, 120:] = (255, 90, 90)
    crop[:60] = (90, 90, 255)
    mask = Occluder(OnnxNetwork(weights.path("xseg_1"), "xseg_1", devices)).mask(crop)
    assert mask.shape == (192, 192)
    assert mask[100, 60] == pytest.approx(1)
    assert mask[100, 150] == 0
    assert mask[20, 40] == pytest.approx(1)


WANTED: tuple[list[MaskRegion], ...] = (["skin"], ["nose"], ["skin", "nose"])


def test_regions_are_told_apart_by_the_parser(weights: WeightStore, devices: Devices) -> None:
    crop = np.full((256, 256, 3), 200, np.uint8)
    crop[:100, :, 2] = 0
    parser = Parser(OnnxNetwork(weights.path("bisenet_resnet_34"), "bisenet_resnet_34", devices))
    # The stand-in calls the left half skin, the right half a nose, and what has no red background.
    skin, nose, both = (parser.mask(crop, names) for names in WANTED)
    assert (skin[200, 60], skin[200, 200]) == (pytest.approx(1), 0)
    assert (nose[200, 60], nose[200, 200]) == (0, pytest.approx(1))
    assert both[200].min() == pytest.approx(1)
    assert not both[:80].any()
    assert not parser.mask(crop, ["mouth"]).any()


def test_another_network_in_the_parsers_place_is_corrupt(weights: WeightStore, devices: Devices) -> None:
    with pytest.raises(FaultError) as caught:
        Parser(OnnxNetwork(weights.path("gpen_bfr_256"), "bisenet_resnet_34", devices))
    assert caught.value.fault.code is FaultCode.MODEL_CORRUPT
    enhancer = Parser(OnnxNetwork(weights.path("gfpgan_1.4"), "bisenet_resnet_34", devices))
    with pytest.raises(FaultError, match="19 regions"):
        enhancer.mask(np.zeros((64, 64, 3), np.uint8), ["skin"])
