"""One way through the frames: the right network input at every frame, and the same frames however they are cut."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Segment, Wav2LipJob
from gpu_tasks.contract.options import Wav2LipOptions
from gpu_tasks.draft.lips import DraftLips
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import CHIN, FOREHEAD, LEFT_EYE_CORNER, OUTER_LOWER_LIP, RIGHT_EYE_CORNER
from gpu_tasks.media.writer import NVENC, X264
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.runtime.cancellation import Cancellation, JobCancelledError
from gpu_tasks.runtime.frames import Encoding, encode
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.wav2lip.listening import listen
from gpu_tasks.wav2lip.neural import Equipment, NeuralLips
from tests.wav2lip import by_hand
from tests.wav2lip.clips import FACELESS, Clip, changed, one_face, pixels
from tests.wav2lip.counting import Counting
from tests.wav2lip.sounds import babble, silence

CUSTOM = Wav2LipOptions(lip_syncer_model="wav2lip_custom", enhancer="none", audio_shift=0)
STAND_IN = CUSTOM.model_copy(update={"lip_syncer_model": "wav2lip_96"})
EDTALK = CUSTOM.model_copy(update={"lip_syncer_model": "edtalk_256"})
CUTS = ((0, 7), (7, 8), (8, 26))


@pytest.mark.parametrize("model", ["wav2lip_custom", "wav2lip_96", "edtalk_256"])
def test_segments_are_the_frames_of_the_whole(lips: NeuralLips, clip: Clip, model: str) -> None:
    options = CUSTOM.model_copy(update={"lip_syncer_model": model})
    whole = pixels(lips, clip, clip.job(26, options=options))
    segments = [Segment(start_frame=start, stop_frame=stop) for start, stop in CUTS]
    parts = [frame for part in segments for frame in pixels(lips, clip, clip.job(26, options=options, segment=part))]
    assert len(whole) == len(parts) == 26
    assert all(map(np.array_equal, whole, parts))


def test_a_network_sees_colours_in_their_order_and_hears_the_sound_of_its_frame(
    lips: NeuralLips, clip: Clip, voice: Floats
) -> None:
    job = clip.job(12, options=STAND_IN)
    mel = by_hand.spectrogram(voice.astype(np.float64))
    for index, (before, after, faces) in enumerate(
        zip(clip.original(job), pixels(lips, clip, job), clip.faces(job), strict=True)
    ):
        lip = transform_to_lip(faces[-1])
        # The stand-in paints blue by the low mels' loudness, green by the high ones'.
        start = int(index * 80 / float(clip.fps))
        heard = mel[:, start : start + 16]
        low, high = (255 * (0.5 + heard[part].mean() / 8) for part in (slice(0, 40), slice(40, 80)))
        blue, green, red = (float(value) for value in around(after, lip))
        assert blue == pytest.approx(min(low, 255), abs=4)
        assert green == pytest.approx(min(high, 255), abs=4)
        # Red is the seen face upside-down: what it shows at the lip is the red of the face as far above the middle.
        assert red == pytest.approx(float(around(before, mirrored(faces[-1], lip))[2]), abs=25)


def test_a_network_that_sees_rgb_answers_in_rgb(lips: NeuralLips, clip: Clip, voice: Floats) -> None:
    job = clip.job(8, options=EDTALK)
    mel = by_hand.spectrogram(voice.astype(np.float64))
    shown = zip(clip.original(job), pixels(lips, clip, job), clip.faces(job), strict=True)
    for index, (before, after, faces) in enumerate(shown):
        lip = transform_to_lip(faces[-1])
        (blue, green, red), (was_blue, was_green, _) = around(after, lip), around(before, lip)
        # Its stand-in leaves green and blue as they are seen and paints red by the sound's loudness.
        assert (blue, green) == pytest.approx((was_blue, was_green), abs=8)
        start = int(index * 80 / float(clip.fps))
        assert red == pytest.approx(255 * (0.5 + mel[:, start : start + 16].mean() / 8), abs=4)


def test_frames_without_a_face_pass_through_and_do_not_end_the_job(
    lips: NeuralLips, voice: Floats, tmp_path: Path
) -> None:
    clip = one_face(tmp_path / "clip", voice, frames=30, without_face=FACELESS)
    job = clip.job(30, options=STAND_IN)
    after, before = changed(lips, clip, job), clip.original(job)
    faces = [frame.has_face for frame in after]
    assert not any(faces[FACELESS.start + 1 : FACELESS.stop - 1])
    assert all(faces[: FACELESS.start] + faces[FACELESS.stop + 1 :])
    for index, frame in enumerate(after):
        assert np.array_equal(frame.pixels, before[index]) is not frame.has_face


def test_in_a_pause_the_mouth_is_closed_and_the_network_is_not_asked(lips: NeuralLips, tmp_path: Path) -> None:
    voice = np.concatenate([babble(0.5), silence(0.8), babble(0.5)])
    clip = one_face(tmp_path / "clip", voice)
    job = clip.job(54, options=CUSTOM)
    counting = Counting(fits=4)
    after = with_network(lips, clip, job, counting)
    closed = [
        DraftLips().apply(frame, faces[0], 0.0, 0.5)
        for frame, faces in zip(clip.original(job), clip.faces(job), strict=True)
    ]
    same = [np.array_equal(one, other) for one, other in zip(after, closed, strict=True)]
    # 0.65 to 1.15 s lie safely in the pause, 0 to 0.45 and 1.4 s onwards in speech.
    assert all(same[20:34])
    assert not any(same[:14] + same[42:])
    assert counting.rows < 46
    # Speech becomes pause in steps.
    steps = [float(np.abs(a.astype(int) - b).mean()) for a, b in pairwise(after[12:23])]
    direct = float(np.abs(after[12].astype(int) - after[22]).mean())
    assert max(steps) < 1.5 * direct


def test_an_encoder_that_is_not_there_is_replaced_and_the_receipt_says_so(lips: NeuralLips, clip: Clip) -> None:
    job = clip.job(5, options=STAND_IN)
    equipment = lips.equip(job, clip.bench)
    with lips.frames(job, clip.bench, listen(job, clip.bench), equipment) as frames:
        product = encode(job, clip.bench, frames, sound=None, encoding=Encoding(NVENC, "p4"))
    note = f"{NVENC} is not available on this worker; {X264} encoded"
    assert (product.encoder, product.notes) in {(NVENC, ()), (X264, (note,))}


def test_what_does_not_fit_at_once_is_halved_until_it_does_and_comes_out_the_same(lips: NeuralLips, clip: Clip) -> None:
    job = clip.job(20, options=CUSTOM)
    roomy, cramped = Counting(fits=8), Counting(fits=3)
    assert all(map(np.array_equal, with_network(lips, clip, job, roomy), with_network(lips, clip, job, cramped)))
    assert cramped.asked[:3] == [8, 4, 2]
    # It stays with what fitted.
    assert set(cramped.asked[3:]) == {2}
    assert set(roomy.asked) == {8}


def test_out_of_memory_with_a_single_frame_is_a_fault_that_may_be_tried_again(lips: NeuralLips, clip: Clip) -> None:
    with pytest.raises(FaultError) as caught:
        with_network(lips, clip, clip.job(20, options=CUSTOM), Counting(fits=0))
    assert caught.value.fault.code is FaultCode.OUT_OF_MEMORY
    assert caught.value.fault.is_retryable


@pytest.mark.parametrize("stop_after", [0, 1, 13])
def test_a_stop_is_heard_at_the_next_frame(lips: NeuralLips, clip: Clip, stop_after: int) -> None:
    cancellation = Cancellation()
    bench = Bench(
        folder=clip.bench.folder,
        inputs=clip.bench.inputs,
        threads=1,
        checkpoint=cancellation.checkpoint,
        report=lambda *_: None,
    )
    job = clip.job(200, options=STAND_IN)
    heard, equipment = listen(job, bench), lips.equip(job, bench)
    seen = 0
    with lips.frames(job, bench, heard, equipment) as frames:
        while seen <= stop_after:
            next(frames)
            seen += 1
        cancellation.request()
        with pytest.raises(JobCancelledError):
            next(frames)


def with_network(lips: NeuralLips, clip: Clip, job: Wav2LipJob, network: Counting) -> list[Frame]:
    equipment = Equipment(network, Batches(network.most_at_once), None, None)
    with lips.frames(job, clip.bench, listen(job, clip.bench), equipment) as frames:
        return [frame.pixels for frame in frames]


def transform_to_lip(mesh: Floats) -> Floats:
    """A place well inside the mask, below the lower lip."""
    return np.asarray(mesh[OUTER_LOWER_LIP[5], :2] * 0.8 + mesh[CHIN, :2] * 0.2, np.float32)


def mirrored(mesh: Floats, point: Floats) -> Floats:
    """The place as far above the middle of the crop as `point` is below, along the face."""
    eyes = mesh[LEFT_EYE_CORNER, :2] - mesh[RIGHT_EYE_CORNER, :2]
    across = eyes / np.linalg.norm(eyes)
    down = np.array([-across[1], across[0]])
    top, bottom = (float(mesh[end, :2] @ down) for end in (FOREHEAD, CHIN))
    # The boxes end 0.045 of the face below the chin.
    middle = (top + bottom + 0.045 * (bottom - top)) / 2
    return np.asarray(point + 2 * (middle - float(point @ down)) * down, np.float32)


def around(frame: Frame, point: Floats) -> Floats:
    x, y = np.rint(point).astype(int)
    return np.asarray(frame[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(0), np.float32)
