"""A long job in a process of its own: `python -m tests.wav2lip.long_job WEIGHTS SECONDS FOLDER` prints its peak."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import Wav2LipOptions
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.wav2lip.pipeline import LipSync
from gpu_tasks.weights import WeightStore
from tests.wav2lip.clips import SAMPLES, clip_of
from tests.wav2lip.sounds import babble

_TARGET_FRAMES = 100
_PERIOD_SECONDS = 10
_KILOBYTES = 1024


def main() -> None:
    """Make the clip, run the job, print the peak of both."""
    weights, seconds, folder = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    with VideoReader(SAMPLES / "target.mp4", stop_frame=_TARGET_FRAMES) as reader:
        frames = [np.asarray(cv2.resize(frame.pixels, (264, 216)), np.uint8) for frame in reader]
        clip = clip_of(folder, frames, reader.info.fps, babble(_PERIOD_SECONDS), repeated=seconds // _PERIOD_SECONDS)
    del frames
    job = clip.job(int(seconds * clip.fps), options=Wav2LipOptions(lip_syncer_model="wav2lip_96", enhancer="none"))
    store = WeightStore(weights, manifest(), acknowledged=frozenset(manifest().licences))
    product = LipSync(store).run(job, clip.bench)
    # Not what getrusage tells: that begins with what the parent had taken when it started this process.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / _KILOBYTES
    print(json.dumps({"peak_megabytes": peak, "frames": product.faces.frames_looked_at}))  # noqa: T201  # its answer


if __name__ == "__main__":
    main()
