"""The constant-frame-rate grid of a video: exact frame rate, start and length, found from its packets.

Headers lie, containers round timestamps (Matroska to milliseconds), edit lists hide packets. So the timestamps of all
shown packets are read once (demuxed, not decoded) and the rate is the one whose grid they lie on.
"""

from array import array
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from math import floor
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.sniffing import MATROSKA, MOV
from gpu_tasks.media.errors import MediaError, reading

STANDARD_RATES = (
    Fraction(12),
    Fraction(15),
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(48),
    Fraction(50),
    Fraction(60000, 1001),
    Fraction(60),
    Fraction(120),
)
_RATE_WITHOUT_EVIDENCE = Fraction(25)
_LOWEST_RATE = Fraction(1)
_HIGHEST_RATE = Fraction(240)
# A grid slot is repeated where a frame is missing; beyond this mean a file only pretends to be a video.
_MOST_SLOTS_PER_FRAME = 60
# A last frame is held as long as there is sound, which the gate limits. Without sound nothing speaks for a minute more.
_LONGEST_HELD_SECONDS = Fraction(60)
# The others do not state how long a frame is shown: FFmpeg guesses it.
_STATES_DURATIONS = frozenset({MOV.name, MATROSKA.name})
# A rate near a standard one is taken for it when timestamps jitter too much to tell.
_NEAR = 0.02
# Matroska states a frame's duration in whole nanoseconds; 30 and 29.97 differ by ten times this.
_SAME = 1e-4


class FrameGrid(NamedTuple):
    """Slot i is shown from `start_seconds + i / fps`; the video has `frame_count` slots.

    `is_constant`: every slot has exactly one frame of the file; otherwise some are repeated or left out.
    `last_slots`: those in which the last frame of the file is shown.
    `longest_reach`: most frames that are decoded to show one: those from a keyframe to the next.
    """

    start_seconds: Fraction
    fps: Fraction
    frame_count: int
    is_constant: bool
    last_slots: int
    longest_reach: int

    def index_at(self, seconds: Fraction) -> int:
        """Return the slot nearest to a time on the stream's own clock."""
        return floor((seconds - self.start_seconds) * self.fps + Fraction(1, 2))


def find_grid(container: InputContainer, stream: VideoStream, *, most_packets: int | None = None) -> FrameGrid:
    """Read all packets of the stream and return its grid. The container stands at its end afterwards.

    Args:
        container: The opened file.
        stream: Its video.
        most_packets: Where to stop reading a file that pretends.

    Raises:
        MediaError: MEDIA_UNREADABLE when the file is cut off or has no frames, MEDIA_UNSUPPORTED when its frame rate is
            not that of a video.
    """
    if stream.time_base is None:
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "Its video has no clock.")
    reach, last = _Reach(), _Last()
    with reading():
        shown = _shown(container, stream, reach, last)
        found = array("q", islice(shown, None if most_packets is None else most_packets + 1))
    if most_packets is not None and len(found) > most_packets:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"It has more than {most_packets} frames.")
    stamps = np.sort(np.frombuffer(found, dtype=np.int64))
    if not stamps.size:
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "Its video has no frames.")
    ticks = stamps - stamps[0]
    fps = _rate(ticks, stream.time_base, _header_rates(stream))
    if not _LOWEST_RATE <= fps <= _HIGHEST_RATE:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"{float(fps):.3f} frames per second is not a video.")
    # Counted before the last frame is held: one picture under a song has few frames, but is no attack.
    slots = int(int(ticks[-1]) * stream.time_base * fps + Fraction(1, 2))
    if slots + 1 > _MOST_SLOTS_PER_FRAME * stamps.size:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "Its frames are spread too thinly over time.")
    is_even = _is_one_to_one(ticks, float(stream.time_base * fps))
    # Where the rate varies many writers do not know the last duration, and state the shortest.
    step = int(ticks[-1] - ticks[-2]) if ticks.size > 1 and not is_even else 0
    held = max(last.duration, step) * stream.time_base
    last_slots = max(1, floor(min(held, _room(container, stream, last)) * fps + Fraction(1, 2)))
    return FrameGrid(
        start_seconds=int(stamps[0]) * stream.time_base,
        fps=fps,
        frame_count=slots + last_slots,
        is_constant=is_even and last_slots == 1,
        last_slots=last_slots,
        longest_reach=reach.longest,
    )


def _room(container: InputContainer, stream: VideoStream, last: "_Last") -> Fraction:
    """For how many seconds the last frame may be shown: until the sound ends, else until the header says."""
    if container.format.name not in _STATES_DURATIONS:
        return Fraction(0)
    shown_at = last.stamp * (stream.time_base or Fraction(1))
    sounds = [
        ((sound.start_time or 0) + sound.duration) * sound.time_base
        for sound in container.streams.audio
        if sound.duration and sound.time_base
    ]
    if sounds:
        return max(sounds) - shown_at
    stated = Fraction((container.start_time or 0) + (container.duration or 0), av.time_base) - shown_at
    # In Matroska only the whole has a length.
    return stated if container.streams.audio else min(stated, _LONGEST_HELD_SECONDS)


class _Reach:
    """Counts packets from keyframe to keyframe."""

    def __init__(self) -> None:
        self.longest = 0
        self._current = 0

    def add(self, *, is_keyframe: bool) -> None:
        self._current = 1 if is_keyframe else self._current + 1
        self.longest = max(self.longest, self._current)


class _Last:
    """Remembers the packet that is shown last, and for how long: both in ticks of the stream."""

    def __init__(self) -> None:
        self.stamp = self.duration = 0
        self._is_empty = True

    def add(self, stamp: int, duration: int) -> None:
        if self._is_empty or stamp >= self.stamp:
            self.stamp, self.duration, self._is_empty = stamp, duration, False


def _shown(container: InputContainer, stream: VideoStream, reach: _Reach, last: _Last) -> Iterator[int]:
    """Yield the timestamp of every packet that is shown, in file order."""
    for packet in container.demux(stream):
        if packet.size:
            reach.add(is_keyframe=packet.is_keyframe)
        # AVI has decoding times only; edit lists mark what is needed for decoding but never shown.
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or packet.is_discard:
            continue
        if packet.is_corrupt and "mov" in container.format.name:
            raise MediaError(FaultCode.MEDIA_UNREADABLE, "The file is cut off.")
        last.add(stamp, packet.duration or 0)
        yield stamp


def _header_rates(stream: VideoStream) -> list[Fraction]:
    return [rate for rate in (stream.guessed_rate, stream.base_rate, stream.average_rate) if rate]


def _rate(ticks: NDArray[np.int64], time_base: Fraction, headers: list[Fraction]) -> Fraction:
    """Return the rate whose grid carries every timestamp; for a variable rate the one that loses the fewest frames."""
    if ticks.size == 1:
        return headers[0] if headers else _RATE_WITHOUT_EVIDENCE
    if not ticks[-1]:
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "All its frames have the same time.")
    mean = float((ticks.size - 1) / (int(ticks[-1]) * time_base))
    nearest_first = sorted(STANDARD_RATES, key=lambda rate: abs(float(rate) - mean))
    evenly = Fraction(1, int(ticks[1]) * time_base) if ticks[1] else _RATE_WITHOUT_EVIDENCE
    claimed = [rate for header in headers for rate in STANDARD_RATES if abs(header / rate - 1) < _SAME]
    for rate in [*claimed, *nearest_first, evenly, *headers]:
        if _carries(rate, ticks, time_base):
            return rate
    # A camera that keeps a rate but stamps its frames early or late: every frame still has a slot of its own.
    for rate in claimed + nearest_first[:1]:
        if abs(float(rate) / mean - 1) < _NEAR and _is_one_to_one(ticks, float(time_base * rate)):
            return rate
    return _quick_rate(ticks, time_base)


def _carries(rate: Fraction, ticks: NDArray[np.int64], time_base: Fraction) -> bool:
    """Tell whether frame i lies in slot i for all i, as exactly as the container's clock can say it."""
    tick_in_slots = float(time_base * rate)
    deviation = np.abs(ticks * tick_in_slots - np.arange(ticks.size))
    return bool(deviation.max() <= min(tick_in_slots + 1e-3, 0.45))


def _is_one_to_one(ticks: NDArray[np.int64], tick_in_slots: float) -> bool:
    """Tell whether every slot gets one frame; how far off its middle a timestamp lies does not matter then."""
    return bool((np.floor(ticks * tick_in_slots + 0.5) == np.arange(ticks.size)).all())


def _quick_rate(ticks: NDArray[np.int64], time_base: Fraction) -> Fraction:
    """Rate of the quicker frames: gaps (dropped frames, still screens) are longer than the rate they interrupt."""
    steps = np.diff(ticks)
    step = float(np.quantile(steps[steps > 0], 0.25)) if (steps > 0).any() else 0.0
    if not step:
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "All its frames have the same time.")
    measured = 1 / (step * float(time_base))
    near = [rate for rate in STANDARD_RATES if abs(float(rate) / measured - 1) < _NEAR]
    return min(near, key=lambda rate: _strain(rate, ticks, time_base), default=Fraction(round(measured * 1000), 1000))


def _strain(rate: Fraction, ticks: NDArray[np.int64], time_base: Fraction) -> float:
    """Mean distance of the timestamps from the slots of a rate, in slots."""
    position = ticks * float(time_base * rate)
    return float(np.abs(position - np.rint(position)).mean())
