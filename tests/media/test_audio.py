from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.audio import audio_seconds, load_mono
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.probe import probe
from tests.media.clocks import losing, write_stamped
from tests.media.footage import click, numbered_frame, tone, write_beside, write_numbered, write_sound

SOUNDS: list[dict[str, Any]] = [
    {"codec": "pcm_s16le", "container": "wav"},
    {"codec": "flac", "container": "flac"},
    {"codec": "libmp3lame", "container": "mp3"},
    {"codec": "aac", "container": "mp4"},
    {"codec": "libopus", "container": "ogg"},
    {"codec": "aac", "container": "matroska"},
    {"codec": "aac", "container": "mpegts"},
]


@pytest.mark.parametrize("how", SOUNDS, ids=lambda how: f"{how['codec']}-in-{how['container']}")
def test_sound_of_every_format_becomes_mono_of_its_exact_length(tmp_path: Path, how: dict[str, Any]) -> None:
    sound = write_sound(tmp_path / "sound", tone(seconds=1.37, channels=2), layout="stereo", **how)
    mono = load_mono(sound)
    # These two do not say how much of the last AAC block is padding; all others do.
    slack = 16_000 * 2 * 1024 // 48_000 if how["container"] in {"mpegts", "matroska"} else 24
    assert abs(len(mono) - 21_920) <= slack
    assert mono.dtype == np.float32
    assert mono.ndim == 1
    assert 0.35 < np.abs(mono).max() < 0.5
    assert audio_seconds(sound) == pytest.approx(len(mono) / 16_000, abs=1e-4)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_a_click_stays_where_it_is_at_every_rate(tmp_path: Path, rate: int) -> None:
    sound = write_sound(tmp_path / "click.wav", click(at=rate, length=2 * rate), rate=rate)
    mono = load_mono(sound)
    assert len(mono) == 32_000
    assert abs(int(np.abs(mono).argmax()) - 16_000) <= 1


def test_a_click_in_aac_is_not_late_by_the_encoder_delay(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "c.m4a", click(at=48_000, length=96_000), codec="aac", container="mp4")
    mono = load_mono(sound, sample_rate=48_000)
    assert int(np.abs(mono).argmax()) == 48_000
    assert len(mono) == 96_000


def test_six_channels_are_mixed_down(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "s.m4a", tone(seconds=1, channels=6), codec="aac", layout="5.1", container="mp4")
    info = probe(sound).audio
    assert info is not None
    assert info.channels == 6
    mono = load_mono(sound)
    assert len(mono) == 16_000
    assert 0.1 < np.abs(mono).max() <= 1.0


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    cover = tmp_path / "cover.png"
    cv2.imwrite(str(cover), numbered_frame(7))
    sound = write_sound(tmp_path / "a.mp3", tone(seconds=1), codec="libmp3lame", container="mp3", picture=cover)
    with av.open(str(sound)) as container:
        assert len(container.streams.video) == 1
    info = probe(sound)
    assert info.video is None
    assert info.audio is not None
    assert info.audio.duration_seconds == pytest.approx(1, abs=1e-3)
    assert len(load_mono(sound)) == pytest.approx(16_000, abs=24)


def test_samples_that_are_no_numbers_become_silence(tmp_path: Path) -> None:
    samples = tone(seconds=1)
    samples[0, 1000:1010] = np.nan
    samples[0, 2000] = np.inf
    samples[0, 3000] = 40.0
    sound = write_sound(tmp_path / "nan.wav", samples, codec="pcm_f32le")
    mono = load_mono(sound, sample_rate=48_000)
    assert np.isfinite(mono).all()
    assert np.abs(mono).max() == 1.0
    assert not mono[1000:1010].any()
    assert np.allclose(mono[:1000], samples[0, :1000], atol=1e-6)


def test_a_silent_video_has_no_sound_to_load(tmp_path: Path) -> None:
    clip = write_numbered(tmp_path / "v.mp4", 3)
    for load in (load_mono, audio_seconds):
        with pytest.raises(MediaError) as caught:
            load(clip)
        assert caught.value.fault.code is FaultCode.NO_AUDIO_STREAM


@pytest.mark.parametrize("late_by", [0.5, -0.25])
def test_sound_that_starts_beside_its_picture_keeps_its_distance(tmp_path: Path, late_by: float) -> None:
    # Matroska stores any start; the click comes one second after the start of the sound.
    clip = write_beside(tmp_path / "clip.mkv", click(at=48_000, length=96_000), late_by=late_by)
    mono = load_mono(clip)
    assert abs(int(np.abs(mono).argmax()) - 16_000 * (1 + late_by)) <= 16
    assert audio_seconds(clip) == pytest.approx(2 + late_by, abs=1e-3)
    assert len(mono) == pytest.approx(16_000 * (2 + late_by), abs=16)


TIMED: list[dict[str, Any]] = [
    {"codec": "libopus", "container": "matroska"},
    {"codec": "aac", "container": "mp4"},
    {"codec": "aac", "container": "mpegts"},
    {"codec": "pcm_u8", "container": "matroska"},
    {"codec": "pcm_s16le", "container": "matroska", "block": 960},
]


@pytest.mark.parametrize("how", TIMED, ids=lambda how: f"{how['codec']}-in-{how['container']}")
def test_sound_behind_a_gap_stays_where_its_clock_puts_it(tmp_path: Path, how: dict[str, Any]) -> None:
    samples = click(at=48_000, length=4 * 48_000) + click(at=3 * 48_000, length=4 * 48_000)
    clip = write_stamped(tmp_path / "clip", samples, stamp=losing(1.5, 2.5), **how)
    mono = load_mono(clip, sample_rate=48_000)
    # Matroska and MPEG-TS round times; Opus smears a click over two samples.
    heard = np.flatnonzero(np.abs(mono) > 0.3)
    assert heard.min() == pytest.approx(48_000, abs=100)
    assert heard.max() == pytest.approx(3 * 48_000, abs=100)
    assert not np.abs(mono[int(1.7 * 48_000) : int(2.4 * 48_000)]).max() > 0.01
    assert len(mono) == pytest.approx(4 * 48_000, abs=2100)
    assert audio_seconds(clip) == pytest.approx(len(mono) / 48_000, abs=1e-3)


def test_a_single_lost_packet_of_20_ms_is_noticed(tmp_path: Path) -> None:
    samples = click(at=72_000, length=96_000)
    clip = write_stamped(
        tmp_path / "clip.mkv", samples, stamp=losing(0.499, 0.501), codec="libopus", container="matroska"
    )
    assert np.abs(load_mono(clip, sample_rate=48_000)).argmax() == pytest.approx(72_000, abs=100)


def test_what_lies_over_sound_that_was_heard_is_left_out(tmp_path: Path) -> None:
    # Blocks of half a second, each said to begin 0.4 s after the one before.
    clip = write_stamped(
        tmp_path / "clip.mkv",
        click(at=62_400, length=96_000),
        stamp=lambda seconds: seconds * 0.8,
        codec="pcm_s16le",
        container="matroska",
        block=24_000,
    )
    mono = load_mono(clip, sample_rate=48_000)
    # In the third block, 0.3 s behind its begin at 0.8 s.
    assert np.abs(mono).argmax() == pytest.approx(1.1 * 48_000, abs=50)
    assert len(mono) == pytest.approx(1.7 * 48_000, abs=50)


def test_one_packet_that_is_stamped_late_is_no_gap(tmp_path: Path) -> None:
    samples = tone(seconds=2)
    clip = write_stamped(
        tmp_path / "clip.mkv",
        samples,
        stamp=lambda seconds: seconds + 0.018 * (abs(seconds - 1) < 0.001),
        codec="pcm_s16le",
        container="matroska",
        block=960,
    )
    mono = load_mono(clip, sample_rate=48_000)
    assert len(mono) == 96_000
    assert np.allclose(mono, samples[0], atol=1e-4)


def test_a_gap_of_many_minutes_is_a_broken_clock(tmp_path: Path) -> None:
    clip = write_stamped(
        tmp_path / "clip.mkv",
        tone(seconds=4),
        stamp=lambda seconds: seconds + 700 * (seconds > 2),
        codec="libopus",
        container="matroska",
        times=[Fraction(0)],
    )
    for load in (load_mono, audio_seconds):
        with pytest.raises(MediaError) as caught:
            load(clip)
        assert caught.value.fault.code is FaultCode.MEDIA_UNREADABLE
