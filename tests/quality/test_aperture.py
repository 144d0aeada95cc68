"""The opening of a mouth is read from pixels: against painted mouths of known height, and a second face model."""

import numpy as np
import pytest

from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.quality.aperture import mouth_opening
from gpu_tasks.quality.following import Follower, Steadier
from tests.quality.footage import SAMPLES, closed_face, face_place, moved, opened, source_face

HEIGHTS = np.array([0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3])


def seen(frame: Frame) -> float:
    return mouth_opening(frame, face_place(frame))


def test_closed_lips_read_as_nothing() -> None:
    assert seen(closed_face()) < 0.01


def test_a_painted_mouth_reads_as_high_as_it_is() -> None:
    frame = closed_face()
    place = face_place(frame)
    read = np.array([mouth_opening(opened(frame, height, place), place) for height in HEIGHTS])
    # The window's third of an ellipse is a little lower than its middle.
    assert read[1:] == pytest.approx(HEIGHTS[1:], rel=0.2, abs=0.012)
    assert np.corrcoef(read, HEIGHTS)[0, 1] > 0.99


@pytest.mark.parametrize(("degrees", "scale", "shift"), [(12, 1.0, (0, 0)), (-12, 0.8, (30, 10)), (0, 1.25, (-20, 0))])
def test_a_head_that_turns_comes_near_or_moves_reads_the_same(
    degrees: float, scale: float, shift: tuple[float, float]
) -> None:
    frame = opened(closed_face(), 0.15, face_place(closed_face()))
    assert seen(moved(frame, degrees, scale, shift)) == pytest.approx(seen(frame), abs=0.025)


@pytest.mark.parametrize("light", [0.5, 0.75, 1.2])
def test_light_does_not_open_a_mouth(light: float) -> None:
    shut = closed_face()
    wide = opened(shut, 0.15, face_place(shut))
    dimmed = [np.clip(frame.astype(np.float32) * light, 0, 255).astype(np.uint8) for frame in (shut, wide)]
    assert seen(dimmed[0]) < 0.01
    assert seen(dimmed[1]) == pytest.approx(seen(wide), abs=0.03)


def test_teeth_between_dark_lips_count_as_open() -> None:
    frame = closed_face()
    place = face_place(frame)
    wide = opened(frame, 0.2, place)
    teeth = wide.copy()
    x, y = (round(value) for value in place.at((0.0, 0.465)))
    teeth[y + 4 : y + 8, x - 12 : x + 13] = (190, 200, 205)
    # Without them the opening would be less by their share of its height, a third.
    assert mouth_opening(teeth, place) > 0.78 * mouth_opening(wide, place)


def test_a_smile_with_teeth_is_less_open_than_a_shout() -> None:
    shut = closed_face()
    assert seen(source_face()) < seen(opened(shut, 0.25, face_place(shut)))


def test_real_speech_reads_as_a_mesh_of_another_network_sees_it() -> None:
    models = face_models()
    tracker, follower, steadier = models.new_tracker(), Follower(models.detector), Steadier()
    with VideoReader(SAMPLES / "target.mp4") as reader:
        frames = [frame.pixels for frame in reader]
    by_mesh = []
    for frame in frames:
        mesh = tracker.track(frame)[0].mesh_468[:, :2]
        by_mesh.append(np.linalg.norm(mesh[13] - mesh[14]) / np.linalg.norm(mesh[10] - mesh[152]))
    places = [place for frame in frames for place in steadier.push(follower.look(frame)[0].points[:4])]
    places += list(steadier.finish())
    by_pixels = [mouth_opening(frame, place) for frame, place in zip(frames, places, strict=True) if place]
    assert len(by_pixels) == len(frames)
    assert np.corrcoef(by_pixels, by_mesh)[0, 1] > 0.85
