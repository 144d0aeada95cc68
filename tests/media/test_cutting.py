"""Where long results are cut, and that a segment is read without reading what lies before it."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.media.cutting import Cutting, plan_segments
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.reader import VideoReader
from tests.media.footage import number_in, numbered_frame, tone, write_numbered, write_sound, write_video

FPS = Fraction(4)
FRAMES = 100  # 25 seconds: two segments, which fall due at frame 50
TEN = Cutting(segment_seconds=10)


def lasting(frame_count: int, target_frame_count: int | None = None, fps: Fraction = FPS) -> Timeline:
    return Timeline(fps=fps, frame_count=frame_count, target_frame_count=target_frame_count or frame_count)


def starts(segments: tuple[Segment, ...]) -> list[int]:
    return [segment.start_frame for segment in segments]


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing changes in it."""
    return write_video(tmp_path_factory.mktemp("still") / "still.mp4", [numbered_frame(0)] * FRAMES, fps=FPS)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("loop") / "loop.mp4", 5, fps=FPS)


@pytest.mark.parametrize("change", [46, 53])
def test_a_change_of_scene_near_the_due_frame_begins_the_segment(tmp_path: Path, change: int) -> None:
    dark, light = np.full((96, 160, 3), 40, np.uint8), np.full((96, 160, 3), 180, np.uint8)
    scenes = write_video(tmp_path / "scenes.mp4", [dark] * change + [light] * (FRAMES - change), fps=FPS)
    assert starts(plan_segments(lasting(FRAMES), TEN, target=scenes, audio=None)) == [0, change]


def test_without_one_a_segment_begins_where_nobody_speaks(still: Path, tmp_path: Path) -> None:
    voice = tone(seconds=25.0)
    pause = slice(int(11.4 * 48_000), int(12.0 * 48_000))
    voice[:, pause] = 0
    spoken = write_sound(tmp_path / "voice.wav", voice)
    _, begin = starts(plan_segments(lasting(FRAMES), TEN, target=still, audio=spoken))
    assert 11.4 <= begin / FPS <= 12.0


def test_without_either_it_begins_where_it_falls_due(still: Path, tmp_path: Path) -> None:
    spoken = write_sound(tmp_path / "voice.wav", tone(seconds=25.0))
    assert starts(plan_segments(lasting(FRAMES), TEN, target=still, audio=spoken)) == [0, 50]
    assert starts(plan_segments(lasting(FRAMES), TEN, target=still, audio=None)) == [0, 50]


def test_what_is_shorter_than_two_segments_stays_whole(loop: Path) -> None:
    assert plan_segments(lasting(79, 5), TEN, target=loop, audio=None) == ()
    assert len(plan_segments(lasting(80, 5), TEN, target=loop, audio=None)) == 2


@pytest.mark.parametrize("fps", [Fraction(4), Fraction(24_000, 1001)])
@pytest.mark.parametrize("seconds", [21, 59.5, 125])
@pytest.mark.parametrize("cutting", [TEN, Cutting(segment_seconds=10, max_segments=3), Cutting(segment_seconds=17.5)])
def test_segments_are_without_holes_and_at_least_ten_seconds_long(
    tmp_path: Path, fps: Fraction, seconds: float, cutting: Cutting
) -> None:
    looped = write_numbered(tmp_path / "loop.mp4", 7, fps=fps)
    frame_count = int(seconds * fps)
    segments = plan_segments(lasting(frame_count, 7, fps), cutting, target=looped, audio=None)
    assert len(segments) <= cutting.max_segments
    if segments:
        assert (segments[0].start_frame, segments[-1].stop_frame) == (0, frame_count)
    assert all(one.stop_frame == other.start_frame for one, other in pairwise(segments))
    assert all(segment.frame_count >= 10 * fps for segment in segments)


def test_a_segment_is_read_from_the_keyframe_before_it_and_nothing_earlier(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "long.mp4", FRAMES, fps=FPS, options={"preset": "ultrafast", "g": "10"})
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.pos is not None]
    content = bytearray(path.read_bytes())
    # Nothing from the eleventh frame to the seventieth can be decoded any more.
    for position, size in packets[10:70]:
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    with VideoReader(path) as reader:
        assert [number_in(frame.pixels) for frame in reader.frames(75, FRAMES)] == list(range(75, FRAMES))
        with pytest.raises(MediaError) as caught:
            list(reader.frames(0, FRAMES))
    assert caught.value.fault.code is FaultCode.MEDIA_UNREADABLE
