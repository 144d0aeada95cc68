from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.contract.gate import PictureInfo
from gpu_tasks.contract.media import MediaInfo, VideoInfo
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.gate import Admitted, admit_audio, admit_picture, admit_video
from gpu_tasks.media.limits import GatePolicy, MediaLimits
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.still import read_image
from gpu_tasks.media.tone import Transfer, mapped
from tests.media.clocks import losing, write_stamped
from tests.media.corpus.making import AAC, PCM, SURROUND, clip, spliced
from tests.media.corpus.pictures import PICTURE, encoded, oriented
from tests.media.corpus.sounds import wav
from tests.media.footage import click, number_in, numbered_frame, tone, write_sound, write_video

LIMITS, POLICY = MediaLimits(), GatePolicy()
HEVC_10 = {"preset": "ultrafast", "x265-params": "log-level=none:crf=4"}


def let_in(path: Path) -> Admitted:
    return admit_video(path, LIMITS, POLICY, work_dir=path.parent)


def video_of(admitted: Admitted) -> VideoInfo:
    info = cast("MediaInfo", admitted.report.info)
    assert info.video is not None
    return info.video


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    with VideoReader(path) as reader:
        return [frame.pixels for frame in reader]


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    error = float(np.mean((one.astype(float) - other) ** 2))
    return float(10 * np.log10(255**2 / max(1e-9, error)))


@pytest.mark.parametrize("mirrored", [(False, False), (True, False), (False, True)], ids=["", "x", "y"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_and_mirrored_clip_is_as_its_player_shows_it(
    tmp_path: Path, degrees: int, mirrored: tuple[bool, bool]
) -> None:
    if not degrees and mirrored == (False, False):
        pytest.skip("upright")
    path = tmp_path / "phone.mp4"
    upright = numbered_frame(389)
    # The matrix turns, then mirrors: the stored frame is the upright one with both undone, the last one first.
    stored = upright
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "4"})
        left_right, upside_down = mirrored
        if upside_down:
            stored = stored[::-1]
        if left_right:
            stored = stored[:, ::-1]
        stored = np.ascontiguousarray(np.rot90(stored, -degrees // 90))
        stream.height, stream.width = stored.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.set_display_rotation(degrees, hflip=left_right, vflip=upside_down)
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="bgr24")))
        output.mux(stream.encode(None))
    made = let_in(path)
    assert not made.report.conforms
    assert video_of(made).rotation_degrees == 0
    assert [number_in(pixels) for pixels in frames_of(made.path)] == [389] * 3


def test_a_varying_rate_keeps_every_frame_at_its_time(tmp_path: Path) -> None:
    times = [Fraction(n, 30) for n in range(30)] + [1 + Fraction(n, 10) for n in range(10)]
    path = write_video(tmp_path / "vfr.mp4", map(numbered_frame, range(40)), times=times)
    made = let_in(path)
    assert video_of(made).fps == 30
    assert [number_in(pixels) for pixels in frames_of(made.path)] == [*range(30), *(30 + n // 3 for n in range(28))]


def test_of_a_quick_clip_every_second_frame_stays(tmp_path: Path) -> None:
    path = write_video(tmp_path / "quick.mp4", map(numbered_frame, range(41)), fps=Fraction(120))
    made = let_in(path)
    assert video_of(made).fps == 60
    assert [number_in(pixels) for pixels in frames_of(made.path)] == list(range(0, 41, 2))


def test_pixels_become_square_and_frames_no_larger_than_engines_use(tmp_path: Path) -> None:
    wide = let_in(clip(tmp_path / "wide.mp4", pixel_shape=Fraction(4, 3)))
    assert (video_of(wide).width, video_of(wide).height) == (128, 64)
    narrow = let_in(clip(tmp_path / "turned.mp4", pixel_shape=Fraction(4, 3), turn=(90, False, False)))
    assert (video_of(narrow).width, video_of(narrow).height) == (64, 128)
    large = let_in(clip(tmp_path / "large.mp4", size=(3840, 2160), count=2, options={"preset": "ultrafast"}))
    assert video_of(large).width * video_of(large).height <= POLICY.working_pixels
    assert abs(video_of(large).width / video_of(large).height - 16 / 9) < 0.01
    assert (video_of(large).width % 2, video_of(large).height % 2) == (0, 0)


def test_normalising_costs_no_visible_quality(tmp_path: Path) -> None:
    clock = np.linspace(0, 9, 320)
    smooth = np.stack([np.sin(clock + shift)[None] * np.cos(clock[:240, None]) for shift in (0, 1, 2)], axis=-1)
    frame = (127 + 100 * smooth).astype(np.uint8)
    path = write_video(tmp_path / "turned.mp4", [frame] * 10, options={"crf": "4"}, rotation=180)
    before, after = frames_of(path), frames_of(let_in(path).path)
    assert min(psnr(one, other) for one, other in zip(before, after, strict=True)) > 44


def test_fields_become_whole_frames(tmp_path: Path) -> None:
    # A bright square that moves 8 pixels from field to field: combed as it is stored.
    def field(place: int) -> NDArray[np.uint8]:
        pixels = np.full((128, 192, 3), 60, dtype=np.uint8)
        pixels[32:96, 8 * place : 8 * place + 48] = 220
        return pixels

    woven = []
    for number in range(8):
        frame = field(2 * number)
        frame[1::2] = field(2 * number + 1)[1::2]
        woven.append(frame)
    path = tmp_path / "fields.mp4"
    with av.open(str(path), "w", format="mp4") as output:
        options = {"crf": "4", "x264-params": "tff=1"}
        stream = output.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv422p"
        for pixels in woven:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        output.mux(stream.encode(None))
    stored, made = frames_of(path), frames_of(let_in(path).path)
    assert len(made) == 8

    def comb(pixels: NDArray[np.uint8]) -> float:
        light = pixels[..., 1].astype(float)
        return float(np.abs(light[2:] - 2 * light[1:-1] + light[:-2]).mean())

    assert comb(made[4]) < comb(stored[4]) / 3


@pytest.mark.parametrize(("transfer", "code"), [(Transfer.HLG, 18), (Transfer.PQ, 16)])
def test_high_dynamic_range_becomes_the_picture_that_the_curves_say(
    tmp_path: Path, transfer: Transfer, code: int
) -> None:
    signals = np.array([[0.2, 0.2, 0.2], [0.38, 0.38, 0.38], [0.5, 0.42, 0.38], [0.75, 0.75, 0.75]])
    path = tmp_path / "hdr.mp4"
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("libx265", rate=25, options=HEVC_10)
        stream.width, stream.height, stream.pix_fmt = 256, 64, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, code, 1
        bars = np.repeat(np.round(signals * 65535).astype(np.uint16)[None], 64, axis=1).reshape(1, 256, 3)
        whole = np.ascontiguousarray(np.repeat(bars, 64, axis=0))
        for _ in range(3):
            rgb = av.VideoFrame.from_ndarray(whole, format="rgb48le")
            frame = rgb.reformat(format="yuv420p10le", dst_colorspace=9, dst_color_range=1)
            frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = 9, 9, code, 1
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    pixels = frames_of(let_in(path).path)[1]
    seen = pixels[32, 32::64, ::-1].astype(float)
    assert np.abs(seen - 255 * mapped(signals, transfer)).max() < 4
    # 203 cd/m2 is white in both worlds, a little below the top; what is grey stays grey.
    assert np.ptp(seen[1]) <= 2


def test_reference_white_and_mid_grey_lie_where_bt_2408_puts_them() -> None:
    pq_white, hlg_white = np.full(3, 0.5807), np.full(3, 0.75)
    assert np.allclose(mapped(pq_white, Transfer.PQ), mapped(hlg_white, Transfer.HLG), atol=0.01)
    assert 0.9 < mapped(pq_white, Transfer.PQ)[0] < 0.97
    ramp = np.repeat(np.linspace(0, 1, 256)[:, None], 3, axis=1)
    for transfer in (*Transfer, None):
        assert (np.diff(mapped(ramp, transfer)[:, 1]) > -1e-9).all()


@pytest.mark.parametrize("tracks", [(AAC,), (PCM,), (SURROUND,)], ids=["aac", "pcm", "5.1"])
@pytest.mark.parametrize("container", ["mov", "matroska", "mpegts"])
def test_sound_stays_where_it_was(tmp_path: Path, container: str, tracks: tuple) -> None:  # type: ignore[type-arg]  # of making.py
    if container == "mpegts" and tracks == (PCM,):
        pytest.skip("MPEG-TS holds no PCM")
    path = clip(tmp_path / "turned", container=container, tracks=tracks, count=25, pixel_shape=Fraction(2))
    made = let_in(path)
    assert not made.report.conforms
    before, after = load_mono(path), load_mono(made.path)
    assert abs(before.size - after.size) <= 16
    length = min(before.size, after.size)
    # The tone moves by 0.07 from one sample to the next. MPEG-TS begins between two of them.
    assert np.abs(before[:length] - after[:length]).max() < (0.04 if container == "mpegts" else 0.01)


def test_the_packets_of_an_mp4s_sound_are_not_touched(tmp_path: Path) -> None:
    path = clip(tmp_path / "turned.mp4", tracks=(SURROUND,), count=25, turn=(90, False, False))

    def packets(file: Path) -> list[bytes]:
        with av.open(str(file)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    assert packets(let_in(path).path) == packets(path)


def test_sound_that_is_no_sound_is_repaired_and_the_rest_kept(tmp_path: Path) -> None:
    samples = tone(seconds=0.5, rate=16_000)[0].copy()
    broken = samples.copy()
    broken[1000:1010] = np.nan
    (tmp_path / "upload").write_bytes(wav(broken))
    made = admit_audio(tmp_path / "upload", LIMITS, POLICY, work_dir=tmp_path)
    heard = load_mono(made.path)
    assert np.isfinite(heard).all()
    assert (heard[1000:1010] == 0).all()
    assert np.abs(heard[1010:] - samples[1010:]).max() < 1e-5


def test_a_driving_audio_of_an_odd_rate_keeps_its_length(tmp_path: Path) -> None:
    write_sound(tmp_path / "upload", tone(seconds=1, rate=192_000), rate=192_000)
    made = admit_audio(tmp_path / "upload", LIMITS, POLICY, work_dir=tmp_path)
    info = cast("MediaInfo", made.report.info)
    assert info.audio is not None
    assert (info.audio.sample_rate, info.audio.duration_seconds) == (48_000, 1.0)


@pytest.mark.parametrize("file_format", ["JPEG", "HEIF"])
def test_a_turned_picture_is_upright_for_every_reader(tmp_path: Path, file_format: str) -> None:
    stored = PICTURE.rotate(90, expand=True)
    (tmp_path / "upload").write_bytes(encoded(file_format, stored, quality=95, exif=oriented(6)))
    made = admit_picture(tmp_path / "upload", LIMITS, work_dir=tmp_path)
    info = cast("PictureInfo", made.report.info)
    assert (info.format, info.width, info.height) == ("PNG", *PICTURE.size)
    assert number_in(read_image(made.path)) == 5
    assert b"Exif" not in made.path.read_bytes()


@pytest.mark.parametrize(("codec", "container"), [("aac", "mp4"), ("libopus", "matroska")])
def test_a_gap_in_the_sound_is_silence_in_the_copy(tmp_path: Path, codec: str, container: str) -> None:
    samples = click(at=48_000, length=4 * 48_000) + click(at=3 * 48_000, length=4 * 48_000)
    path = tmp_path / "phone"
    # A frame is missing, so that it is made anew whatever the container is.
    times = [Fraction(number, 25) for number in range(100) if number != 2]
    write_stamped(path, samples, stamp=losing(1.5, 2.5), codec=codec, container=container, times=times)
    admitted = let_in(path)
    assert not admitted.report.conforms
    with av.open(str(admitted.path)) as made:
        assert made.streams.audio[0].codec_context.name == "flac"
    heard = np.flatnonzero(np.abs(load_mono(admitted.path, sample_rate=48_000)) > 0.3)
    assert (heard.min(), heard.max()) == (pytest.approx(48_000, abs=100), pytest.approx(3 * 48_000, abs=100))
    # What was filled once is sound like any other.
    assert let_in(admitted.path).report.changes == ()


def test_frames_that_are_interlaced_later_are_made_whole_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "camera.mp4"
    spliced(path, parts=({}, {"interlaced": True}))
    admitted = let_in(path)
    assert video_of(admitted).frame_count == 20
    whole = zip(frames_of(path)[:10], frames_of(admitted.path)[:10], strict=True)
    assert all(psnr(one, other) > 40 for one, other in whole)
    with av.open(str(admitted.path)) as made:
        assert not any(frame.interlaced_frame for frame in made.decode(video=0))
