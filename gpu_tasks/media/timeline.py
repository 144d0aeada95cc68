"""How long a result lasts and which part of a target it shows: whole numbers of frames from exact fractions."""

from fractions import Fraction
from math import ceil, floor

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.media.errors import MediaError

# Seconds arrive as binary floats; what was meant is a decimal of at most six places or a count of samples.
_FINEST = 1_000_000


def plan_timeline(
    target: VideoInfo,
    audio_seconds: float | Fraction | None,
    sync_mode: SyncMode,
    *,
    trim_start: float = 0.0,
    trim_end: float | None = None,
) -> Timeline:
    """Lay a target under a driving audio; without audio the target stays as long as it is.

    The result has the target's frame rate. "Fitting" the audio means as many frames as come nearest to its length (half
    a frame rounds up, at least one), so that sound and picture end within half a frame of each other.

    Args:
        target: The target video.
        audio_seconds: Length of the driving audio, None when there is none.
        sync_mode: loop, bounce, remap: the result fits the audio. cut_off: it is as long as the shorter of the two,
            silence: as long as the longer.
        trim_start: The first frame used is the first one at or after this second of the target.
        trim_end: The first frame not used is the first one at or after this second; None is the target's end. Up to
            one frame beyond the end counts as the end: lengths are shown rounded.

    Raises:
        MediaError: REQUEST_INVALID when the trim lies outside the target or holds no frame.
    """
    clip = _trimmed(target, trim_start, trim_end)
    if audio_seconds is None:
        # Without a sound to fit every mode shows the clip once: one timeline, one fingerprint.
        frame_count, sync_mode = clip.frame_count, SyncMode.LOOP
    else:
        frame_count = _length(sync_mode, clip.frame_count, _fitting(audio_seconds, target.fps))
    return Timeline(
        fps=target.fps,
        frame_count=frame_count,
        target_frame_count=target.frame_count,
        sync_mode=sync_mode,
        trim=None if clip.frame_count == target.frame_count else clip,
    )


def _length(sync_mode: SyncMode, clip: int, audio: int) -> int:
    match sync_mode:
        case SyncMode.LOOP | SyncMode.BOUNCE | SyncMode.REMAP:
            return audio
        case SyncMode.CUT_OFF:
            return min(clip, audio)
        case SyncMode.SILENCE:
            return max(clip, audio)


def _fitting(audio_seconds: float | Fraction, fps: Fraction) -> int:
    return max(1, floor(_exact(audio_seconds) * fps + Fraction(1, 2)))


def _trimmed(target: VideoInfo, start: float, end: float | None) -> Segment:
    length = Fraction(target.frame_count) / target.fps
    first = ceil(_exact(start) * target.fps)
    if first >= target.frame_count:
        raise MediaError(
            FaultCode.REQUEST_INVALID, f"trim.start is {start:g} s, the target lasts {float(length):.3f} s."
        )
    if end is None:
        return Segment(start_frame=first, stop_frame=target.frame_count)
    stop = ceil(_exact(end) * target.fps)
    if stop > target.frame_count + 1:
        raise MediaError(FaultCode.REQUEST_INVALID, f"trim.end is {end:g} s, the target lasts {float(length):.3f} s.")
    stop = min(stop, target.frame_count)
    if stop <= first:
        raise MediaError(
            FaultCode.REQUEST_INVALID, f"Between trim.start {start:g} s and trim.end {end:g} s is no frame."
        )
    return Segment(start_frame=first, stop_frame=stop)


def _exact(seconds: float | Fraction) -> Fraction:
    return Fraction(seconds).limit_denominator(_FINEST)
