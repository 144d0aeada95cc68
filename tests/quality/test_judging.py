"""From figures to a verdict: every threshold decides, every word is there."""

from typing import Any

import pytest

from gpu_tasks.contract.quality import (
    CONCERN_WORDS,
    REASON_SENTENCES,
    VERDICT_WORDS,
    Concern,
    Faces,
    Flicker,
    Identity,
    Lengths,
    LipSync,
    Outside,
    Reason,
    Thresholds,
    Verdict,
)
from gpu_tasks.contract.sentences import Language
from gpu_tasks.quality.judging import Figures, Judgement, judge
from gpu_tasks.quality.words import WORDS, Label

LIPS = LipSync(
    correlation=0.8,
    best_lag_frames=0,
    best_lag_ms=5,
    control_mean=0.02,
    control_worst=0.3,
    chance=0.0099,
    shuffles=100,
    drift_ms=0,
    own_correlation=0.0,
    max_opening=0.2,
    pause_opening=0.05,
    pause_seconds=1,
)
GOOD = Figures(
    lengths=Lengths(fps=25, frames=250, video_seconds=10, sound_seconds=10.02, expected_seconds=10, sound_offset_ms=0),
    faces=Faces(frames_looked_at=250, frames_with_face=250, frames_lost=0),
    lip_sync=LIPS,
    identity=Identity(
        measure="gradients", toward_source=0.6, to_source=0.4, to_target=0.6, target_to_source=0.7, source=0
    ),
    flicker=Flicker(result=2, target=2, ratio=1),
    outside=Outside(psnr_db=42, worst_psnr_db=40, worst_frame=3),
)


def changed(part: str, **fields: Any) -> Judgement:  # noqa: ANN401  # values of any figure
    return judge(GOOD._replace(**{part: getattr(GOOD, part).model_copy(update=fields)}), Thresholds())


def test_good_figures_are_good_without_a_reason() -> None:
    assert judge(GOOD, Thresholds()) == Judgement(Verdict.GOOD, ())


@pytest.mark.parametrize(
    ("part", "field", "good", "doubtful", "poor", "reason"),
    [
        ("lengths", "video_seconds", 10.04, 10.08, 10.2, Reason.LENGTH_WRONG),
        ("lengths", "sound_seconds", 10.05, 10.1, 9.5, Reason.LENGTH_WRONG),
        ("lengths", "sound_offset_ms", -40, 60, -130, Reason.SOUND_SHIFTED),
        ("faces", "frames_lost", 2, 10, 30, Reason.FACE_LOST),
        ("lip_sync", "correlation", 0.7, 0.5, 0.3, Reason.MOUTH_UNRELATED),
        ("lip_sync", "best_lag_ms", 40, -60, 130, Reason.MOUTH_LATE_OR_EARLY),
        ("lip_sync", "control_mean", 0.2, 0.3, 0.5, Reason.MOUTH_BY_CHANCE),
        ("lip_sync", "chance", 0.02, 0.05, 0.5, Reason.MOUTH_BY_CHANCE),
        ("lip_sync", "drift_ms", 45, -80, 200, Reason.SOUND_DRIFTS),
        ("lip_sync", "pause_opening", 0.15, 0.3, 0.6, Reason.MOUTH_OPEN_IN_PAUSES),
        ("identity", "toward_source", 0.5, 0.4, 0.1, Reason.IDENTITY_OF_TARGET),
        ("flicker", "ratio", 1.3, 1.7, 2.5, Reason.FACE_FLICKERS),
        ("outside", "psnr_db", 38, 35, 20, Reason.OUTSIDE_CHANGED),
    ],
)
def test_each_figure_decides_at_its_thresholds(  # noqa: PLR0913, PLR0917  # a row of the table
    part: str, field: str, good: float, doubtful: float, poor: float, reason: Reason
) -> None:
    assert changed(part, **{field: good}).verdict is Verdict.GOOD
    assert changed(part, **{field: doubtful}) == Judgement(Verdict.DOUBTFUL, (reason,))
    assert changed(part, **{field: poor}) == Judgement(Verdict.POOR, (reason,))


def test_the_worst_reason_comes_first_and_decides() -> None:
    figures = GOOD._replace(
        flicker=Flicker(result=3, target=2, ratio=1.5), outside=Outside(psnr_db=20, worst_psnr_db=20, worst_frame=0)
    )
    assert judge(figures, Thresholds()) == Judgement(Verdict.POOR, (Reason.OUTSIDE_CHANGED, Reason.FACE_FLICKERS))


def test_without_a_target_coverage_is_judged_and_with_one_what_was_lost() -> None:
    assert changed("faces", frames_lost=None, frames_with_face=200).reasons == (Reason.FACE_MISSING,)
    assert changed("faces", frames_lost=0, frames_with_face=100).verdict is Verdict.GOOD
    assert changed("faces", frames_lost=0, frames_with_face=0) == Judgement(Verdict.POOR, (Reason.FACE_MISSING,))


def test_lips_that_were_not_to_follow_are_not_judged() -> None:
    figures = GOOD._replace(lip_sync=LIPS.model_copy(update={"correlation": 0.0}))
    assert judge(figures, Thresholds(), judge_lips=False).verdict is Verdict.GOOD
    assert judge(figures, Thresholds()).verdict is Verdict.POOR


def test_what_should_have_been_measured_and_was_not_is_doubtful() -> None:
    figures = GOOD._replace(lip_sync=None)
    noted = (Reason.TOO_LITTLE_SPEECH,)
    assert judge(figures, Thresholds(), noted=noted) == Judgement(Verdict.DOUBTFUL, noted)


def test_thresholds_can_be_moved() -> None:
    strict = Thresholds(outside_good_db=45, outside_poor_db=43)
    assert judge(GOOD, strict).verdict is Verdict.POOR


@pytest.mark.parametrize("language", Language)
def test_every_word_is_there_in_every_language(language: Language) -> None:
    assert set(VERDICT_WORDS[language]) == set(Verdict)
    assert set(REASON_SENTENCES[language]) == set(Reason)
    assert set(CONCERN_WORDS[language]) == set(Concern)
    assert set(WORDS[language]) == set(Label)
