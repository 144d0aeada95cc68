"""The face becomes the source's, and nothing else changes."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.draft.models import FaceModels, topology
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.draft.swap import DraftSwap
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import INNER_MOUTH, LEFT_EYE, RIGHT_EYE, region_of
from tests.engine.footage import correlation


@pytest.fixture(scope="module")
def identity(models: FaceModels, source: Frame) -> DraftSource:
    return DraftSource.from_image(source, models.detector, models.mesh)


@pytest.fixture(scope="module")
def swapped(identity: DraftSource, frames: list[Frame], meshes: list[Floats]) -> list[Frame]:
    swap = DraftSwap([identity])
    return [swap.apply(frame, mesh) for frame, mesh in zip(frames, meshes, strict=True)]


def _appearance(frame: Frame, mesh: Floats) -> NDArray[np.float64]:
    """Brightness at the middle of each triangle below the brows, less what is light: features, not illumination."""
    places = mesh[topology().triangles, :2].mean(1)
    height = topology().vertices[topology().triangles, 1].mean(1)
    picture = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float32)
    size = float(np.ptp(mesh[:, 1]))
    detail = cv2.GaussianBlur(picture, (0, 0), size / 80) - cv2.GaussianBlur(picture, (0, 0), size / 10)
    x, y = np.rint(places[height < 5]).astype(int).T
    return np.asarray(detail[y, x], np.float64)


def test_the_face_looks_more_like_the_source_and_less_like_the_target(
    models: FaceModels, source: Frame, frames: list[Frame], meshes: list[Floats], swapped: list[Frame]
) -> None:
    first, _ = models.mesh.landmarks(source, models.detector.detect(source)[0].region)
    wanted = _appearance(source, models.mesh.landmarks(source, region_of(first))[0])
    for index in range(0, 55, 9):
        own = _appearance(frames[index], meshes[index])
        now = _appearance(swapped[index], meshes[index])
        assert correlation(now, wanted) > correlation(own, wanted) + 0.1
        assert correlation(now, own) < 0.9


def test_swapping_a_face_with_itself_hardly_changes_it(
    models: FaceModels, frames: list[Frame], meshes: list[Floats]
) -> None:
    same = DraftSource.from_image(frames[0], models.detector, models.mesh)
    out = DraftSwap([same]).apply(frames[0], meshes[0])

    assert np.abs(out.astype(int) - frames[0]).mean() < 0.5


def test_pixels_outside_the_face_are_untouched(frames: list[Frame], meshes: list[Floats], swapped: list[Frame]) -> None:
    for before, after, mesh in zip(frames, swapped, meshes, strict=True):
        hull = np.zeros(before.shape[:2], np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(np.rint(mesh[:, :2]).astype(np.int32)), (1,))
        outside = cv2.dilate(hull, np.ones((7, 7), np.uint8)) == 0
        assert (after[outside] == before[outside]).all()
        assert np.abs(after.astype(int) - before)[hull > 0].mean() > 2


@pytest.mark.parametrize("part", [INNER_MOUTH, LEFT_EYE, RIGHT_EYE])
def test_eyes_and_the_inside_of_the_mouth_stay_the_targets(
    frames: list[Frame], meshes: list[Floats], swapped: list[Frame], part: tuple[int, ...]
) -> None:
    index = 60  # eyes and mouth wide open
    inside = np.zeros(frames[0].shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(meshes[index][list(part), :2]).astype(np.int32)], (1,))
    core = cv2.erode(inside, np.ones((5, 5), np.uint8)) > 0

    assert core.sum() > 10
    assert np.abs(swapped[index].astype(int) - frames[index])[core].mean() < 3


def test_light_and_colour_stay_the_targets(frames: list[Frame], meshes: list[Floats], swapped: list[Frame]) -> None:
    for index in range(0, 120, 17):
        hull = np.zeros(frames[0].shape[:2], np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(np.rint(meshes[index][:, :2]).astype(np.int32)), (1,))
        change = swapped[index][hull > 0].mean(0) - frames[index][hull > 0].mean(0)
        assert np.abs(change).max() < 8


def test_a_brighter_source_gives_the_same_brightness(
    models: FaceModels, source: Frame, frames: list[Frame], meshes: list[Floats], swapped: list[Frame]
) -> None:
    dark = np.asarray(source * 0.5, np.uint8)
    out = DraftSwap([DraftSource.from_image(dark, models.detector, models.mesh)]).apply(frames[0], meshes[0])

    assert np.abs(out.astype(int) - swapped[0]).mean() < 1.5


def test_the_swap_does_not_flicker_much_more_than_the_target(
    frames: list[Frame], meshes: list[Floats], identity: DraftSource
) -> None:
    still, mesh = frames[0], meshes[0]
    noise = np.random.default_rng(9)
    swap = DraftSwap([identity])
    noisy = [np.clip(still + noise.normal(0, 5, still.shape), 0, 255).astype(np.uint8) for _ in range(12)]
    out = [swap.apply(frame, mesh).astype(np.float32) for frame in noisy]
    face = np.s_[int(mesh[6, 1]) : int(mesh[164, 1]), int(mesh[50, 0]) : int(mesh[280, 0])]
    own = np.diff(np.stack([frame.astype(np.float32)[face] for frame in noisy]), axis=0).std()

    assert np.diff(np.stack([frame[face] for frame in out]), axis=0).std() < own


@pytest.mark.parametrize("shift", [(-250, 0), (250, 0), (0, 220), (0, -260), (2000, 2000)])
def test_a_face_over_the_edge_of_the_frame_is_no_error(
    identity: DraftSource, frames: list[Frame], meshes: list[Floats], shift: tuple[int, int]
) -> None:
    mesh = meshes[0] + np.array([*shift, 0], np.float32)

    assert DraftSwap([identity]).apply(frames[0], mesh).shape == frames[0].shape
