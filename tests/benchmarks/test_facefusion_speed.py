"""What the neural face swap costs around its models, as a ratio to a transcode measured in the same run.

Models are stand-ins that cost next to nothing. Processor time, so that a busy machine changes little; numerator and
denominator take turns, and the best of each counts.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from gpu_tasks.contract.jobs import FaceFusionJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import FaceFusionOptions
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.weights import WeightStore
from tests.facefusion.clips import PLAIN, TARGET, Clip, footage, reopened, unpinned, write_clip
from tests.facefusion.standins import write_standins

pytestmark = pytest.mark.bench

FRAMES = 72
ROUNDS = 3
MEGABYTE = 1 << 20
SWAP = PLAIN.model_copy(update={"face_swapper_colour_match": True})
BOTH = SWAP.model_copy(update={"processors": ("face_swapper", "face_enhancer"), "face_enhancer_blend": 80})

_READY = """
import time
import gpu_tasks.facefusion.pipeline, gpu_tasks.runtime.serving
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.settings import WeightSettings
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.weights import open_weights
gpu_tasks.facefusion.pipeline.FaceSwap(NeuralSwap(open_weights(WeightSettings()), FaceSwapSettings()))
print(time.process_time())
"""
_PEAK = """
import sys
from pathlib import Path
from tests.benchmarks.test_facefusion_speed import BOTH, engine_of, long_job
engine, clip = engine_of(Path(sys.argv[1])), Path(sys.argv[2])
job, bench = long_job(clip, int(sys.argv[3]))
with engine.frames(job, bench, engine.equip(job, bench)) as (frames, _):
    print(sum(1 for _ in frames))
# Not getrusage: its peak outlives an exec, and is that of the parent.
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def engine_of(folder: Path) -> NeuralSwap:
    store = WeightStore(folder, unpinned(), acknowledged=frozenset(manifest().licences))
    return NeuralSwap(store, FaceSwapSettings(content_models=()))


def long_job(folder: Path, frame_count: int) -> tuple[FaceFusionJob, Bench]:
    """A job over a clip that was written before, looped as often as it takes."""
    clip = reopened(folder)
    return clip.job(BOTH, frame_count=frame_count), clip.bench


@pytest.fixture(scope="module", autouse=True)
def _as_the_worker_runs() -> None:
    cv2.setNumThreads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_standins(folder)
    return folder


def small(frame: Frame) -> Frame:
    """640x360; the face is about 240 pixels high."""
    return np.asarray(cv2.resize(frame[45:243], (640, 360), interpolation=cv2.INTER_CUBIC), np.uint8)


def large(frame: Frame) -> Frame:
    """1920x1080, the face about 300 pixels high, on grain as a camera has it."""
    face = cv2.resize(frame, (645, 528), interpolation=cv2.INTER_CUBIC)
    wide = np.asarray(cv2.resize(frame[45:243], (1920, 1080), interpolation=cv2.INTER_CUBIC) // 2 + 40, np.uint8)
    wide[300:828, 640:1285] = face
    return wide


def transcode_seconds(path: Path, made: Path) -> float:
    """Decode and encode with x264 veryfast, crf 18, one thread each; nothing else."""
    begun = time.process_time()
    with av.open(str(path)) as source, av.open(str(made), "w") as output:
        taken = source.streams.video[0]
        taken.codec_context.thread_count = 1
        given = output.add_stream("libx264", rate=25, options={"crf": "18", "preset": "veryfast"})
        given.width, given.height, given.pix_fmt = taken.width, taken.height, "yuv420p"
        given.codec_context.thread_count = 1
        for frame in source.decode(taken):
            # The encoder chooses its own keyframes.
            frame.pict_type = av.video.frame.PictureType.NONE
            output.mux(given.encode(frame))
        output.mux(given.encode(None))
    return time.process_time() - begun


def ratio(engine: NeuralSwap, clip: Clip, options: FaceFusionOptions, folder: Path) -> tuple[float, float, float]:
    job, bench = clip.job(options), replace(clip.bench, folder=folder)
    engine.run(job, bench)

    def swap_seconds() -> float:
        begun = time.process_time()
        engine.run(job, bench)
        return time.process_time() - begun

    rounds = [(swap_seconds(), transcode_seconds(bench.path_of(TARGET), folder / "made.mp4")) for _ in range(ROUNDS)]
    swap, transcode = (min(values) / clip.frame_count * 1000 for values in zip(*rounds, strict=True))
    return swap / transcode, swap, transcode


@pytest.mark.parametrize(
    ("what", "options", "sized", "most"),
    [
        ("swap, 640x360", SWAP, small, 2.2),
        ("swap and enhance, 640x360", BOTH, small, 3.0),
        ("swap, 1920x1080, a face of 300 px", SWAP, large, 2.0),
    ],
    ids=["swap", "swap and enhance", "1080p"],
)
def test_the_processor_time_of_a_swap_is_a_small_multiple_of_a_transcode(  # noqa: PLR0913, PLR0917 - a table
    what: str,
    options: FaceFusionOptions,
    sized: Callable[[Frame], Frame],
    most: float,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count = FRAMES if sized is small else FRAMES // 2
    clip = write_clip(tmp_path / "clip", [sized(frame) for frame in footage(count)])
    assert all(len(faces) == 1 for faces in clip.meshes(clip.job()))
    found, swap, transcode = ratio(engine_of(weights), clip, options, tmp_path)
    with capsys.disabled():
        print(f"\n{what}: {swap:.1f} ms a frame, transcode {transcode:.1f} ms: {found:.2f}x, at most {most}x")  # noqa: T201 - a benchmark's figures are its output
    assert found <= most


def test_memory_does_not_grow_with_the_length_of_a_clip(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "clip", [small(frame) for frame in footage(24)])
    peaks = []
    for count in (60, 600):
        arguments = (sys.executable, "-c", _PEAK, str(weights), str(tmp_path / "clip"), str(count))
        done = subprocess.run(arguments, capture_output=True, check=True, timeout=240, text=True)
        frames, peak_kilobytes = map(int, done.stdout.split()[-2:])
        assert frames == count
        peaks.append(peak_kilobytes / 1024)
    with capsys.disabled():
        print(f"\npeak memory: {peaks[0]:.0f} MB for 60 frames, {peaks[1]:.0f} MB for 600")  # noqa: T201 - the same
    # A tenth of what the frames themselves would take.
    assert peaks[1] - peaks[0] < 0.1 * 540 * 640 * 360 * 3 / MEGABYTE


def test_a_worker_is_ready_in_less_than_five_seconds_of_processor_time(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run((sys.executable, "-c", _READY), capture_output=True, check=True, timeout=120, text=True)
    seconds = float(done.stdout.split()[-1])
    with capsys.disabled():
        print(f"\nimport to ready: {seconds:.2f} CPU s")  # noqa: T201 - the same
    assert seconds < 5
