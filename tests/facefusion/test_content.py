"""The content check: which frames are looked at, what is flagged, and when a target is refused."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Segment
from gpu_tasks.facefusion.content import CONTENT_MODELS, ContentCheck, ContentModel, contained
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.runtime.devices import Devices
from gpu_tasks.runtime.sessions import OnnxNetwork
from gpu_tasks.weights import WeightStore
from tests.facefusion.clips import FPS, Clip, footage, pixels, write_clip

GREY, RED = np.full((90, 160, 3), 90, np.uint8), np.full((90, 160, 3), (10, 20, 250), np.uint8)


def models(weights: WeightStore, devices: Devices, *names: str) -> list[ContentModel]:
    return [ContentModel(OnnxNetwork(weights.path(name), name, devices), CONTENT_MODELS[name]) for name in names]


def reddened(frame: Frame) -> Frame:
    """The stand-ins flag what is redder than it is blue."""
    red = frame.copy()
    red[:, :, 0] = 0
    red[:60, :, 2] = 255
    return red


@pytest.mark.parametrize("name", sorted(CONTENT_MODELS))
def test_a_model_flags_by_its_own_score_and_limit(name: str, weights: WeightStore, devices: Devices) -> None:
    (model,) = models(weights, devices, name)
    assert model.flags(RED)
    assert not model.flags(GREY)
    # In the wrong order of colours red would be blue.
    assert not model.flags(np.ascontiguousarray(RED[:, :, ::-1]))


def test_one_frame_a_second_is_looked_at_wherever_a_segment_begins(weights: WeightStore, devices: Devices) -> None:
    seen = []

    class Looking(ContentModel):
        def flags(self, frame: Frame) -> bool:
            seen.append(int(frame[0, 0, 0]))
            return super().flags(frame)

    model = Looking(OnnxNetwork(weights.path("nsfw_2"), "nsfw_2", devices), CONTENT_MODELS["nsfw_2"])
    for start, stop in ((0, 60), (60, 130)):
        check = ContentCheck([model], 0.5, Segment(start_frame=start, stop_frame=stop), FPS)
        for index in range(start, stop):
            check.look(index, np.full((8, 8, 3), index, np.uint8))
    assert seen == [0, 25, 50, 75, 100, 125]


def test_more_than_the_threshold_is_refused_and_no_less(weights: WeightStore, devices: Devices) -> None:
    def check(threshold: float) -> ContentCheck:
        frames = Segment(start_frame=0, stop_frame=100)
        return ContentCheck(models(weights, devices, "nsfw_2"), threshold, frames, FPS)

    lenient, strict = check(0.5), check(0.25)
    for index in range(100):
        lenient.look(index, RED if index in {0, 25} else GREY)
    assert lenient.verdict.model_dump() == {"looked_at": 4, "flagged": 2, "threshold": 0.5, "is_refused": False}
    strict.look(0, RED)
    with pytest.raises(FaultError, match="2 of 4 frames") as caught:
        strict.look(25, RED)
    assert caught.value.fault.code is FaultCode.CONTENT_REFUSED
    assert strict.verdict.is_refused


def test_most_models_must_agree(weights: WeightStore, devices: Devices) -> None:
    class Never(ContentModel):
        def flags(self, frame: Frame) -> bool:
            del frame
            return False

    net = OnnxNetwork(weights.path("nsfw_2"), "nsfw_2", devices)
    always, never = models(weights, devices, "nsfw_1")[0], Never(net, CONTENT_MODELS["nsfw_2"])
    for voters, flagged in (([always, never], 0), ([always, always, never], 1), ([always, never, never], 0)):
        check = ContentCheck(voters, 1.0, Segment(start_frame=0, stop_frame=1), FPS)
        check.look(0, RED)
        assert check.verdict.flagged == flagged


def test_a_frame_is_fitted_into_the_middle_of_a_square() -> None:
    square = contained(np.full((100, 50, 3), 200, np.uint8), 64)
    assert square.shape == (64, 64, 3)
    assert (square[:, 16:48] == 200).all()
    assert not square[:, :16].any()
    assert not square[:, 48:].any()


def test_a_target_is_refused_in_the_same_pass_and_a_plain_one_is_not(
    weights: WeightStore, clip: Clip, tmp_path: Path
) -> None:
    strict = NeuralSwap(weights, FaceSwapSettings(content_models=("nsfw_1", "nsfw_2", "nsfw_3")))
    assert len(pixels(strict, clip, clip.job(frame_count=4))) == 4
    red = write_clip(tmp_path, [reddened(frame) for frame in footage(4)])
    with pytest.raises(FaultError) as caught:
        strict.run(red.job(), red.bench)
    assert caught.value.fault.code is FaultCode.CONTENT_REFUSED


def test_models_and_threshold_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPSWAP_CONTENT_MODELS", "nsfw_2, nsfw_3")
    monkeypatch.setenv("LIPSWAP_CONTENT_SHARE", "0.25")
    settings = FaceSwapSettings()
    assert (settings.content_models, settings.content_share) == (("nsfw_2", "nsfw_3"), 0.25)
    monkeypatch.setenv("LIPSWAP_CONTENT_MODELS", "")
    assert FaceSwapSettings().content_models == ()
    monkeypatch.setenv("LIPSWAP_CONTENT_MODELS", "nsfw_9")
    with pytest.raises(ValidationError, match="nsfw_1"):
        FaceSwapSettings()
    monkeypatch.delenv("LIPSWAP_CONTENT_MODELS")
    assert FaceSwapSettings().content_models == ("nsfw_1",)
