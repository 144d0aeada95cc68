"""Long footage that costs little: a talking head, small and slow, each frame with its number; and its GPU workers."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from deployments.local.control_plane.settings import EndpointConfig
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.storage import ArtifactStore
from tests.media.footage import number_in, tone, write_sound, write_video
from tests.runpod.plane import API_KEY, RunningPlane, plane_config, running_plane
from tests.servers import to_the_bucket

SAMPLES = Path(__file__).parents[2] / "samples"
FPS = Fraction(2)
WIDTH, HEIGHT = 176, 144
IDENTITY = Path(__file__).parent / "workers" / "identity.py"
_MOST_POSES = 20


def upload_footage(store: ArtifactStore, folder: Path, *, seconds: int, poses: int = _MOST_POSES) -> dict[str, str]:
    """Upload a target of FPS frames a second and a voice as long, and return their fields of a request.

    With a single pose nothing but the number changes: frames cost next to nothing.
    """
    with VideoReader(SAMPLES / "target.mp4", stop_frame=poses) as reader:
        seen = [cv2.resize(frame.pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in reader]

    def frames() -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        for number in range(int(seconds * FPS)):
            pixels = np.asarray(seen[number % poses], dtype=np.uint8).copy()
            # As tests.media.footage.number_in reads it.
            for bit in range(10):
                pixels[:16, bit * 16 : (bit + 1) * 16] = 235 if number >> bit & 1 else 16
            yield pixels

    options = {"preset": "ultrafast", "crf": "18", "g": "20"}
    video = write_video(folder / f"long-{seconds}.mp4", frames(), fps=FPS, options=options)
    voice = write_sound(folder / f"long-{seconds}.wav", tone(seconds=seconds))
    return {
        "target_key": store.put_file(video, f"uploads/video/{video.name}", "video/mp4").key,
        "audio_key": store.put_file(voice, f"uploads/audio/{voice.name}", "audio/wav").key,
    }


def numbers_in(path: Path) -> list[int]:
    """Read the number of every frame."""
    with VideoReader(path) as reader:
        return [number_in(frame.pixels) for frame in reader]


@dataclass(frozen=True)
class Identities:
    """A control plane whose workers change nothing, and the script that they follow."""

    plane: RunningPlane
    script: Path

    def follow(self, **script: object) -> None:
        """Let the workers go by another script from now on; see workers/identity.py."""
        partial = self.script.with_suffix(".new")
        partial.write_text(json.dumps(script), encoding="utf-8")
        partial.replace(self.script)

    def environment(self) -> dict[str, str]:
        """The variables that point a deployment to these workers."""
        return {
            "RUNPOD_API_KEY": API_KEY,
            "RUNPOD_API_BASE": f"{self.plane.base_url}/v2",
            "RUNPOD_WAV2LIP_ENDPOINT": Stage.WAV2LIP.value,
            "RUNPOD_FACEFUSION_ENDPOINT": Stage.FACEFUSION.value,
        }


@contextmanager
def identity_workers(folder: Path, environment: dict[str, str], *, workers: int) -> Iterator[Identities]:
    """Run that many workers per stage."""
    script = folder / "script.json"
    script.write_text("{}", encoding="utf-8")
    endpoints = [
        EndpointConfig(
            id=stage.value,
            command=(sys.executable, str(IDENTITY), stage.value, str(script)),
            env=to_the_bucket(environment),
            min_workers=workers,
            max_workers=workers,
            idle_seconds=600,
        )
        for stage in (Stage.WAV2LIP, Stage.FACEFUSION)
    ]
    with running_plane(plane_config(folder, *endpoints)) as plane:
        yield Identities(plane, script)
