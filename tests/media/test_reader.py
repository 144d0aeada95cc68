import subprocess
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from tests.media.clocks import write_stamped
from tests.media.corpus.making import spliced, turned_midway
from tests.media.corpus.specimen import Maker
from tests.media.footage import HEIGHT, WIDTH, number_in, numbered_frame, tone, write_numbered, write_video

LONG_GOP = {"preset": "fast", "g": "250", "bf": "3"}
RATES = [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(60000, 1001), Fraction(60)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 numbered frames at 29.97 fps, one keyframe, B-frames."""
    path = tmp_path_factory.mktemp("reader") / "clip.mp4"
    return write_numbered(path, 120, fps=Fraction(30000, 1001), options=LONG_GOP)


def test_every_frame_comes_once_in_order_with_its_exact_time(clip: Path) -> None:
    with VideoReader(clip) as reader:
        frames = list(reader)
    assert [number_in(frame.pixels) for frame in frames] == list(range(120))
    assert [frame.index for frame in frames] == list(range(120))
    assert [frame.pts_seconds for frame in frames] == [Fraction(1001 * i, 30000) for i in range(120)]
    assert frames[0].pixels.shape == (HEIGHT, WIDTH, 3)
    assert frames[0].pixels.dtype == np.uint8


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (1, 2), (59, 64), (118, 120), (119, 120)])
def test_a_range_between_keyframes_is_the_same_as_in_the_whole(clip: Path, start: int, stop: int) -> None:
    with VideoReader(clip, start_frame=start, stop_frame=stop) as reader:
        assert [(frame.index, number_in(frame.pixels)) for frame in reader] == [(i, i) for i in range(start, stop)]


def test_ranges_can_be_read_one_after_the_other_in_any_order(clip: Path) -> None:
    with VideoReader(clip) as reader:
        seen = [number_in(frame.pixels) for start in (100, 3, 117) for frame in reader.frames(start, start + 3)]
    assert seen == [100, 101, 102, 3, 4, 5, 117, 118, 119]


def test_a_range_outside_the_video_is_refused(clip: Path) -> None:
    with VideoReader(clip) as reader, pytest.raises(ValueError, match="of a video of 120"):
        reader.frames(100, 121)


@pytest.mark.parametrize("fps", RATES, ids=str)
@pytest.mark.parametrize("container", ["mp4", "matroska", "avi", "mpegts"])
def test_the_exact_rate_and_count_are_found_in_every_container(tmp_path: Path, fps: Fraction, container: str) -> None:
    how = {"codec": "mpeg4", "options": {"bf": "0"}} if container == "avi" else {"options": LONG_GOP}
    clip = write_numbered(tmp_path / "clip", 50, fps=fps, container=container, **how)
    video = probe(clip).video
    assert video is not None
    assert (video.fps, video.frame_count) == (fps, 50)
    with VideoReader(clip, start_frame=20, stop_frame=50) as reader:
        assert [number_in(frame.pixels) for frame in reader] == list(range(20, 50))


def test_a_variable_rate_is_laid_on_the_grid_without_holes(tmp_path: Path) -> None:
    # 60 frames at 30 fps, then 20 at 10 fps: each of these stands for three slots.
    times = [Fraction(i, 30) for i in range(60)] + [2 + Fraction(i, 10) for i in range(20)]
    clip = write_video(tmp_path / "vfr.mp4", map(numbered_frame, range(80)), times=times)
    with VideoReader(clip) as reader:
        assert reader.info.fps == 30
        seen = [number_in(frame.pixels) for frame in reader]
    assert seen == list(range(60)) + [60 + i // 3 for i in range(58)]
    assert len(seen) == reader.info.frame_count


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_clip_is_read_upright(tmp_path: Path, rotation: int) -> None:
    upright = numbered_frame(389)
    stored = np.rot90(upright, -rotation // 90)
    clip = write_video(tmp_path / "phone.mp4", [stored] * 3, rotation=rotation)
    with VideoReader(clip) as reader:
        pixels = next(iter(reader)).pixels
        assert (reader.info.width, reader.info.height) == (WIDTH, HEIGHT)
        assert reader.info.rotation_degrees == rotation
    assert number_in(pixels) == 389
    # OpenCV's own reader applies the same flag by its own code.
    capture = cv2.VideoCapture(str(clip))
    found, expected = capture.read()
    capture.release()
    assert found
    assert np.abs(pixels.astype(int) - expected.astype(int)).mean() < 2


def test_a_trimmed_phone_clip_shows_only_what_its_edit_list_shows(tmp_path: Path) -> None:
    # Frames before time 0 go behind the edit list, as in a clip trimmed on a phone.
    times = [Fraction(i - 10, 25) for i in range(40)]
    clip = write_video(tmp_path / "trim.mp4", map(numbered_frame, range(40)), times=times, options=LONG_GOP)
    with VideoReader(clip) as reader:
        seen = [number_in(frame.pixels) for frame in reader]
        assert reader.info.frame_count == len(seen)
    assert seen == list(range(10, 40))


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_off_clip_is_unreadable(tmp_path: Path, share: float) -> None:
    whole = write_numbered(tmp_path / "whole.mp4", 60, container_options={"movflags": "+faststart"}).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(MediaError) as caught, VideoReader(cut) as reader:
        list(reader)
    assert caught.value.fault.code is FaultCode.MEDIA_UNREADABLE


def test_memory_stays_flat_over_a_longer_clip(tmp_path: Path) -> None:
    frame = numbered_frame(5, width=640, height=360)
    short = write_video(tmp_path / "short.mp4", [frame] * 40)
    long = write_video(tmp_path / "long.mp4", [frame] * 640)
    # 600 more frames of 690 KB would be 415 MB.
    assert _peak_of_reading(long) - _peak_of_reading(short) < 20_000_000


def _peak_of_reading(clip: Path) -> int:
    """Peak resident bytes of a process that reads all frames of a clip."""
    code = (
        "import resource, sys; from pathlib import Path; from gpu_tasks.media.reader import VideoReader\n"
        "with VideoReader(Path(sys.argv[1])) as reader: count = sum(1 for _ in reader)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(clip)], check=True, capture_output=True, timeout=120)
    return int(done.stdout)


def test_a_last_frame_that_is_held_is_shown_as_long_as_the_file_says(tmp_path: Path) -> None:
    times = [Fraction(number, 25) for number in range(50)]
    clip = write_stamped(tmp_path / "clip.mp4", tone(seconds=5), times=times, last_seconds=Fraction(3))
    with VideoReader(clip) as reader:
        assert (reader.info.frame_count, reader.info.duration_seconds) == (124, 4.96)
        assert [number_in(frame.pixels) for frame in reader] == [*range(50), *[49] * 74]
        assert [number_in(frame.pixels) for frame in reader.frames(48, 52)] == [48, 49, 49, 49]


@pytest.mark.parametrize(("sound", "frames"), [(2, 50), (2.2, 55), (5, 124)])
def test_a_last_frame_is_not_held_longer_than_there_is_sound(tmp_path: Path, sound: float, frames: int) -> None:
    times = [Fraction(number, 25) for number in range(50)]
    clip = write_stamped(tmp_path / "clip.mp4", tone(seconds=sound), times=times, last_seconds=Fraction(3))
    with VideoReader(clip) as reader:
        assert reader.info.frame_count == frames


@pytest.mark.parametrize("hours", [1, 5])
def test_without_sound_a_last_frame_is_not_held_for_hours(tmp_path: Path, hours: int) -> None:
    times = [Fraction(number, 25) for number in range(50)]
    clip = write_stamped(tmp_path / "clip.mp4", None, times=times, last_seconds=Fraction(3600 * hours))
    with VideoReader(clip) as reader:
        assert reader.info.frame_count == 49 + 60 * 25


def test_the_last_frame_of_a_varying_rate_is_shown_as_long_as_the_one_before_if_there_is_sound(tmp_path: Path) -> None:
    times = [Fraction(n, 30) for n in range(20)] + [Fraction(20, 30) + Fraction(n, 10) for n in range(8)]
    clip = write_stamped(tmp_path / "clip.mov", tone(seconds=44 / 30), times=times, container="mov")
    with VideoReader(clip) as reader:
        assert (reader.info.frame_count, reader.info.fps) == (44, Fraction(30))


@pytest.mark.parametrize(
    "make",
    [turned_midway, partial(spliced, parts=({}, {"colours": (9, 9, 16)}))],
    ids=["turned", "HDR"],
)
def test_a_segment_that_begins_behind_a_change_is_refused_too(tmp_path: Path, make: Maker) -> None:
    make(tmp_path / "clip.mp4")
    with VideoReader(tmp_path / "clip.mp4") as reader:
        assert len(list(reader.frames(0, 8))) == 8
        with pytest.raises(MediaError) as caught:
            list(reader.frames(15, 17))
    assert caught.value.fault.code is FaultCode.MEDIA_UNSUPPORTED
