import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Quality
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from tests.media.footage import HEIGHT, WIDTH, Pixels, number_in, numbered_frame, write_video

SAMPLES = Path(__file__).parents[2] / "samples"
FPS = Fraction(30000, 1001)
# Skin, saturated red, green and blue, grey: BGR.
PATCHES = [(120, 150, 210), (30, 30, 220), (40, 200, 40), (210, 60, 40), (128, 128, 128)]


def write(path: Path, frames: list[Pixels], **how: object) -> VideoWriter:
    height, width = frames[0].shape[:2]
    with VideoWriter(path, width=width, height=height, fps=FPS, **how) as writer:  # type: ignore[arg-type]  # passed on
        for frame in frames:
            writer.write(frame)
    return writer


def patches() -> Pixels:
    return np.concatenate([np.full((64, 64, 3), colour, dtype=np.uint8) for colour in PATCHES], axis=1)


def psnr(a: Pixels, b: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def luma_chroma_709(bgr: tuple[int, int, int]) -> NDArray[np.float64]:
    """Y, Cb, Cr of limited range by ITU-R BT.709-6, written out."""
    blue, green, red = (level / 255 for level in bgr)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return np.array([16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748])


def test_every_written_frame_is_read_back_in_its_place(tmp_path: Path) -> None:
    writer = write(tmp_path / "out.mp4", [numbered_frame(i) for i in range(130)])
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert (reader.info.fps, reader.info.frame_count) == (FPS, 130)
        assert [number_in(frame.pixels) for frame in reader] == list(range(130))
    assert writer.frame_count == 130
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_the_same_frames_become_the_same_bytes_every_time(tmp_path: Path) -> None:
    # Of real footage: x264 looks ahead differently where nothing moves.
    with VideoReader(SAMPLES / "target.mp4", stop_frame=40) as reader:
        frames = [frame.pixels for frame in reader]
    for number in range(4):
        write(tmp_path / f"{number}.mp4", frames)
    assert len({(tmp_path / f"{number}.mp4").read_bytes() for number in range(4)}) == 1


def test_colours_are_converted_to_bt709_and_tagged_as_such(tmp_path: Path) -> None:
    write(tmp_path / "out.mp4", [patches()] * 3, quality=Quality.INTERMEDIATE)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
        planes = frame.to_ndarray()
    for number, colour in enumerate(PATCHES):
        column = 64 * number + 32
        chroma = planes[64:].reshape(2, 32, 160)
        stored = np.array([planes[32, column], chroma[0, 16, column // 2], chroma[1, 16, column // 2]])
        assert np.abs(stored - luma_chroma_709(colour)).max() <= 2, colour


def test_colours_survive_the_round_trip(tmp_path: Path) -> None:
    write(tmp_path / "out.mp4", [patches()] * 3, quality=Quality.INTERMEDIATE)
    with VideoReader(tmp_path / "out.mp4") as reader:
        read = next(iter(reader)).pixels
    for number, colour in enumerate(PATCHES):
        patch = read[16:48, 64 * number + 16 : 64 * number + 48].reshape(-1, 3).astype(int)
        assert np.abs(patch - np.array(colour)).max() <= 4, colour


def test_intermediates_keep_more_than_deliveries(tmp_path: Path) -> None:
    # Grey: coloured grain would mostly measure that colours have half the resolution.
    noise = np.random.default_rng(3).integers(60, 190, (90, 160, 1)).astype(np.uint8)
    grain = noise.repeat(4, axis=0).repeat(4, axis=1).repeat(3, axis=2)
    quality = {}
    for kind in Quality:
        write(tmp_path / kind, [grain] * 5, quality=kind)
        with VideoReader(tmp_path / kind) as reader:
            quality[kind] = psnr(next(iter(reader)).pixels, grain)
    assert quality[Quality.INTERMEDIATE] > quality[Quality.DELIVERY] + 1


def test_the_index_stands_in_front_of_the_media(tmp_path: Path) -> None:
    write(tmp_path / "out.mp4", [numbered_frame(1)] * 3)
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert b"moof" not in content


def test_equal_settings_give_equal_parameter_sets(tmp_path: Path) -> None:
    extradata = set()
    for name, count in (("a", 1), ("b", 70)):
        write(tmp_path / name, [numbered_frame(count)] * count)
        with av.open(str(tmp_path / name)) as container:
            extradata.add(container.streams.video[0].codec_context.extradata)
    assert len(extradata) == 1


def test_of_odd_sizes_the_last_row_and_column_are_cut(tmp_path: Path) -> None:
    writer = write(tmp_path / "out.mp4", [numbered_frame(77, width=WIDTH + 1, height=HEIGHT + 1)] * 2)
    video = probe(tmp_path / "out.mp4").video
    assert video is not None
    assert (video.width, video.height) == (writer.width, writer.height) == (WIDTH, HEIGHT)


def test_nothing_is_left_of_a_video_whose_making_failed(tmp_path: Path) -> None:
    def fail_in_the_middle() -> None:
        with VideoWriter(tmp_path / "out.mp4", width=WIDTH, height=HEIGHT, fps=FPS) as writer:
            for number in range(100):
                writer.write(numbered_frame(number))
            assert [path.name for path in tmp_path.iterdir()] == ["out.mp4.partial"]
            raise RuntimeError("the engine stopped")

    with pytest.raises(RuntimeError, match="the engine stopped"):
        fail_in_the_middle()
    assert not list(tmp_path.iterdir())


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="promised"):
        write(tmp_path / "out.mp4", [numbered_frame(0), numbered_frame(0, height=HEIGHT + 2)])


@pytest.mark.parametrize("how", [{"encoder": "libx265"}, {"encoder": "../x"}, {"preset": "warp9"}])
def test_unknown_encoders_and_presets_are_refused(tmp_path: Path, how: dict[str, str]) -> None:
    with pytest.raises(MediaError) as caught:
        write(tmp_path / "out.mp4", [numbered_frame(0)], **how)
    assert caught.value.fault.code is FaultCode.OPTION_UNSUPPORTED
    assert not list(tmp_path.iterdir())


def test_an_nvenc_encode_says_which_encoder_ran(tmp_path: Path) -> None:
    writer = write(tmp_path / "out.mp4", [numbered_frame(i) for i in range(5)], encoder="h264_nvenc")
    assert writer.encoder == ("h264_nvenc" if Path("/dev/nvidia0").exists() else "libx264")
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert [number_in(frame.pixels) for frame in reader] == list(range(5))


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    # A process that may write 200 KB per file meets the same error path as one whose disk is full.
    code = """
import resource, signal, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.writer import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
random = np.random.default_rng(1)
try:
    with VideoWriter(Path(sys.argv[1]), width=320, height=240, fps=Fraction(25)) as writer:
        for _ in range(int(sys.argv[2])):
            writer.write(random.integers(0, 255, (240, 320, 3)).astype(np.uint8))
except MediaError as error:
    print(error.fault.code)
"""
    for frame_count in ("60", "6"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "out.mp4"), frame_count],
            check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.stdout.strip() == FaultCode.DISK_FULL, done.stderr
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("height", "is_hd"), [(480, False), (1080, True)])
def test_untagged_footage_is_read_as_players_show_it(tmp_path: Path, height: int, *, is_hd: bool) -> None:
    width = height * 16 // 9 // 2 * 2
    flat = np.full((height, width, 3), PATCHES[1], dtype=np.uint8)
    # The test's own encoder neither converts nor tags: FFmpeg's default matrix is that of BT.601.
    clip = write_video(tmp_path / "untagged.mp4", [flat] * 2)
    with VideoReader(clip) as reader:
        difference = np.abs(next(iter(reader)).pixels.astype(int) - flat).max()
    assert (difference > 12) == is_hd


def test_generations_do_not_darken_the_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(7).integers(40, 215, (14, 20, 3), dtype=np.uint8)
    picture = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)
    seen: Pixels = picture.astype(np.uint8)
    for generation in range(3):
        path = tmp_path / f"{generation}.mp4"
        with VideoWriter(path, width=320, height=240, fps=Fraction(25), quality=Quality.INTERMEDIATE) as writer:
            writer.write(seen)
        with VideoReader(path) as reader:
            seen = next(iter(reader)).pixels

    difference = seen.astype(np.float64) - picture
    assert abs(difference.mean()) < 0.3
    assert 10 * np.log10(255**2 / np.mean(difference**2)) > 40
