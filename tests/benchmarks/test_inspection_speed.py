"""What an inspection costs, in CPU seconds per second of video, and whether its memory grows with the video."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.quality import Thresholds
from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.quality.inspection import inspect_video
from tests.quality.footage import FPS, SAMPLES, spoken, syllables, write_clip

pytestmark = pytest.mark.bench

SECONDS = 6
_MEASURE = """
import sys
from pathlib import Path
from gpu_tasks.contract.quality import Thresholds
from gpu_tasks.draft.models import face_models
from gpu_tasks.quality.inspection import inspect_video
clip = Path(sys.argv[1])
inspect_video(clip, face_models().detector, target=clip, thresholds=Thresholds())
# Not ru_maxrss: that begins with the peak of the process that forked.
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def sample_at(width: int, height: int, count: int) -> Iterator[Frame]:
    """The sample's frames in the middle of a larger, grey frame, again and again."""
    with VideoReader(SAMPLES / "target.mp4") as reader:
        frames = [frame.pixels for frame in reader]
    for number in range(count):
        picture = np.full((height, width, 3), 90, np.uint8)
        shown = frames[number % len(frames)]
        across = round(shown.shape[1] * height / shown.shape[0])
        left = (width - across) // 2
        picture[:, left : left + across] = cv2.resize(shown, (across, height))
        yield picture


@pytest.mark.parametrize(("width", "height", "most"), [(640, 360, 0.5), (1280, 720, 1.0)])
def test_an_inspection_takes_less_cpu_than_the_video_lasts(
    tmp_path: Path, width: int, height: int, most: float
) -> None:
    count = SECONDS * int(FPS)
    target = write_clip(tmp_path / "target.mp4", sample_at(width, height, count))
    result = write_clip(tmp_path / "result.mp4", sample_at(width, height, count), spoken(syllables(count)))
    detector = face_models().detector
    before = time.process_time()
    inspect_video(result, detector, target=target, sources=[SAMPLES / "source.jpg"], thresholds=Thresholds())
    ratio = (time.process_time() - before) / SECONDS
    print(f"\ninspection, {width}x{height}, 25 fps: {ratio:.2f} CPU seconds per second")  # noqa: T201  # a benchmark is read
    assert ratio <= most


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    peaks = []
    for seconds in (4, 24):
        count = seconds * int(FPS)
        clip = write_clip(tmp_path / f"{seconds}.mp4", sample_at(640, 360, count), spoken(syllables(count)))
        ran = subprocess.run([sys.executable, "-c", _MEASURE, str(clip)], capture_output=True, text=True, check=True)
        peaks.append(int(ran.stdout) / 1024)
    print(f"\ninspection, peak memory: {peaks[0]:.0f} MB for 4 s, {peaks[1]:.0f} MB for 24 s")  # noqa: T201  # a benchmark is read
    assert peaks[1] - peaks[0] < 60
