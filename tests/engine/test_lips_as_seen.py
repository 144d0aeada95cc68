"""The encoded draft lip-sync, measured on its pixels: of the engine only the face detector is used, and no mesh."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.contract.jobs import Timeline
from gpu_tasks.draft.models import FaceModels
from gpu_tasks.draft.one_pass import DraftOrder, render_draft
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.faces.detector import FaceDetector
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.reader import VideoReader
from tests.engine.footage import FPS, SAMPLES, correlation, loudness, voice_16k

FRAMES = 228
QUIET_DB = 5.0  # above 40 dB below the loudest frame
_SIZE = 64
_WINDOW = 1.1  # of the distance from the eyes to the mouth
_MOUTH_AT = 0.42  # of the window, from its top
_DARK = 0.55  # of the window's median luma: between lips and the inside of a mouth


def aperture(frame: Frame, detector: FaceDetector) -> float:
    """Share of a window around the mouth that is dark, aligned by the detector's points of eyes and mouth."""
    points = detector.detect(frame)[0].points
    mouth, eyes = points[3], (points[0] + points[1]) / 2
    distance = float(np.linalg.norm(mouth - eyes))
    down = (mouth - eyes) / distance
    step = np.array([[down[1], down[0]], [-down[0], down[1]]], np.float32) * (_WINDOW * distance / _SIZE)
    corner = mouth - step @ np.array([_SIZE / 2, _SIZE * _MOUTH_AT], np.float32)
    affine = np.concatenate([step, corner[:, None]], axis=1).astype(np.float32)
    window = cv2.warpAffine(frame, affine, (_SIZE, _SIZE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    luma = window.astype(np.float64) @ [0.114, 0.587, 0.299]
    return float((luma < _DARK * np.median(luma)).mean())


@pytest.fixture(scope="module")
def seen(models: FaceModels, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float64]:
    """How far the mouth is seen open in each frame of the sample saying the sample's speech."""
    folder = tmp_path_factory.mktemp("seen")
    tracks, result = folder / "target.tracks", folder / "spoken.mp4"
    track_faces(SAMPLES / "target.mp4", tracks, models.detector, models.mesh)
    timeline = Timeline(fps=FPS, frame_count=FRAMES, target_frame_count=120)
    order = DraftOrder(SAMPLES / "target.mp4", timeline, tracks, driving_audio=SAMPLES / "speech.wav")
    render_draft(order, result, models)
    return _apertures(result, models)


def _apertures(path: Path, models: FaceModels) -> NDArray[np.float64]:
    with VideoReader(path) as reader:
        return np.array([aperture(frame.pixels, models.detector) for frame in reader])


def test_the_mouth_is_seen_to_follow_the_voice_without_lag(seen: NDArray[np.float64]) -> None:
    loud = loudness(voice_16k(), FRAMES)
    by_lag = {lag: correlation(np.roll(seen, -lag), loud) for lag in range(-5, 6)}
    best = max(by_lag, key=lambda lag: by_lag[lag])
    shuffled = np.random.default_rng(9).permutation(loud)

    assert by_lag[best] >= 0.7
    assert abs(best) <= 1
    assert abs(correlation(seen, shuffled)) < 0.2


def test_the_footage_as_it_was_does_not_follow_the_voice(models: FaceModels) -> None:
    before = np.resize(_apertures(SAMPLES / "target.mp4", models), FRAMES)

    assert correlation(before, loudness(voice_16k(), FRAMES)) < 0.2


def test_in_pauses_the_mouth_is_seen_closed(seen: NDArray[np.float64]) -> None:
    quiet = loudness(voice_16k(), FRAMES) < QUIET_DB

    assert quiet.sum() > 30
    assert seen[quiet].mean() < 0.15 * seen.max()
    assert np.median(seen[quiet]) < 0.1 * seen.max()
