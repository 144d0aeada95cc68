"""Detector, mesh and tracker on real footage."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from onnxruntime import InferenceSession

from gpu_tasks.draft.models import FaceModels
from gpu_tasks.faces.arrays import Floats, Frame, Network
from gpu_tasks.faces.detector import FaceDetector, box_overlap
from gpu_tasks.faces.mesh import LEFT_EYE_CORNER, NOSE_TIP, RIGHT_EYE_CORNER, region_of
from gpu_tasks.faces.tracker import FaceTracker


def test_the_detector_finds_the_face_in_almost_every_frame(models: FaceModels, frames: list[Frame]) -> None:
    found = [models.detector.detect(frame) for frame in frames]

    assert sum(len(faces) == 1 for faces in found) >= 0.95 * len(frames)


def test_the_detector_sees_no_face_where_there_is_none(models: FaceModels) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (432, 528, 3), np.uint8)

    assert models.detector.detect(noise) == ()
    assert models.detector.detect(np.full((432, 528, 3), 128, np.uint8)) == ()


def test_a_small_face_is_found_by_the_second_look_at_its_place(models: FaceModels, frames: list[Frame]) -> None:
    wide = np.full((1300, 2200, 3), 110, np.uint8)
    wide[868:, 1672:] = frames[0]

    assert models.detector.detect(wide, tiles=False) == ()
    (face,) = models.detector.detect(wide)
    expected = models.detector.detect(frames[0])[0].box + np.array([1672, 868, 1672, 868], np.float32)
    assert box_overlap(face.box, expected[None])[0] > 0.6


def test_the_mesh_agrees_with_the_detector_on_eyes_and_nose(
    models: FaceModels, frames: list[Frame], meshes: list[Floats]
) -> None:
    for frame, mesh in list(zip(frames, meshes, strict=True))[::10]:
        right_eye, left_eye, nose = models.detector.detect(frame)[0].points[:3]
        between_eyes = float(np.linalg.norm(mesh[LEFT_EYE_CORNER, :2] - mesh[RIGHT_EYE_CORNER, :2]))
        assert np.linalg.norm(mesh[NOSE_TIP, :2] - nose) < 0.25 * between_eyes
        middle = (right_eye + left_eye) / 2
        assert np.linalg.norm(mesh[[LEFT_EYE_CORNER, RIGHT_EYE_CORNER], :2].mean(0) - middle) < 0.2 * between_eyes


def test_the_mesh_moves_with_the_picture_it_is_placed_on(models: FaceModels, frames: list[Frame]) -> None:
    region = models.detector.detect(frames[0])[0].region
    mesh, score = models.mesh.landmarks(frames[0], region)
    shifted = np.roll(frames[0], (12, -9), axis=(0, 1))
    moved, _ = models.mesh.landmarks(shifted, region_of(mesh + np.array([-9, 12, 0], np.float32)))
    again, _ = models.mesh.landmarks(frames[0], region_of(mesh))

    assert score > 0.9
    assert np.abs(moved[:, :2] - again[:, :2] - [-9, 12]).max() < 0.5


def test_one_face_keeps_one_track_through_the_clip(models: FaceModels, frames: list[Frame]) -> None:
    tracker = models.new_tracker()

    assert {tuple(face.track_id for face in tracker.track(frame)) for frame in frames} == {(0,)}


def test_a_still_picture_gives_a_mesh_that_does_not_tremble_under_noise(
    models: FaceModels, frames: list[Frame]
) -> None:
    noise = np.random.default_rng(2)
    tracker = models.new_tracker()
    noisy = [np.clip(frames[0] + noise.normal(0, 6, frames[0].shape), 0, 255).astype(np.uint8) for _ in range(20)]
    tracked = np.stack([tracker.track(frame)[0].mesh_468[:, :2] for frame in noisy])[5:]
    alone = np.stack([models.mesh.landmarks(frame, region_of(tracker.track(frame)[0].mesh_468))[0] for frame in noisy])
    trembling, unsteadied = np.diff(tracked, axis=0).std(), np.diff(alone[5:, :, :2], axis=0).std()

    assert trembling < 0.8 * unsteadied
    assert trembling < 0.3


def test_the_track_does_not_lag_behind_a_moving_head(
    models: FaceModels, frames: list[Frame], meshes: list[Floats]
) -> None:
    lags = []
    for frame, mesh in list(zip(frames, meshes, strict=True))[1:]:
        now, _ = models.mesh.landmarks(frame, region_of(mesh))
        lags.append(np.linalg.norm(now[:, :2] - mesh[:, :2], axis=1).mean() / np.ptp(mesh[:, 1]))

    assert np.mean(lags) < 0.006
    assert np.max(lags) < 0.02


def test_two_faces_have_two_tracks_that_never_change_places(models: FaceModels, frames: list[Frame]) -> None:
    tracker = models.new_tracker()
    for index in range(0, 40, 2):
        pair = np.hstack([frames[index], frames[index + 40][:, ::-1]])
        left, right = sorted(tracker.track(pair), key=lambda face: face.mesh_468[:, 0].mean())
        if index == 0:
            ids = left.track_id, right.track_id
        assert (left.track_id, right.track_id) == ids


def test_a_gap_without_a_face_is_empty_and_the_face_is_found_again(models: FaceModels, frames: list[Frame]) -> None:
    tracker = models.new_tracker()
    blank = np.full_like(frames[0], 90)
    seen = [len(tracker.track(frame)) for frame in [*frames[:3], *[blank] * 6, *frames[3:6]]]

    assert seen == [1] * 3 + [0] * 6 + [1] * 3


def test_a_face_that_comes_in_later_gets_its_own_track(models: FaceModels, frames: list[Frame]) -> None:
    tracker = models.new_tracker()
    blank = np.full_like(frames[0], 90)
    alone = [len(tracker.track(np.hstack([frame, blank]))) for frame in frames[:5]]
    together = [len(tracker.track(np.hstack([frame, frame]))) for frame in frames[5:25]]

    assert set(alone) == {1}
    assert together[-1] == 2


class _Counted:
    """The detector's network, with its calls counted."""

    def __init__(self, network: Network) -> None:
        self.calls = 0
        self._network = network

    def run(self, output_names: Sequence[str], feed: Mapping[str, Any], /) -> list[Floats]:
        self.calls += 1
        return self._network.run(output_names, feed)


def test_the_detector_looks_only_now_and_then_while_a_face_is_followed_and_at_once_when_it_is_lost(
    models: FaceModels, frames: list[Frame]
) -> None:
    bundled = files("gpu_tasks.draft").joinpath("models", "face_detection_short_range.onnx").read_bytes()
    counted = _Counted(InferenceSession(bundled, providers=["CPUExecutionProvider"]))
    tracker = FaceTracker(FaceDetector(counted), models.mesh)
    for frame in frames:
        tracker.track(frame)
    followed = counted.calls
    moved = np.roll(frames[-1], 260, axis=1)
    (found,) = tracker.track(moved)

    assert followed <= 1 + len(frames) // 15
    assert counted.calls == followed + 1
    assert found.centre_x > 350
