"""From figures and thresholds to a verdict with its reasons: pure."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from gpu_tasks.contract.quality import (
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

# A sound may be longer than the picture by what is left of its last packet: 1024 samples of 48 kHz (AAC).
_PACKET_SECONDS: Final = 1024 / 48_000
_ORDER: Final = (Verdict.GOOD, Verdict.DOUBTFUL, Verdict.POOR)


class Figures(NamedTuple):
    """All figures of one result, None where one could not be measured."""

    lengths: Lengths
    faces: Faces
    lip_sync: LipSync | None
    identity: Identity | None
    flicker: Flicker | None
    outside: Outside | None


class Judgement(NamedTuple):
    verdict: Verdict
    reasons: tuple[Reason, ...]


class _Finding(NamedTuple):
    reason: Reason
    verdict: Verdict


def judge(
    figures: Figures, thresholds: Thresholds, *, judge_lips: bool = True, noted: tuple[Reason, ...] = ()
) -> Judgement:
    """Return the worst of what the figures mean; a figure without a value only counts where `noted` says why.

    Args:
        figures: What was measured.
        thresholds: Where good ends and poor begins.
        judge_lips: Whether the lips were to follow a voice; if not their figures are told and not judged.
        noted: Why something could not be measured: what should have been and was not makes a result doubtful.
    """
    findings = [
        *_of_lengths(figures.lengths, thresholds),
        *_of_faces(figures.faces, thresholds),
        *(_of_lips(figures.lip_sync, figures.lengths.fps, thresholds) if judge_lips and figures.lip_sync else ()),
        *_of_pixels(figures, thresholds),
        *(_Finding(reason, Verdict.DOUBTFUL) for reason in noted),
    ]
    found = [finding for finding in findings if finding.verdict is not Verdict.GOOD]
    worst_first = sorted(found, key=lambda finding: -_ORDER.index(finding.verdict))
    reasons = tuple(dict.fromkeys(finding.reason for finding in worst_first))
    return Judgement(worst_first[0].verdict if worst_first else Verdict.GOOD, reasons)


def _of_lengths(lengths: Lengths, limits: Thresholds) -> Iterator[_Finding]:
    gaps = [0.0]
    if lengths.expected_seconds is not None:
        gaps.append(abs(lengths.video_seconds - lengths.expected_seconds))
    if lengths.sound_seconds is not None:
        gaps.append(abs(lengths.sound_seconds - lengths.video_seconds) - _PACKET_SECONDS)
    frames = max(gaps) * lengths.fps
    yield _low(Reason.LENGTH_WRONG, frames, limits.length_good_frames, limits.length_poor_frames)
    if lengths.sound_offset_ms is not None:
        offset = abs(lengths.sound_offset_ms)
        yield _low(Reason.SOUND_SHIFTED, offset, limits.drift_good_ms, limits.drift_poor_ms)


def _of_faces(faces: Faces, limits: Thresholds) -> Iterator[_Finding]:
    if not faces.frames_with_face:
        yield _Finding(Reason.FACE_MISSING, Verdict.POOR)
    elif faces.frames_lost is None:
        yield _high(Reason.FACE_MISSING, faces.coverage, limits.coverage_good, limits.coverage_poor)
    else:
        # A target may well show no face for a while; what counts is whether the result lost one.
        lost = faces.frames_lost / faces.frames_looked_at
        yield _low(Reason.FACE_LOST, lost, limits.lost_good, limits.lost_poor)


def _of_lips(lips: LipSync, fps: float, limits: Thresholds) -> Iterator[_Finding]:
    yield _high(Reason.MOUTH_UNRELATED, lips.correlation, limits.correlation_good, limits.correlation_poor)
    if lips.shuffles:
        yield _low(Reason.MOUTH_BY_CHANCE, lips.control_mean, limits.control_good, limits.control_poor)
        yield _low(Reason.MOUTH_BY_CHANCE, lips.chance, limits.chance_good, limits.chance_poor)
    late = abs(lips.best_lag_ms) * fps / 1000
    # Rounded to tenths: a parabola's vertex is not known better.
    yield _low(Reason.MOUTH_LATE_OR_EARLY, round(late, 1), limits.lag_good_frames, limits.lag_poor_frames)
    if lips.drift_ms is not None:
        yield _low(Reason.SOUND_DRIFTS, abs(lips.drift_ms), limits.drift_good_ms, limits.drift_poor_ms)
    if lips.pause_opening is not None:
        yield _low(Reason.MOUTH_OPEN_IN_PAUSES, lips.pause_opening, limits.pauses_good, limits.pauses_poor)


def _of_pixels(figures: Figures, limits: Thresholds) -> Iterator[_Finding]:
    if (identity := figures.identity) is not None:
        gone = identity.toward_source
        yield _high(Reason.IDENTITY_OF_TARGET, gone, limits.identity_good, limits.identity_poor)
    if figures.flicker is not None and (ratio := figures.flicker.ratio) is not None:
        yield _low(Reason.FACE_FLICKERS, ratio, limits.flicker_good, limits.flicker_poor)
    if (outside := figures.outside) is not None:
        yield _high(Reason.OUTSIDE_CHANGED, outside.psnr_db, limits.outside_good_db, limits.outside_poor_db)


def _low(reason: Reason, value: float, good: float, poor: float) -> _Finding:
    """Small values are good."""
    return _Finding(reason, Verdict.GOOD if value <= good else Verdict.POOR if value > poor else Verdict.DOUBTFUL)


def _high(reason: Reason, value: float, good: float, poor: float) -> _Finding:
    """Large values are good."""
    return _Finding(reason, Verdict.GOOD if value >= good else Verdict.POOR if value < poor else Verdict.DOUBTFUL)
