"""What a neural lip-sync costs beside its network and a plain transcode, and how much memory a long one takes."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from gpu_tasks.contract.jobs import Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import Wav2LipOptions
from gpu_tasks.media.playing import frames_on_timeline
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.wav2lip.engine import LipNetwork
from gpu_tasks.wav2lip.loading import load
from gpu_tasks.wav2lip.pipeline import LipSync
from gpu_tasks.weights import WeightStore
from tests.wav2lip.clips import SAMPLES, TARGET, Clip, clip_of
from tests.wav2lip.sounds import babble
from tests.wav2lip.standins import write_checkpoint, write_wav2lip_onnx

pytestmark = pytest.mark.bench

WIDTH, HEIGHT = 640, 360
TARGET_FRAMES = 40
JOB_FRAMES = 48
ROUNDS = 3
CHECKPOINT = Wav2LipOptions(lip_syncer_model="wav2lip_custom", enhancer="none")
MINUTE = 60


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> WeightStore:
    folder = tmp_path_factory.mktemp("weights")
    write_checkpoint(folder / "wav2lip_custom.pth")
    write_wav2lip_onnx(folder / "wav2lip_96.onnx")
    return WeightStore(folder, manifest(), acknowledged=frozenset(manifest().licences))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    with VideoReader(SAMPLES / "target.mp4", stop_frame=TARGET_FRAMES) as reader:
        frames = [
            np.asarray(cv2.resize(frame.pixels[60:357], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
            for frame in reader
        ]
        return clip_of(tmp_path_factory.mktemp("clip"), frames, reader.info.fps, babble(JOB_FRAMES / 29))


def test_a_job_costs_little_more_than_its_network_and_a_transcode(weights: WeightStore, clip: Clip) -> None:
    pipeline, job = LipSync(weights), clip.job(JOB_FRAMES, options=CHECKPOINT)
    network = load("wav2lip_custom", weights, threads=clip.bench.threads)
    pipeline.run(job, clip.bench)
    ratios = []
    # In a thread beside the main one, as in a job: OpenMP spins in the only thread of a process, and pays for it.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run_bare, network).result()
        for _ in range(ROUNDS):
            bare = cpu_seconds(lambda: pool.submit(run_bare, network).result()) + cpu_seconds(
                lambda: transcode(clip, job)
            )
            whole = cpu_seconds(lambda: pipeline.run(job, clip.bench))
            ratios.append(whole / bare)
    ratio, each = statistics.median(ratios), 1000 * whole / JOB_FRAMES
    print(f"\n{WIDTH}x{HEIGHT}, one face, CPU: {ratio:.3f} of network and transcode, {each:.0f} ms a frame")  # noqa: T201  # a benchmark is read
    assert ratio <= 1.15


def run_bare(network: LipNetwork) -> None:
    random = np.random.default_rng(1)
    chunks = random.uniform(-4, 4, (JOB_FRAMES, 80, 16)).astype(np.float32)
    crops = random.integers(0, 256, (JOB_FRAMES, network.size, network.size, 3), np.uint8)
    Batches(network.most_at_once).run(network.say, chunks, crops)


def transcode(clip: Clip, job: Wav2LipJob) -> None:
    path = clip.bench.folder / "transcoded.mp4"
    played = frames_on_timeline(clip.bench.path_of(TARGET), job.timeline, job.frames)
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=clip.fps, quality=job.quality) as writer:
        for _, pixels in played:
            writer.write(pixels)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of all threads: others share the machine's wall time with us."""
    before = time.process_time()
    work()
    return time.process_time() - before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's own peak")
def test_ten_minutes_take_hardly_more_memory_than_one(weights: WeightStore, tmp_path: Path) -> None:
    # With a network of no weight, which makes what the frames and the sound take the larger part.
    peaks = [_peak_megabytes(weights.folder, minutes, tmp_path / str(minutes)) for minutes in (1, 10)]
    print(f"\npeak of 1 and 10 minutes: {peaks[0]:.0f} and {peaks[1]:.0f} MB")  # noqa: T201  # a benchmark is read
    assert peaks[1] <= 1.10 * peaks[0]


def _peak_megabytes(weights: Path, minutes: int, folder: Path) -> float:
    """Run a job of so many minutes in a process of its own."""
    command = [sys.executable, "-m", "tests.wav2lip.long_job", str(weights), str(minutes * MINUTE), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=1200)
    return float(json.loads(done.stdout)["peak_megabytes"])
