"""What is left of a picture after the way through the stages."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.jobs import Quality, Segment, Timeline
from gpu_tasks.media.join import join
from gpu_tasks.media.playing import frames_laid_out, frames_on_timeline
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from tests.media.footage import Pixels

SAMPLE = Path(__file__).parents[2] / "samples" / "target.mp4"
FPS = Fraction(30000, 1001)
FRAMES = 12
WHOLE = Segment(start_frame=0, stop_frame=FRAMES)


def write(path: Path, frames: Iterable[Pixels], quality: Quality) -> Path:
    with VideoWriter(path, width=1280, height=720, fps=FPS, quality=quality) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def read(path: Path) -> list[Pixels]:
    with VideoReader(path) as reader:
        return [frame.pixels for frame in reader]


def psnr(one: list[Pixels], other: list[Pixels]) -> float:
    """Over all three colours, in dB."""
    errors = [float(((a.astype(np.float32) - b) ** 2).mean()) for a, b in zip(one, other, strict=True)]
    return float(10 * np.log10(255**2 / np.mean(errors)))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's face, enlarged to 720p, as a camera would have stored it."""
    with VideoReader(SAMPLE, stop_frame=FRAMES) as reader:
        frames = [np.asarray(cv2.resize(frame.pixels[:297], (1280, 720), interpolation=cv2.INTER_CUBIC), np.uint8)
                  for frame in reader]  # fmt: skip
    return write(tmp_path_factory.mktemp("generations") / "target.mp4", frames, Quality.DELIVERY)


@pytest.mark.parametrize("is_normalised", [False, True], ids=["as it is", "normalised"])
def test_two_stages_that_change_nothing_leave_at_least_40_db_of_a_720p_target(
    target: Path,
    tmp_path: Path,
    is_normalised: bool,  # noqa: FBT001  # one of the two ways through ingest
) -> None:
    source = read(target)
    if is_normalised:
        target = write(tmp_path / "ingested.mp4", source, Quality.INTERMEDIATE)
    timeline = Timeline(fps=FPS, frame_count=FRAMES, target_frame_count=FRAMES)
    lip_synced = (pixels for _, pixels in frames_on_timeline(target, timeline, WHOLE))
    synced = write(tmp_path / "synced.mp4", lip_synced, Quality.INTERMEDIATE)
    swapped = write(
        tmp_path / "swapped.mp4", (pixels for _, pixels in frames_laid_out(synced, WHOLE, WHOLE)), Quality.DELIVERY
    )
    join(
        [swapped],
        destination=tmp_path / "published.mp4",
        fps=FPS,
        audio_from=None,
        duration_seconds=timeline.duration_seconds,
    )
    assert psnr(source, read(tmp_path / "published.mp4")) >= 40
