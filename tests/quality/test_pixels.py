"""Flicker, what changed outside, and likeness: against noise, light and faces that the tests put in themselves."""

import cv2
import numpy as np
import pytest

from gpu_tasks.draft.lips import DraftLips
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.draft.swap import DraftSwap
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.quality.following import Place
from gpu_tasks.quality.likeness import Gradients, LikenessMeter
from gpu_tasks.quality.steadiness import NO_DIFFERENCE_DB, FlickerMeter, OutsideMeter, outside_mask
from tests.quality.footage import closed_face, face_place, source_face, with_face_of


def lit(frame: Frame, by: float) -> Frame:
    return np.asarray(np.clip(frame.astype(np.float32) + by, 0, 255), np.uint8)


def test_light_that_goes_up_and_down_is_measured_in_grey_levels() -> None:
    frame, meter = closed_face(), FlickerMeter()
    place = face_place(frame)
    for index in range(10):
        meter.look(index, [lit(frame, 3 * (-1) ** index), frame], place)
    figures = meter.figures()
    assert figures is not None
    # The middle is 3 above, its neighbours 3 below.
    assert figures.result == pytest.approx(6, abs=0.1)
    assert figures.target == pytest.approx(0, abs=0.01)
    assert figures.ratio == pytest.approx(6 / 0.3, rel=0.05)


def test_light_that_changes_slowly_and_a_head_that_moves_are_no_flicker() -> None:
    frame, meter = closed_face(), FlickerMeter()
    place = face_place(frame)
    for index in range(10):
        affine = np.array([[1, 0, 2.0 * index], [0, 1, 0]], np.float32)
        along = Place(place.fit + np.array([[0, 0, 2.0 * index], [0, 0, 0]], np.float32))
        meter.look(index, [lit(cv2.warpAffine(frame, affine, frame.shape[1::-1]).astype(np.uint8), index)], along)
    figures = meter.figures()
    assert figures is not None
    assert figures.result < 0.3
    assert figures.ratio is None


def test_a_result_that_flickers_like_its_target_has_ratio_one() -> None:
    frame, meter, draw = closed_face(), FlickerMeter(), np.random.default_rng(1)
    place = face_place(frame)
    for index in range(12):
        light = float(draw.normal(scale=4))
        meter.look(index, [lit(frame, light), lit(frame, light)], place)
    figures = meter.figures()
    assert figures is not None
    assert figures.ratio == pytest.approx(1)


def test_a_cut_is_no_flicker_and_a_gap_joins_nothing() -> None:
    frame, other = closed_face(), lit(closed_face()[:, ::-1], -60)
    place, meter = face_place(frame), FlickerMeter()
    for index in range(20):
        meter.look(index, [frame if index < 10 else other] * 2, place)
    figures = meter.figures()
    assert figures is not None
    assert figures.result < 0.01
    apart = FlickerMeter()
    for index in (0, 1, 4, 5, 8):
        apart.look(index, [frame], place)
    assert apart.figures() is None


def test_the_mouth_may_move_without_flickering() -> None:
    frame, meter = closed_face(), FlickerMeter()
    place = face_place(frame)
    x, y = (round(value) for value in place.at((0.0, 0.465)))
    for index in range(10):
        talking = frame.copy()
        if index % 2:
            cv2.ellipse(talking, (x, y), (22, 10), 0, 0, 360, (20, 20, 30), -1)
        meter.look(index, [talking, frame], place)
    figures = meter.figures()
    assert figures is not None
    assert figures.result < 0.5


@pytest.mark.parametrize("sigma", [1.0, 3.0, 8.0])
def test_noise_outside_has_the_psnr_of_its_formula(sigma: float) -> None:
    frame = np.full((360, 640, 3), 128, np.uint8)
    place = Place(np.array([[90, 0, 320], [0, 90, 150]], np.float32))
    noise = np.random.default_rng(4).normal(scale=sigma, size=frame.shape)
    noisy = np.clip(np.rint(frame + noise), 0, 255).astype(np.uint8)
    inside = outside_mask(frame.shape, [place]) == 0
    noisy[inside] = 255
    meter = OutsideMeter()
    meter.look(0, frame, frame, [place])
    meter.look(1, noisy, frame, [place])
    figures = meter.figures()
    assert figures is not None
    rounded = np.sqrt(sigma**2 + 1 / 12)
    assert figures.worst_psnr_db == pytest.approx(20 * np.log10(255 / rounded), abs=0.1)
    assert figures.worst_frame == 1
    # Half of the frames have no error: the mean of squares halves.
    assert figures.psnr_db == pytest.approx(figures.worst_psnr_db + 10 * np.log10(2), abs=0.05)
    assert meter.by_frame()[0] == NO_DIFFERENCE_DB


def test_a_face_that_fills_the_frame_leaves_nothing_outside() -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    meter = OutsideMeter()
    meter.look(0, frame, frame, [Place(np.array([[120, 0, 50], [0, 120, 20]], np.float32))])
    assert meter.figures() is None


def test_what_an_engine_changes_lies_inside_the_mask() -> None:
    frame, models = closed_face(), face_models()
    mesh = models.new_tracker().track(frame)[0].mesh_468
    source = DraftSource.from_image(source_face(), models.detector, models.mesh)
    changed = DraftSwap((source,)).apply(DraftLips().apply(frame, mesh, 1.0, 1.0), mesh)
    outside = outside_mask(frame.shape, [face_place(frame)]) > 0
    assert (changed[~outside] != frame[~outside]).any()
    assert (changed[outside] == frame[outside]).all()


class Compared:
    """A result's face between a target's and a source's."""

    def __init__(self) -> None:
        self.target, self.source = closed_face(), source_face()
        self.place, self.embedder = face_place(self.target), Gradients()
        self.known = self.embedder.embed(self.source, face_place(self.source))

    def toward(self, result: Frame) -> float:
        meter = LikenessMeter(self.embedder, [self.known])
        meter.look(result, self.target, [self.place])
        figures = meter.figures()
        assert figures is not None
        return figures.toward_source

    def transplanted(self, share: float) -> Frame:
        """The source's face laid over the target's as it is, in an oval, by so much."""
        return with_face_of(self.source, self.target, self.place, share)


def test_likeness_goes_from_the_target_to_the_source() -> None:
    compared = Compared()
    assert compared.toward(compared.target) == pytest.approx(0, abs=0.001)
    half, whole = compared.toward(compared.transplanted(0.5)), compared.toward(compared.transplanted(1.0))
    assert 0.2 < half < whole
    assert whole > 0.85


@pytest.mark.parametrize("spoilt", ["blurred", "noisy", "brighter", "shifted", "redder"])
def test_another_look_alone_is_not_the_source(spoilt: str) -> None:
    compared = Compared()
    frame = compared.target
    result = {
        "blurred": cv2.GaussianBlur(frame, (0, 0), 3),
        "noisy": lit(frame, 0) + np.random.default_rng(3).integers(0, 12, frame.shape).astype(np.uint8),
        "brighter": lit(frame, 40),
        "shifted": np.roll(frame, 3, axis=1),
        "redder": np.clip(frame * np.array([0.8, 1.0, 1.2]), 0, 255),
    }[spoilt].astype(np.uint8)
    assert compared.toward(result) < 0.3


def test_of_several_sources_the_nearest_counts() -> None:
    compared = Compared()
    nobody = np.asarray(np.roll(compared.known, 300), np.float32)
    meter = LikenessMeter(compared.embedder, [nobody, compared.known])
    meter.look(compared.transplanted(1.0), compared.target, [compared.place])
    figures = meter.figures()
    assert figures is not None
    assert figures.source == 1


def test_an_embedder_takes_the_place_of_gradients() -> None:
    class Level:
        name = "level"

        def embed(self, frame: Frame, place: Place) -> Floats:  # noqa: ARG002  # as every embedder
            turn = float(frame.mean()) / 255 * np.pi / 2
            return np.array([np.cos(turn), np.sin(turn)], np.float32)

    dark, bright = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    place = Place(np.array([[20, 0, 32], [0, 20, 20]], np.float32))
    meter = LikenessMeter(Level(), [Level().embed(bright, place)])
    meter.look(np.full((64, 64, 3), 128, np.uint8), dark, [place])
    figures = meter.figures()
    assert figures is not None
    assert figures.measure == "level"
    assert figures.toward_source == pytest.approx(0.5, abs=0.01)


def test_nothing_compared_is_no_figure() -> None:
    assert LikenessMeter(Gradients(), []).figures() is None
    assert FlickerMeter().figures() is None
    assert OutsideMeter().figures() is None
