"""Each option of a lip-sync changes the pixels or samples that it names, and no others."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Quality, Wav2LipJob
from gpu_tasks.contract.options import SyncMode, Wav2LipOptions
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import CHIN, FOREHEAD, JAW, NOSE_BASE, OVAL
from gpu_tasks.wav2lip.neural import NeuralLips
from gpu_tasks.wav2lip.pipeline import LipSync
from gpu_tasks.weights import WeightStore
from tests.wav2lip.clips import LEFT_PX, Clip, pixels

FRAMES = 40
PLAIN: Mapping[str, Any] = {"lip_syncer_model": "wav2lip_96", "enhancer": "none"}

Area = NDArray[np.bool_]


class Asked(NamedTuple):
    """What is asked for in place of PLAIN, and where in each frame that may and must show."""

    options: Mapping[str, Any]
    where: Callable[[Frame, tuple[Floats, ...]], Area]
    frames: range = range(FRAMES)
    before: Mapping[str, Any] = {}


def lower_faces(frame: Frame, faces: tuple[Floats, ...], *, which: slice = slice(-1, None), grown: float = 1.0) -> Area:
    """The hull of jaw and nose of some faces, from the left."""
    area = np.zeros(frame.shape[:2], np.uint8)
    for mesh in faces[which]:
        points = mesh[[*JAW, NOSE_BASE, 205, 425], :2]
        centre = points.mean(0)
        cv2.fillConvexPoly(area, cv2.convexHull(np.rint(centre + (points - centre) * grown).astype(np.int32)), (1,))
    return np.asarray(cv2.dilate(area, np.ones((5, 5), np.uint8)) > 0, np.bool_)


def both_lower_faces(frame: Frame, faces: tuple[Floats, ...]) -> Area:
    return lower_faces(frame, faces, which=slice(None))


def around_the_face(frame: Frame, faces: tuple[Floats, ...]) -> Area:
    """The turned box around the face of whoever speaks."""
    area = np.zeros(frame.shape[:2], np.uint8)
    oval = faces[-1][list(OVAL), :2]
    middle = (oval.min(0) + oval.max(0)) / 2
    reach = 1.15 * float(np.linalg.norm(faces[-1][CHIN, :2] - faces[-1][FOREHEAD, :2])) / np.sqrt(2)
    cv2.circle(area, (int(middle[0]), int(middle[1])), int(reach), (1,), -1)
    return np.asarray(area > 0, np.bool_)


def everywhere(frame: Frame, _faces: tuple[Floats, ...]) -> Area:
    return np.ones(frame.shape[:2], np.bool_)


def nowhere(frame: Frame, _faces: tuple[Floats, ...]) -> Area:
    return np.zeros(frame.shape[:2], np.bool_)


TABLE: Mapping[str, Asked] = {
    "lip_syncer_model": Asked({"lip_syncer_model": "edtalk_256"}, lower_faces),
    "audio_shift": Asked({"audio_shift": 9}, lower_faces),
    "denoise": Asked({"denoise": True}, lower_faces),
    "face_mode": Asked({"face_mode": 1}, lower_faces),
    "face_mask": Asked({"face_mask": False}, around_the_face),
    "face_occluder": Asked({"face_occluder": True}, lower_faces),
    "enhancer": Asked({"enhancer": "restoreformer", "blending": 100}, lower_faces),
    "blending": Asked({"blending": 90}, lower_faces, before={"enhancer": "restoreformer"}),
    "fade": Asked({"fade": True}, everywhere, frames=range(14)),
    "speaker": Asked({"speaker": 0}, both_lower_faces),
    "output_prefix": Asked({"output_prefix": "outputs/elsewhere"}, nowhere),
    "pingpong": Asked({"pingpong": True}, everywhere),
    "frame_enhancer": Asked({"frame_enhancer": True}, nowhere),
}


def options(**changes: Any) -> Wav2LipOptions:  # noqa: ANN401 - fields of the options
    return Wav2LipOptions(**{**PLAIN, **changes})


@pytest.fixture(scope="module")
def plain(lips: NeuralLips, clip: Clip) -> list[Frame]:
    return pixels(lips, clip, clip.job(FRAMES, options=options()))


def test_the_table_holds_every_option() -> None:
    assert set(TABLE) == set(Wav2LipOptions.model_fields)


@pytest.mark.parametrize("name", sorted(set(TABLE) - {"pingpong", "frame_enhancer"}))
def test_an_option_changes_what_it_names_and_nothing_else(
    name: str, lips: NeuralLips, clip: Clip, plain: list[Frame]
) -> None:
    asked = TABLE[name]
    before = pixels(lips, clip, clip.job(FRAMES, options=options(**asked.before))) if asked.before else plain
    job = clip.job(FRAMES, options=options(**{**asked.before, **asked.options}))
    after = pixels(lips, clip, job)
    allowed = [asked.where(*pair) for pair in zip(before, clip.faces(job), strict=True)]
    differs = [np.any(one != other, axis=2) for one, other in zip(before, after, strict=True)]
    assert not any((changed & ~area).any() for changed, area in zip(differs, allowed, strict=True))
    if asked.where is nowhere:
        return
    # Where it must show: in most of the frames that it is about, unless nobody speaks.
    shown = [differs[index].any() for index in asked.frames]
    assert np.mean(shown) > 0.4


def test_the_change_of_a_lip_sync_is_the_lower_face_of_whoever_speaks(clip: Clip, plain: list[Frame]) -> None:
    job = clip.job(FRAMES, options=options())
    for before, after, faces in zip(clip.original(job), plain, clip.faces(job), strict=True):
        differs = np.any(before != after, axis=2)
        assert differs.any()
        assert not (differs & ~lower_faces(before, faces)).any()


def test_one_of_several_faces_speaks_as_asked(lips: NeuralLips, clip: Clip) -> None:
    for place, edge in ((None, "right"), (0, "left"), (1, "right")):
        job = clip.job(6, options=options(speaker=place))
        differs = [
            np.flatnonzero(np.any(before != after, axis=(0, 2)))
            for before, after in zip(clip.original(job), pixels(lips, clip, job), strict=True)
        ]
        assert all(len(columns) for columns in differs)
        on_left = [bool((columns < LEFT_PX).all()) for columns in differs]
        on_right = [bool((columns >= LEFT_PX).all()) for columns in differs]
        assert all(on_left if edge == "left" else on_right)


def test_fading_leaves_the_middle_as_it_is(lips: NeuralLips, clip: Clip, plain: list[Frame]) -> None:
    faded = pixels(lips, clip, clip.job(FRAMES, options=options(fade=True)))
    same = [np.array_equal(one, other) for one, other in zip(plain, faded, strict=True)]
    edge = int(0.5 * clip.fps)
    assert not any(same[:edge] + same[-edge:])
    assert all(same[edge + 1 : -edge - 1])
    light = [float(frame.mean()) for frame in faded]
    assert light[0] < 0.1 * plain[0].mean()
    assert light[-1] < 0.1 * plain[-1].mean()
    assert light[: edge - 1] == sorted(light[: edge - 1])


def test_left_to_us_the_face_is_enhanced_only_when_no_swap_follows(
    lips: NeuralLips, clip: Clip, plain: list[Frame]
) -> None:
    auto, asked = options(enhancer="auto"), options(enhancer="restoreformer")
    enhanced = pixels(lips, clip, clip.job(FRAMES, options=asked))
    same = pixels(lips, clip, clip.job(FRAMES, options=auto))
    swapped_later = pixels(lips, clip, clip.job(FRAMES, options=auto, quality=Quality.INTERMEDIATE))
    assert all(map(np.array_equal, same, enhanced))
    assert all(map(np.array_equal, swapped_later, plain))
    assert not any(map(np.array_equal, enhanced[:5], plain[:5]))


def test_an_enhancer_that_we_would_choose_may_be_missing_one_that_is_asked_for_may_not(
    weights: WeightStore, clip: Clip
) -> None:
    without = NeuralLips(_Without(weights, "restoreformer_plus_plus"))
    equipment = without.equip(clip.job(6, options=options(enhancer="auto")), clip.bench)
    assert equipment.enhancer is None
    assert equipment.notes == (
        "enhancer auto enhanced nothing: restoreformer_plus_plus is not installed on this worker",
    )
    with pytest.raises(FaultError, match="restoreformer") as caught:
        without.equip(clip.job(6, options=options(enhancer="restoreformer")), clip.bench)
    assert caught.value.fault.code is FaultCode.MODEL_MISSING


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"frame_enhancer": True}, "frame_enhancer"),
        ({"face_mode": 2}, "face_mode"),
        ({"enhancer": "wonder"}, "enhancer"),
        ({"lip_syncer_model": "musetalk"}, "lip_syncer_model"),
        ({"pingpong": True}, "pingpong"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_done_is_refused_by_name(
    clip: Clip, weights: WeightStore, changes: dict[str, Any], name: str
) -> None:
    with pytest.raises(FaultError, match=f"{name}:") as caught:
        LipSync(weights).check(clip.job(FRAMES, options=options(**changes)))
    assert caught.value.fault.code is FaultCode.OPTION_UNSUPPORTED
    assert not caught.value.fault.is_retryable


def test_there_and_back_is_how_the_timeline_is_laid_out(
    lips: NeuralLips, weights: WeightStore, clip: Clip, plain: list[Frame]
) -> None:
    looped = clip.job(FRAMES, options=options(pingpong=True))
    bounced = looped.model_copy(update={"timeline": looped.timeline.model_copy(update={"sync_mode": SyncMode.BOUNCE})})
    short: Wav2LipJob = clip.job(clip.frame_count, options=options(pingpong=True))
    for job in (bounced, short):
        LipSync(weights).check(job)
    after = pixels(lips, clip, bounced)
    assert all(map(np.array_equal, after[: clip.frame_count], plain))
    # Going back and starting again meet in the middle of the second lap.
    second_lap = slice(clip.frame_count + 1, clip.frame_count + 7)
    assert not any(map(np.array_equal, after[second_lap], plain[second_lap]))


class _Without:
    """A weights folder in which one model is missing."""

    def __init__(self, weights: WeightStore, missing: str) -> None:
        self._weights = weights
        self._missing = missing

    def path(self, model_id: str) -> Any:  # noqa: ANN401 - a path
        if model_id == self._missing:
            raise FaultError(FaultCode.MODEL_MISSING, model_id)
        return self._weights.path(model_id)
