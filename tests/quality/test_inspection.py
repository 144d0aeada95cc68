"""Whole inspections of clips whose lips, sound, face and surroundings are known, because the test made them."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.contract.quality import Concern, QualityReport, Reason, Thresholds, Verdict
from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.media.errors import MediaError
from gpu_tasks.quality.inspection import Inspection, inspect_video
from gpu_tasks.quality.looking import pieces_of
from tests.media.footage import write_sound, write_video
from tests.quality.footage import (
    FPS,
    closed_face,
    face_place,
    opened,
    source_face,
    spoken,
    syllables,
    talking,
    with_face_of,
    write_clip,
)

FRAMES = 150
PAUSES = ((40, 58), (100, 112))
LOUDNESS = syllables(FRAMES, pauses=PAUSES)


def inspected(result: Path, **how: Any) -> Inspection:  # noqa: ANN401  # passed on
    return inspect_video(result, face_models().detector, thresholds=how.pop("thresholds", Thresholds()), **how)


def report(result: Path, **how: Any) -> QualityReport:  # noqa: ANN401  # passed on
    return inspected(result, **how).report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def target(folder: Path) -> Path:
    """A face that keeps its mouth shut, for half as long."""
    return write_clip(folder / "target.mp4", talking(np.zeros(FRAMES // 2)))


@pytest.fixture(scope="module")
def audio(folder: Path) -> Path:
    return write_sound(folder / "voice.wav", spoken(LOUDNESS))


@pytest.fixture(scope="module")
def good(folder: Path) -> Path:
    """Lips that follow the voice."""
    return write_clip(folder / "good.mp4", talking(0.2 * LOUDNESS), spoken(LOUDNESS))


def test_lips_that_follow_the_voice_on_an_unchanged_background_are_good(good: Path, target: Path, audio: Path) -> None:
    found = report(good, target=target, audio=audio)
    assert (found.verdict, found.reasons) == (Verdict.GOOD, ())
    assert found.lip_sync is not None
    assert found.lip_sync.correlation > 0.85
    assert found.lip_sync.best_lag_frames == 0
    assert found.lip_sync.pause_opening == pytest.approx(0, abs=0.05)
    assert found.lip_sync.max_opening == pytest.approx(0.2 * np.percentile(LOUDNESS, 98), abs=0.04)
    assert found.lip_sync.own_correlation == 0
    assert found.lengths.expected_seconds == pytest.approx(FRAMES / 25)
    assert found.lengths.sound_offset_ms == 0
    assert found.faces.frames_with_face == found.faces.frames_looked_at == FRAMES
    assert found.outside is not None
    assert found.outside.psnr_db > 38
    assert found.flicker is not None
    assert found.flicker.ratio is not None
    assert found.flicker.ratio < 1.3


@pytest.mark.parametrize("lag", [-3, 5])
def test_lips_that_are_late_or_early_are_found_with_their_lag(folder: Path, lag: int) -> None:
    clip = write_clip(folder / f"lag{lag}.mp4", talking(0.2 * np.roll(LOUDNESS, lag)), spoken(LOUDNESS))
    found = report(clip)
    assert found.lip_sync is not None
    assert found.lip_sync.best_lag_frames == lag
    assert Reason.MOUTH_LATE_OR_EARLY in found.reasons


def test_shots_without_the_speaker_are_not_measured_in_somebody_elses_lips(folder: Path) -> None:
    half = FRAMES // 2
    # Whoever listens moves the lips as well, to another rhythm.
    heard = [np.ascontiguousarray(frame[:, ::-1]) for frame in talking(0.2 * syllables(half, seed=77))]
    speaks = talking(0.2 * LOUDNESS[:half])
    clip = write_clip(folder / "reverse.mp4", [*speaks, *heard], spoken(LOUDNESS))
    middle = np.asarray(face_place(closed_face()).at((0.0, 0.23)), np.float32)

    found = inspected(clip, spoken=lambda index: middle if index < half else None)
    assert found.report.lip_sync is not None
    assert found.report.lip_sync.correlation > 0.85
    assert not np.isnan(found.series.seen.opening[:half]).any()
    assert np.isnan(found.series.seen.opening[half:]).all()
    assert found.report.faces.frames_with_face == FRAMES
    anybody = report(clip).lip_sync
    assert anybody is not None
    assert anybody.correlation < found.report.lip_sync.correlation


def test_lips_that_say_something_else_are_poor(folder: Path) -> None:
    clip = write_clip(folder / "other.mp4", talking(0.2 * syllables(FRAMES, seed=77)), spoken(LOUDNESS))
    found = report(clip)
    assert found.verdict is Verdict.POOR
    assert {Reason.MOUTH_UNRELATED, Reason.MOUTH_BY_CHANCE} <= set(found.reasons)


def test_a_mouth_that_hangs_open_in_pauses_is_shown_where_it_does(folder: Path) -> None:
    clip = write_clip(folder / "ajar.mp4", talking(0.2 * np.maximum(LOUDNESS, 0.6)), spoken(LOUDNESS))
    found = report(clip)
    assert Reason.MOUTH_OPEN_IN_PAUSES in found.reasons
    frames = [worst.frame for worst in found.worst if worst.concern is Concern.OPEN_IN_PAUSE]
    assert frames
    assert all(any(start <= frame < stop for start, stop in PAUSES) for frame in frames)


def test_sound_that_was_laid_late_is_found(folder: Path, audio: Path) -> None:
    late = np.concatenate([np.zeros((1, 48_00 * 2), np.float32), spoken(LOUDNESS)], axis=1)
    found = report(write_clip(folder / "late.mp4", talking(0.2 * LOUDNESS), late), audio=audio)
    assert found.lengths.sound_offset_ms == pytest.approx(200, abs=15)
    assert Reason.SOUND_SHIFTED in found.reasons


def test_what_changed_outside_the_face_and_when_is_found(folder: Path, target: Path) -> None:
    def spoilt() -> Any:  # noqa: ANN401  # frames
        for index, frame in enumerate(talking(np.zeros(FRAMES // 2))):
            if 30 <= index < 34:
                frame[-60:, :120] = 255 - frame[-60:, :120]
            yield frame

    found = report(write_clip(folder / "spoilt.mp4", spoilt()), target=target, judge_lips=False)
    assert found.outside is not None
    assert 30 <= found.outside.worst_frame < 34
    assert found.outside.worst_psnr_db < 25
    assert any(30 <= worst.frame < 34 for worst in found.worst if worst.concern is Concern.OUTSIDE)


def test_a_face_that_was_lost_is_told_from_one_that_never_was(folder: Path, target: Path) -> None:
    empty = np.full_like(closed_face(), 90)
    frames = [*talking(np.zeros(50)), *(empty for _ in range(25))]
    lost = report(write_clip(folder / "lost.mp4", frames), target=target, judge_lips=False)
    assert lost.faces.frames_lost == 25
    assert Reason.FACE_LOST in lost.reasons
    alone = write_clip(folder / "gap.mp4", frames)
    assert report(alone, target=alone, judge_lips=False).faces.frames_lost == 0


def test_a_video_without_sound_or_face_says_so(folder: Path) -> None:
    silent = report(write_clip(folder / "silent.mp4", talking(np.zeros(30))))
    assert silent.reasons == (Reason.SOUND_MISSING,)
    assert silent.lip_sync is None
    empty = report(write_clip(folder / "empty.mp4", (np.full_like(closed_face(), 90) for _ in range(30))))
    assert (empty.verdict, empty.reasons) == (Verdict.POOR, (Reason.FACE_MISSING,))


def test_a_target_of_another_shape_or_rate_is_not_compared(folder: Path, good: Path) -> None:
    narrow = write_clip(folder / "narrow.mp4", (frame[:, :400] for frame in talking(np.zeros(30))))
    quick = write_video(folder / "quick.mp4", talking(np.zeros(30)), fps=Fraction(30))
    for other in (narrow, quick):
        found = inspected(good, target=other)
        assert found.report.reasons == (Reason.TARGET_NOT_COMPARABLE,)
        assert found.report.outside is None
        assert found.played is None


def test_a_scaled_target_is_compared_in_the_face_and_not_outside(folder: Path, good: Path) -> None:
    small = (cv2.resize(frame, (264, 216), interpolation=cv2.INTER_AREA) for frame in talking(np.zeros(30)))
    frames = (np.asarray(frame, np.uint8) for frame in small)
    found = report(good, target=write_clip(folder / "small.mp4", frames))
    assert found.outside is None
    assert found.flicker is not None
    assert found.flicker.ratio is not None


def test_the_target_lies_under_the_result_as_the_timeline_says(folder: Path) -> None:
    def brightening() -> Any:  # noqa: ANN401  # frames
        for index, frame in enumerate(talking(np.zeros(40))):
            yield np.clip(frame.astype(np.int16) + index - 20, 0, 255).astype(np.uint8)

    frames = list(brightening())
    there = write_clip(folder / "there.mp4", frames)
    back = write_clip(folder / "back.mp4", [*frames[10:30], *frames[28:18:-1]])
    timeline = Timeline(
        fps=FPS,
        frame_count=30,
        target_frame_count=40,
        sync_mode=SyncMode.BOUNCE,
        trim=Segment(start_frame=10, stop_frame=30),
    )
    right = report(back, target=there, timeline=timeline, judge_lips=False)
    wrong = report(back, target=there, judge_lips=False)
    assert right.outside is not None
    assert wrong.outside is not None
    assert right.outside.psnr_db > 38
    assert wrong.outside.psnr_db < 32


def test_what_was_planned_and_not_the_audio_says_how_long_a_result_should_be(
    folder: Path, target: Path, audio: Path
) -> None:
    frames = FRAMES // 2
    clip = write_clip(folder / "cut.mp4", talking(0.2 * LOUDNESS[:frames]), spoken(LOUDNESS[:frames]))
    as_asked = report(clip, target=target, audio=audio, sync_mode=SyncMode.CUT_OFF)
    assert as_asked.lengths.expected_seconds == as_asked.lengths.video_seconds == frames / 25
    assert Reason.LENGTH_WRONG not in as_asked.reasons
    assert Reason.LENGTH_WRONG in report(clip, target=target, audio=audio).reasons
    assert report(clip, audio=audio).lengths.expected_seconds == FRAMES / 25


def test_a_source_without_a_face_is_said(folder: Path, good: Path, target: Path) -> None:
    picture = folder / "wall.png"
    cv2.imwrite(str(picture), np.full((200, 200, 3), 120, np.uint8))
    found = report(good, target=target, sources=[picture])
    assert found.identity is None
    assert Reason.SOURCE_WITHOUT_FACE in found.reasons


@pytest.mark.parametrize("speaks", [0, 1])
def test_the_face_that_was_changed_is_compared_whoever_speaks(folder: Path, speaks: int) -> None:
    one, source = closed_face(), source_face()
    picture = folder / "source.png"
    cv2.imwrite(str(picture), source)
    places = (face_place(one), face_place(np.ascontiguousarray(one[:, ::-1])))
    width = one.shape[1]

    def shown(*, is_changed: bool) -> Frame:
        left = with_face_of(source, one, places[0]) if is_changed else one
        return np.hstack([left, one[:, ::-1]])

    target = write_clip(folder / "both.mp4", [shown(is_changed=False)] * 10)
    changed = write_clip(folder / f"changed{speaks}.mp4", [shown(is_changed=True)] * 10)
    nose = np.asarray(places[speaks].at((0.0, 0.23)), np.float32) + np.array([speaks * width, 0], np.float32)

    how: dict[str, Any] = {"target": target, "sources": [picture], "judge_lips": False, "spoken": lambda _: nose}
    found = report(changed, **how)
    assert found.identity is not None
    assert found.identity.toward_source > 0.6
    assert Reason.IDENTITY_OF_TARGET not in found.reasons
    assert Reason.IDENTITY_OF_TARGET in report(target, **how).reasons


def test_a_long_result_is_looked_at_in_pieces_from_its_first_frame_to_its_last() -> None:
    pieces = pieces_of(10_000, FPS, 1500)
    assert [piece.frame_count for piece in pieces] == [250] * 6
    assert (pieces[0].start_frame, pieces[-1].stop_frame) == (0, 10_000)
    assert pieces_of(1500, FPS, 1500) == pieces_of(1500, FPS, None) == (Segment(start_frame=0, stop_frame=1500),)
    assert sum(piece.frame_count for piece in pieces_of(1000, FPS, 60)) == 60


def test_pieces_tell_what_the_whole_tells(good: Path, target: Path) -> None:
    whole = report(good, target=target)
    found = inspected(good, target=target, most_frames=100)
    assert found.report.faces.frames_looked_at == 100
    assert whole.lip_sync is not None
    assert found.report.lip_sync is not None
    assert found.report.lip_sync.best_lag_frames == 0
    assert found.report.lip_sync.correlation == pytest.approx(whole.lip_sync.correlation, abs=0.1)


def test_an_inspection_can_be_ended(good: Path) -> None:
    def stop() -> None:
        raise FaultError(FaultCode.DEADLINE_EXCEEDED)

    with pytest.raises(FaultError) as caught:
        inspected(good, checkpoint=stop)
    assert caught.value.fault.code is FaultCode.DEADLINE_EXCEEDED


def test_equal_inspections_have_equal_figures(good: Path, target: Path, audio: Path) -> None:
    assert report(good, target=target, audio=audio) == report(good, target=target, audio=audio)


def test_what_is_no_video_is_refused(audio: Path) -> None:
    with pytest.raises(MediaError) as caught:
        inspected(audio)
    assert caught.value.fault.code is FaultCode.NO_VIDEO_STREAM


def test_a_report_survives_json(good: Path) -> None:
    found = report(good)
    assert QualityReport.model_validate_json(found.model_dump_json()) == found


def test_a_single_frame_is_no_error(folder: Path) -> None:
    frame = closed_face()
    clip = write_clip(folder / "one.mp4", [opened(frame, 0.1, face_place(frame))])
    assert report(clip, target=clip).faces.frames_with_face == 1
