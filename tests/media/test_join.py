import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.join import join
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.timeline import plan_timeline
from gpu_tasks.media.writer import VideoWriter
from tests.media.clocks import losing, write_stamped
from tests.media.footage import HEIGHT, WIDTH, click, number_in, numbered_frame, tone, write_numbered, write_sound

FPS = Fraction(30000, 1001)


def write_part(path: Path, numbers: range, **how: object) -> Path:
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=FPS, **how) as writer:  # type: ignore[arg-type]  # passed on
        for number in numbers:
            writer.write(numbered_frame(number))
    return path


def write_parts(folder: Path, *bounds: int) -> list[Path]:
    edges = itertools.pairwise(bounds)
    return [write_part(folder / f"part-{start}.mp4", range(start, stop)) for start, stop in edges]


def seconds_of(frame_count: int) -> float:
    return float(frame_count / FPS)


def audio_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


# A part of one frame reorders nothing, its neighbours do: their decoding times must not collide.
@pytest.mark.parametrize("bounds", [(0, 200), (0, 70, 71, 140, 200), (0, 1, 2, 200), (0, 137, 200)], ids=str)
def test_joined_parts_are_the_frames_of_the_whole_at_exact_times(tmp_path: Path, bounds: tuple[int, ...]) -> None:
    whole = tmp_path / "whole.mp4"
    parts = write_parts(tmp_path, *bounds)
    info = join(parts, destination=whole, fps=FPS, audio_from=None, duration_seconds=seconds_of(200))
    assert info.video is not None
    assert (info.video.frame_count, info.video.fps, info.audio) == (200, FPS, None)
    with av.open(str(whole)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        times = [frame.pts * stream.time_base for frame in container.decode(stream) if frame.pts is not None]
    assert times == [i / FPS for i in range(200)]
    with VideoReader(whole) as reader:
        assert [number_in(frame.pixels) for frame in reader] == list(range(200))
    with VideoReader(whole, start_frame=138, stop_frame=143) as reader:
        assert [number_in(frame.pixels) for frame in reader] == list(range(138, 143))
    content = whole.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_sound_lies_under_the_picture_without_encoder_delay(tmp_path: Path, rate: int) -> None:
    parts = write_parts(tmp_path, 0, 60)
    sound = write_sound(tmp_path / "click.wav", click(at=rate, length=2 * rate), rate=rate)
    info = join(parts, destination=tmp_path / "o.mp4", fps=FPS, audio_from=sound, duration_seconds=seconds_of(60))
    assert info.audio is not None
    assert (info.audio.codec, info.audio.sample_rate, info.audio.channels) == ("aac", 48_000, 1)
    mono = load_mono(tmp_path / "o.mp4", sample_rate=48_000)
    assert abs(int(np.abs(mono).argmax()) - 48_000) <= (0 if rate == 48_000 else 3)


@pytest.mark.parametrize("audio_seconds", [0.5, 2.0, 5.0])
def test_sound_is_cut_or_filled_to_the_length_of_the_picture(tmp_path: Path, audio_seconds: float) -> None:
    parts = write_parts(tmp_path, 0, 60)
    sound = write_sound(tmp_path / "t.wav", tone(seconds=audio_seconds, channels=2), layout="stereo")
    info = join(parts, destination=tmp_path / "o.mp4", fps=FPS, audio_from=sound, duration_seconds=seconds_of(60))
    assert info.audio is not None
    assert info.audio.channels == 2
    assert info.audio.duration_seconds == pytest.approx(seconds_of(60), abs=1 / 48_000)
    mono = load_mono(tmp_path / "o.mp4", sample_rate=48_000)
    sounding = int(min(audio_seconds, 2.0) * 48_000) - 2_000
    assert np.abs(mono[sounding - 2_000 : sounding]).max() > 0.3
    assert np.abs(mono[sounding + 4_000 :]).max(initial=0) < 0.01 or audio_seconds >= 2


def test_an_aac_track_that_fits_is_copied(tmp_path: Path) -> None:
    parts = write_parts(tmp_path, 0, 60)
    sound = write_sound(tmp_path / "t.m4a", tone(seconds=2.0, rate=44_100), rate=44_100, codec="aac", container="mp4")
    join(parts, destination=tmp_path / "o.mp4", fps=FPS, audio_from=sound, duration_seconds=seconds_of(60))
    assert audio_packets(tmp_path / "o.mp4") == audio_packets(sound)
    assert len(load_mono(tmp_path / "o.mp4")) == len(load_mono(sound))


def test_segmented_and_whole_results_have_the_same_sound(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "t.wav", tone(seconds=6.6))
    for name, bounds in (("a", (0, 200)), ("b", (0, 70, 140, 200))):
        (tmp_path / name).mkdir()
        parts = write_parts(tmp_path / name, *bounds)
        destination = tmp_path / f"{name}.mp4"
        join(parts, destination=destination, fps=FPS, audio_from=sound, duration_seconds=seconds_of(200))
    assert audio_packets(tmp_path / "a.mp4") == audio_packets(tmp_path / "b.mp4")


@pytest.mark.parametrize("sync_mode", SyncMode)
@pytest.mark.parametrize("audio_seconds", [2.3, 7.7])
def test_in_every_mode_sound_is_cut_or_filled_to_the_sample_and_the_same_for_any_segments(
    tmp_path: Path, sync_mode: SyncMode, audio_seconds: float
) -> None:
    sound = write_sound(tmp_path / "t.wav", tone(seconds=audio_seconds), rate=48_000)
    target = VideoInfo(width=WIDTH, height=HEIGHT, fps=FPS, frame_count=150, duration_seconds=5.005, codec="h264")
    timeline = plan_timeline(target, audio_seconds, sync_mode)
    count, packets = timeline.frame_count, []
    for bounds in ((0, count), (0, 13, 14, count - 5, count)):
        destination = tmp_path / f"{len(bounds)}.mp4"
        join(
            write_parts(tmp_path, *bounds),
            destination=destination,
            fps=FPS,
            audio_from=sound,
            duration_seconds=timeline.duration_seconds,
        )
        packets.append(audio_packets(destination))
        mono = load_mono(destination, sample_rate=48_000)
        assert len(mono) == timeline.sample_count(48_000)
        end = round(min(audio_seconds, timeline.duration_seconds) * 48_000)
        assert np.abs(mono[end - 3_000 : end - 500]).max() > 0.3
        assert np.abs(mono[end + 3_000 :]).max(initial=0) < 0.01
    assert packets[0] == packets[1]


def test_a_trimmed_targets_own_sound_begins_with_its_first_frame(tmp_path: Path) -> None:
    start = 45 / FPS
    sound = write_sound(
        tmp_path / "t.m4a", click(at=round(start * 48_000) + 24_000, length=240_000), codec="aac", container="mp4"
    )
    parts, seconds = write_parts(tmp_path, 0, 60), seconds_of(60)
    destination = tmp_path / "o.mp4"
    join(parts, destination=destination, fps=FPS, audio_from=sound, duration_seconds=seconds, audio_start_seconds=start)
    mono = load_mono(destination, sample_rate=48_000)
    assert len(mono) == round(60 / FPS * 48_000)
    assert abs(int(np.abs(mono).argmax()) - 24_000) <= 1
    after = tmp_path / "after.mp4"
    join(parts, destination=after, fps=FPS, audio_from=sound, duration_seconds=seconds, audio_start_seconds=Fraction(9))
    assert not load_mono(after).any()


@pytest.mark.parametrize("how", [{"preset": "medium"}, {"fps": Fraction(25)}, {"width": WIDTH * 2}], ids=str)
def test_parts_of_different_settings_are_refused(tmp_path: Path, how: dict[str, object]) -> None:
    settings = {"width": WIDTH, "height": HEIGHT, "fps": FPS} | how
    part = tmp_path / "other.mp4"
    with VideoWriter(part, **settings) as writer:  # type: ignore[arg-type]  # each of its own type
        for number in range(10):
            writer.write(numbered_frame(number, width=writer.width))
    parts = [*write_parts(tmp_path, 0, 10), part]
    with pytest.raises(MediaError) as caught:
        join(parts, destination=tmp_path / "o.mp4", fps=FPS, audio_from=None, duration_seconds=seconds_of(20))
    assert caught.value.fault.code in {FaultCode.MEDIA_UNSUPPORTED, FaultCode.MEDIA_UNREADABLE}
    assert not list(tmp_path.glob("o.mp4*"))


def test_parts_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    parts = write_parts(tmp_path, 0, 10, 20)
    with pytest.raises(MediaError) as caught:
        join(parts, destination=tmp_path / "o.mp4", fps=FPS, audio_from=None, duration_seconds=seconds_of(30))
    assert caught.value.fault.code is FaultCode.RESULT_MISSING


def test_a_missing_sound_is_named_and_leaves_no_silent_result(tmp_path: Path) -> None:
    parts = write_parts(tmp_path, 0, 10)
    silent = write_numbered(tmp_path / "silent.mp4", 3)
    with pytest.raises(MediaError) as caught:
        join(parts, destination=tmp_path / "o.mp4", fps=FPS, audio_from=silent, duration_seconds=seconds_of(10))
    assert caught.value.fault.code is FaultCode.AUDIO_MERGE_FAILED
    assert not list(tmp_path.glob("o.mp4*"))


def test_a_track_with_a_gap_is_encoded_so_that_no_player_has_to_guess(tmp_path: Path) -> None:
    frame_count = 120
    part = write_part(tmp_path / "part.mp4", range(frame_count))
    samples = click(at=48_000, length=4 * 48_000) + click(at=3 * 48_000, length=4 * 48_000)
    sound = write_stamped(tmp_path / "sound.mp4", samples, stamp=losing(1.5, 2.5))
    whole = tmp_path / "whole.mp4"
    join([part], destination=whole, fps=FPS, audio_from=sound, duration_seconds=seconds_of(frame_count))
    with av.open(str(whole)) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(audio=0) if packet.pts is not None]
    assert max(np.diff(times)) == pytest.approx(1024 / 48_000, abs=1e-6)
    heard = np.flatnonzero(np.abs(load_mono(whole, sample_rate=48_000)) > 0.3)
    assert (heard.min(), heard.max()) == (pytest.approx(48_000, abs=5), pytest.approx(3 * 48_000, abs=5))
