"""The figures of a report as rows of a table: in words, with the goal beside each. For the page and the terminal."""

from collections.abc import Iterator
from typing import NamedTuple

from gpu_tasks.contract.quality import QualityReport, Reason, Thresholds
from gpu_tasks.contract.sentences import Language
from gpu_tasks.quality.words import WORDS, Label


class Row(NamedTuple):
    """One figure. `is_good` is None where it is told and not judged, or was not measured."""

    name: str
    value: str
    goal: str
    is_good: bool | None


def rows(report: QualityReport, limits: Thresholds, language: Language) -> tuple[Row, ...]:
    """Return the figures in the order in which a person asks for them.

    Args:
        report: What was measured.
        limits: By which it was judged.
        language: Of names.
    """
    words = WORDS[language]

    def row(label: Label, value: str | None, goal: str = "", *reasons: Reason) -> Row:
        if value is None:
            return Row(words[label], words[Label.NOT_MEASURED], goal, None)
        is_good = not any(reason in report.reasons for reason in reasons) if reasons else None
        return Row(words[label], value, goal, is_good)

    return tuple(row(*cells) for cells in (*_plain(report, limits), *_lips(report, limits), *_pixels(report, limits)))


_Cells = tuple[Label, str | None, str, *tuple[Reason, ...]]


def _plain(report: QualityReport, limits: Thresholds) -> Iterator[_Cells]:
    lengths, faces = report.lengths, report.faces
    seconds = (lengths.video_seconds, lengths.sound_seconds, lengths.expected_seconds)
    told = " / ".join("-" if value is None else f"{value:.3f}" for value in seconds)
    yield Label.LENGTH, f"{told} s", f"± {limits.length_good_frames:g} f", Reason.LENGTH_WRONG
    offset = lengths.sound_offset_ms
    yield (
        Label.SOUND_OFFSET,
        None if offset is None else f"{offset:+.0f} ms",
        f"± {limits.drift_good_ms:g} ms",
        Reason.SOUND_SHIFTED,
    )
    yield (
        Label.COVERAGE,
        f"{100 * faces.coverage:.1f} % ({faces.frames_with_face}/{faces.frames_looked_at})",
        f"≥ {100 * limits.coverage_good:g} %" if faces.frames_lost is None else "",
        Reason.FACE_MISSING,
    )
    lost = faces.frames_lost
    yield Label.LOST, None if lost is None else str(lost), f"≤ {100 * limits.lost_good:g} %", Reason.FACE_LOST


def _lips(report: QualityReport, limits: Thresholds) -> Iterator[_Cells]:
    lag_goal = f"± {1000 * limits.lag_good_frames / report.lengths.fps:.0f} ms"
    told: dict[Label, str] = {}
    if (lips := report.lip_sync) is not None:
        told[Label.CORRELATION] = f"{lips.correlation:.2f}"
        told[Label.LAG] = f"{lips.best_lag_ms:+.0f} ms ({lips.best_lag_frames:+d} f)"
        if lips.shuffles:
            told[Label.CONTROL] = f"{lips.control_mean:.2f} ({lips.control_worst:.2f})"
            told[Label.CHANCE] = f"{100 * lips.chance:.0f} %"
        if lips.drift_ms is not None:
            told[Label.DRIFT] = f"{lips.drift_ms:+.0f} ms"
        if lips.own_correlation is not None:
            told[Label.OWN] = f"{lips.own_correlation:.2f}"
        if lips.pause_opening is not None:
            told[Label.PAUSES] = f"{100 * lips.pause_opening:.0f} %"
    for label, goal, *reasons in (
        (Label.CORRELATION, f"≥ {limits.correlation_good:g}", Reason.MOUTH_UNRELATED),
        (Label.LAG, lag_goal, Reason.MOUTH_LATE_OR_EARLY),
        (Label.CONTROL, f"≤ {limits.control_good:g}", Reason.MOUTH_BY_CHANCE),
        (Label.CHANCE, f"≤ {100 * limits.chance_good:g} %", Reason.MOUTH_BY_CHANCE),
        (Label.DRIFT, f"± {limits.drift_good_ms:g} ms", Reason.SOUND_DRIFTS),
        (Label.OWN, ""),
        (Label.PAUSES, f"≤ {100 * limits.pauses_good:g} %", Reason.MOUTH_OPEN_IN_PAUSES),
    ):
        yield label, told.get(label), goal, *reasons


def _pixels(report: QualityReport, limits: Thresholds) -> Iterator[_Cells]:
    identity, flicker, outside = report.identity, report.flicker, report.outside
    gone = f"{100 * identity.toward_source:.0f} %" if identity else None
    yield Label.IDENTITY, gone, f"≥ {100 * limits.identity_good:g} %", Reason.IDENTITY_OF_TARGET
    ratio = flicker.ratio if flicker else None
    told = None if ratio is None else f"{ratio:.2f}"
    yield Label.FLICKER, told, f"≤ {limits.flicker_good:g}", Reason.FACE_FLICKERS
    psnr = f"{outside.psnr_db:.1f} / {outside.worst_psnr_db:.1f} dB" if outside else None
    yield Label.OUTSIDE, psnr, f"≥ {limits.outside_good_db:g} dB", Reason.OUTSIDE_CHANGED
