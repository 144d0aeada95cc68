"""How good the swap is, by measures that share neither mesh nor crop with the engine."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.draft.models import FaceModels
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.draft.swap import DraftSwap
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.detector import FaceDetector
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from tests.engine.footage import FPS, correlation

_CROP = 128
# Where eyes, nose and mouth of the detector's points come to lie in a crop.
_LAYOUT = np.array([[40, 48], [88, 48], [64, 74], [64, 98]], np.float32)
_CELL, _BINS = 8, 9
_FACE_CELLS = np.s_[4:14, 3:13]


@pytest.fixture(scope="module")
def swapped(models: FaceModels, source: Frame, frames: list[Frame], meshes: list[Floats]) -> list[Frame]:
    """Every frame as a worker with tracks makes it: without memory of the frames before."""
    swap = DraftSwap([DraftSource.from_image(source, models.detector, models.mesh)])
    return [swap.apply(frame, mesh, track_id=None) for frame, mesh in zip(frames, meshes, strict=True)]


def identity_of(frame: Frame, detector: FaceDetector) -> NDArray[np.float64]:
    """Describe a face by directions of its edges, light taken out, aligned by the detector (Dalal, Triggs 2005)."""
    face = max(detector.detect(frame), key=lambda face: face.score)
    affine, _ = cv2.estimateAffinePartial2D(face.points[:4], _LAYOUT)
    crop = cv2.warpAffine(frame, affine, (_CROP, _CROP), borderMode=cv2.BORDER_REPLICATE)
    grey = cv2.GaussianBlur(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY).astype(np.float32), (0, 0), 1)
    x, y = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength, direction = np.hypot(x, y), np.arctan2(y, x) % np.pi / np.pi * _BINS
    half, cells = _BINS / 2, _CROP // _CELL
    shares = [np.clip(1 - np.abs((direction - each + half) % _BINS - half), 0, 1) * strength for each in range(_BINS)]
    histogram = np.stack([share.reshape(cells, _CELL, cells, _CELL).sum((1, 3)) for share in shares], axis=2)
    histogram = histogram[_FACE_CELLS]
    return np.asarray(histogram / (np.linalg.norm(histogram, axis=2, keepdims=True) + 20), np.float64).ravel()


def steadiness(frames: list[Frame], meshes: list[Floats], size: int) -> float:
    """Mean change against the frames before and after, over the faces' middles scaled to `size` pixels."""
    crops = []
    for frame, mesh in zip(frames, meshes, strict=True):
        low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
        inset = (high - low) * 0.15
        (left, top), (right, bottom) = np.rint(low + inset).astype(int), np.rint(high - inset).astype(int)
        grey = cv2.cvtColor(frame[top:bottom, left:right], cv2.COLOR_BGR2GRAY).astype(np.float32)
        crops.append(cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA))
    course = np.stack(crops)
    return float(np.abs(course[1:-1] - (course[:-2] + course[2:]) / 2).mean())


def outside(mesh: Floats, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    hull = np.zeros(shape[:2], np.uint8)
    cv2.fillConvexPoly(hull, np.asarray(cv2.convexHull(np.rint(mesh[:, :2]).astype(np.int32)), np.int32), (1,))
    return np.asarray(cv2.dilate(hull, np.ones((9, 9), np.uint8)) == 0)


def test_the_identity_is_nearer_to_the_source_than_to_the_target(
    models: FaceModels, source: Frame, frames: list[Frame], swapped: list[Frame]
) -> None:
    wanted = identity_of(source, models.detector)
    to_source, to_own, before = [], [], []
    for index in range(0, 120, 6):
        own, now = (identity_of(video[index], models.detector) for video in (frames, swapped))
        to_source.append(correlation(now, wanted))
        to_own.append(correlation(now, own))
        before.append(correlation(own, wanted))

    assert np.mean(to_source) > np.mean(to_own) + 0.05
    assert np.mean(np.array(to_source) > np.array(to_own)) > 0.8
    assert np.mean(to_source) > np.mean(before) + 0.2


@pytest.mark.parametrize("size", [96, 4], ids=["detail", "light"])
def test_the_face_flickers_no_more_than_the_targets_own(
    frames: list[Frame], meshes: list[Floats], swapped: list[Frame], size: int
) -> None:
    assert steadiness(swapped, meshes, size) <= 1.3 * steadiness(frames, meshes, size)


def test_outside_the_face_the_delivered_video_is_the_target(
    frames: list[Frame], meshes: list[Floats], swapped: list[Frame], tmp_path: Path
) -> None:
    height, width = frames[0].shape[:2]
    with VideoWriter(tmp_path / "delivered.mp4", width=width, height=height, fps=FPS) as writer:
        for frame in swapped[:48]:
            writer.write(frame)
    with VideoReader(tmp_path / "delivered.mp4") as reader:
        for delivered in reader:
            away = outside(meshes[delivered.index], delivered.pixels.shape)
            own, made = frames[delivered.index][away], swapped[delivered.index][away]
            assert (made == own).all()
            error = np.mean((delivered.pixels[away].astype(np.float64) - own) ** 2)
            assert 10 * np.log10(255**2 / error) >= 38
