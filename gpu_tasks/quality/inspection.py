"""`inspect_video`: how good a result is, by numbers that do not come from what made it."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import isclose
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Timeline
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.contract.quality import Faces, Lengths, QualityReport, Reason, Thresholds
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.faces.detector import FaceDetector
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.still import read_image
from gpu_tasks.media.timeline import plan_timeline
from gpu_tasks.quality.agreement import Curve, agree, correlations
from gpu_tasks.quality.following import place_of
from gpu_tasks.quality.judging import Figures, judge
from gpu_tasks.quality.likeness import Embedder, Gradients, LikenessMeter
from gpu_tasks.quality.looking import Meters, Played, Seen, look, pieces_of
from gpu_tasks.quality.series import Series
from gpu_tasks.quality.steadiness import FlickerMeter, OutsideMeter
from gpu_tasks.quality.voice import SAMPLE_RATE, listen
from gpu_tasks.quality.worst import worst_frames

_SAME_SHAPE: Final = 0.01
_OFFSET_GRID: Final = Fraction(100)  # steps per second in which two sounds are compared
_OFFSET_REACH: Final = 50
_SAME_SOUND: Final = 0.5  # sounds that agree less are not the same, and have no offset


class Inspection(NamedTuple):
    """The report, what it was drawn from, and the target as it lay under the result, where they were compared."""

    report: QualityReport
    series: Series
    played: Played | None


def inspect_video(  # noqa: PLR0913  # everything that a result can be compared with, each by name
    result: Path,
    detector: FaceDetector,
    *,
    target: Path | None = None,
    audio: Path | None = None,
    sources: Sequence[Path] = (),
    timeline: Timeline | None = None,
    sync_mode: SyncMode = SyncMode.LOOP,
    thresholds: Thresholds,
    judge_lips: bool = True,
    most_frames: int | None = None,
    embedder: Embedder | None = None,
    spoken: Callable[[int], Floats | None] | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> Inspection:
    """Measure a result, alone or against what it was made of.

    One pass; memory does not grow with the length of the video but for a few numbers per frame and the sound at 16 kHz.

    Args:
        result: The video to judge.
        detector: Finds faces and their key points.
        target: The footage it was made of: for flicker, identity and what changed outside the face.
        audio: The driving audio: for the expected length, and as the voice where the result has no sound of its own.
        sources: Pictures of the identity that was put in. With several, the one that comes out nearest counts.
        timeline: How the target lies under the result; None: as `sync_mode` lays it.
        sync_mode: How it was asked for, where no timeline is known.
        thresholds: Where good ends and poor begins.
        judge_lips: Whether the lips were to follow the voice.
        most_frames: Look at so many frames of a longer result, in pieces spread over it.
        embedder: What tells identities apart; None is `Gradients`, which needs no weights.
        spoken: Where in a frame the face lies that was to speak, as `look` takes it.
        checkpoint: Called at every frame; what it raises ends the inspection.

    Raises:
        MediaError: A file is missing what it is given for, damaged or of no known kind.
    """
    noted: list[Reason] = []
    with VideoReader(result) as reader:
        info = reader.info
    own, driving = _sound(result), (load_mono(audio, sample_rate=SAMPLE_RATE) if audio else None)
    played = _played(info, target, timeline, driving, sync_mode) if target else None
    if target and played is None:
        noted.append(Reason.TARGET_NOT_COMPARABLE)
    embedder = embedder or Gradients()
    known = [face for source in sources if (face := _source(source, detector, embedder)) is not None]
    if len(known) < len(sources):
        noted.append(Reason.SOURCE_WITHOUT_FACE)
    meters = Meters(FlickerMeter(), OutsideMeter(), LikenessMeter(embedder, known) if known and played else None)
    pieces = pieces_of(info.frame_count, info.fps, most_frames)
    seen = look(result, played, detector, meters, pieces, spoken=spoken, checkpoint=checkpoint)

    heard = own if own is not None else driving
    voice = listen(heard, info.fps, info.frame_count) if heard is not None else None
    agreement = None
    if voice is not None:
        agreement = agree(seen.opening, voice, info.fps, own_opening=seen.own_opening)
    if judge_lips and agreement is None and seen.has_face.any():
        noted.append(Reason.SOUND_MISSING if voice is None else Reason.TOO_LITTLE_SPEECH)
    figures = Figures(
        lengths=_lengths(info, own, driving, played),
        faces=_faces(seen, played),
        lip_sync=agreement.figures if agreement else None,
        identity=meters.likeness.figures() if meters.likeness else None,
        flicker=meters.flicker.figures(),
        outside=meters.outside.figures(),
    )
    series = Series(info.fps, seen, voice, agreement, meters.flicker.by_frame(), meters.outside.by_frame())
    judgement = judge(figures, thresholds, judge_lips=judge_lips, noted=tuple(noted))
    report = QualityReport(
        verdict=judgement.verdict, reasons=judgement.reasons, **figures._asdict(), worst=worst_frames(series)
    )
    return Inspection(report, series, played)


def _sound(path: Path) -> Floats | None:
    try:
        return load_mono(path, sample_rate=SAMPLE_RATE)
    except MediaError as error:
        if error.fault.code is FaultCode.NO_AUDIO_STREAM:
            return None
        raise


def _played(
    info: VideoInfo, target: Path, timeline: Timeline | None, driving: Floats | None, sync_mode: SyncMode
) -> Played | None:
    """Lay the target under the result; None when that cannot be done."""
    with VideoReader(target) as reader:
        shown = reader.info
    if timeline is None:
        seconds = Fraction(len(driving), SAMPLE_RATE) if driving is not None else None
        timeline = plan_timeline(shown, seconds, sync_mode)
    is_alike = isclose(shown.width / shown.height, info.width / info.height, rel_tol=_SAME_SHAPE)
    if timeline.fps != info.fps or shown.frame_count != timeline.target_frame_count or not is_alike:
        return None
    cut = (shown.width - info.width, shown.height - info.height)
    # A result that is not as long as planned is compared all the same; its length is judged by itself.
    longer = timeline.model_copy(update={"frame_count": max(timeline.frame_count, info.frame_count)})
    is_scaled = not all(0 <= side <= 1 for side in cut)
    return Played(target, longer, planned_seconds=timeline.duration_seconds, is_scaled=is_scaled)


def _source(path: Path, detector: FaceDetector, embedder: Embedder) -> Floats | None:
    picture = read_image(path)
    faces = detector.detect(picture)
    if not faces:
        return None
    largest = max(faces, key=lambda face: float(face.box[2] - face.box[0]))
    return embedder.embed(picture, place_of(largest.points))


def _lengths(info: VideoInfo, own: Floats | None, driving: Floats | None, played: Played | None) -> Lengths:
    return Lengths(
        fps=round(float(info.fps), 3),
        frames=info.frame_count,
        video_seconds=round(info.duration_seconds, 3),
        sound_seconds=None if own is None else round(len(own) / SAMPLE_RATE, 3),
        expected_seconds=_expected(driving, played),
        sound_offset_ms=None if own is None or driving is None else _offset_ms(own, driving),
    )


def _expected(driving: Floats | None, played: Played | None) -> float | None:
    if played is not None:
        return round(played.planned_seconds, 3)
    return None if driving is None else round(len(driving) / SAMPLE_RATE, 3)


def _offset_ms(own: Floats, driving: Floats) -> float | None:
    """How much later `own` is than `driving`; None when they are not the same sound."""
    steps = int(min(len(own), len(driving)) / SAMPLE_RATE * _OFFSET_GRID)
    loudness: list[Curve] = [listen(sound, _OFFSET_GRID, steps).loudness for sound in (own, driving)]
    lags = np.arange(-_OFFSET_REACH, _OFFSET_REACH + 1)
    by_lag = correlations(loudness[0], loudness[1][None], lags)[0]
    best = int(np.argmax(by_lag))
    return float(lags[best] * 1000 / _OFFSET_GRID) if by_lag[best] > _SAME_SOUND else None


def _faces(seen: Seen, played: Played | None) -> Faces:
    return Faces(
        frames_looked_at=int(seen.looked_at.sum()),
        frames_with_face=int(seen.has_face.sum()),
        frames_lost=None if played is None else int(seen.lost.sum()),
    )
