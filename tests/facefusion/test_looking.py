"""Detectors and landmarkers in the layouts of their files: a face is where blue outweighs red."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.facefusion.detectors import DETECTORS, OnnxDetector, five_of
from gpu_tasks.facefusion.geometry import five_of_68, landmarks_68_of_mesh
from gpu_tasks.facefusion.landmarks import LANDMARKERS, Landmarker
from gpu_tasks.facefusion.looking import Points
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.faces.mesh import region_of
from gpu_tasks.runtime.devices import Devices
from gpu_tasks.runtime.sessions import OnnxNetwork
from gpu_tasks.weights import WeightStore
from tests.facefusion.clips import Clip
from tests.facefusion.standin_analysis import EDGES, POINTS, canonical_68

STRIDE = 16


def detector(weights: WeightStore, devices: Devices, name: str) -> OnnxDetector:
    facts = DETECTORS[name]
    return OnnxDetector(OnnxNetwork(weights.path(facts.model_id), facts.model_id, devices), facts)


def with_blue_cells(width: int, height: int, *cells: tuple[int, int], cell_px: float = STRIDE) -> Frame:
    frame = np.full((height, width, 3), (20, 60, 40), np.uint8)
    for column, row in cells:
        corner = (round(column * cell_px), round(row * cell_px))
        end = (round((column + 1) * cell_px) - 1, round((row + 1) * cell_px) - 1)
        cv2.rectangle(frame, corner, end, (255, 40, 10), -1)
    return frame


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_a_detector_finds_boxes_and_points_where_its_file_says(
    name: str, weights: WeightStore, devices: Devices
) -> None:
    faces = detector(weights, devices, name).detect(with_blue_cells(480, 400, (10, 8), (22, 14)))
    assert len(faces) == 2
    for face, cell in zip(sorted(faces, key=lambda face: face.box[0]), ((10, 8), (22, 14)), strict=True):
        corner = np.array(cell) * STRIDE
        left, top, right, bottom = np.array(EDGES) * STRIDE
        edges = np.array([-left, -top, right, bottom])
        assert np.allclose(face.box, np.tile(corner, 2) + edges, atol=0.01)
        assert np.allclose(five_of(face), corner + POINTS * STRIDE, atol=0.01)
        assert face.score > 0.8


@pytest.mark.parametrize("name", sorted(DETECTORS))
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (720, 1280), (1920, 1080)])
def test_large_frames_are_seen_smaller_and_answered_in_their_own_pixels(
    name: str, width: int, height: int, weights: WeightStore, devices: Devices
) -> None:
    share = max(width, height) / 640
    frame = with_blue_cells(width, height, (9, 11), cell_px=STRIDE * share)
    (face,) = detector(weights, devices, name).detect(frame)
    middle = np.array([9, 11]) * STRIDE * share
    expected = middle + POINTS * STRIDE * share
    assert np.abs(five_of(face) - expected).max() < 1.5 * share


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_small_frames_are_not_enlarged_and_red_is_not_blue(name: str, weights: WeightStore, devices: Devices) -> None:
    found = detector(weights, devices, name)
    (face,) = found.detect(with_blue_cells(128, 96, (4, 3)))
    assert np.allclose(five_of(face)[2], np.array([4, 3.5]) * STRIDE, atol=0.01)
    assert not found.detect(np.ascontiguousarray(with_blue_cells(128, 96, (4, 3))[:, :, ::-1]))
    assert not found.detect(np.zeros((96, 128, 3), np.uint8))


def test_one_face_that_two_anchors_saw_is_one_face(weights: WeightStore, devices: Devices) -> None:
    # SCRFD answers for each cell twice, and two neighbouring cells are blue.
    faces = detector(weights, devices, "scrfd").detect(with_blue_cells(320, 320, (8, 8), (9, 8)))
    assert len(faces) == 1


def test_another_network_in_a_detectors_place_is_corrupt(weights: WeightStore, devices: Devices) -> None:
    facts = DETECTORS["yunet"]
    wrong = OnnxDetector(OnnxNetwork(weights.path("yoloface_8n"), "yunet_2023_mar", devices), facts)
    with pytest.raises(FaultError, match="12 outputs") as caught:
        wrong.detect(np.zeros((64, 64, 3), np.uint8))
    assert caught.value.fault.code is FaultCode.MODEL_CORRUPT


def dotted(place: tuple[int, int]) -> Frame:
    frame = np.full((300, 400, 3), 120, np.uint8)
    cv2.circle(frame, place, 8, (255, 60, 0), -1)
    return frame


def spread(points: NDArray[np.float32], quarters: int) -> NDArray[np.float64]:
    turn = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), quarters % 4)
    return np.asarray(points.astype(np.float64) @ turn.T, np.float64)


@pytest.mark.parametrize("name", sorted(LANDMARKERS))
@pytest.mark.parametrize("quarters", [0, 1, 2, -1])
def test_landmarks_lie_where_the_network_saw_them(
    name: str, quarters: int, weights: WeightStore, devices: Devices
) -> None:
    place, box = (180, 140), np.array([120, 90, 250, 220], np.float32)
    landmarker = Landmarker(OnnxNetwork(weights.path(name), name, devices), LANDMARKERS[name])
    points, score = landmarker.landmarks(dotted(place), box, quarters * np.pi / 2 + 0.3)
    # 195 of the crop's 256 pixels are the box's longer side; a cell is four of them.
    expected = np.array(place) + spread(canonical_68(), quarters) * 4 * 130 / 195
    assert np.abs(points - expected).max() < 2
    assert score > 0.85


def test_dark_crops_are_brightened_before_they_are_looked_at(weights: WeightStore, devices: Devices) -> None:
    landmarker = Landmarker(OnnxNetwork(weights.path("2dfan4"), "2dfan4", devices), LANDMARKERS["2dfan4"])
    dark = (dotted((180, 140)) // 12).astype(np.uint8)
    points, _ = landmarker.landmarks(dark, np.array([120, 90, 250, 220], np.float32))
    assert np.abs(points.mean(0) - (np.array([180, 140]) + canonical_68().mean(0) * 4 * 130 / 195)).max() < 12


def test_points_come_from_the_network_where_there_is_one_else_from_the_mesh(
    clip: Clip, weights: WeightStore, devices: Devices
) -> None:
    frame, (mesh,) = clip.original(clip.job())[0], clip.meshes(clip.job())[0]
    by_mesh = Points(None).of(frame, mesh)
    assert np.array_equal(by_mesh.landmarks_68, landmarks_68_of_mesh(mesh))
    landmarker = Landmarker(OnnxNetwork(weights.path("2dfan4"), "2dfan4", devices), LANDMARKERS["2dfan4"])
    by_network = Points(landmarker).of(frame, mesh)
    assert np.array_equal(by_network.points_5, five_of_68(by_network.landmarks_68))
    assert not np.allclose(by_network.points_5, by_mesh.points_5, atol=2)
    assert region_of(mesh).side_px > 0
