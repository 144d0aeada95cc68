"""What a result shows and sounds like, as two digests: the same for any encoding of the same frames and samples."""

import hashlib
import tempfile
from pathlib import Path
from typing import NamedTuple

import av

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.storage import ArtifactStore


class Digests(NamedTuple):
    """SHA-256 of all decoded frames (HWC uint8 BGR) and of all decoded samples."""

    frames: str
    sound: str


def digests_of(store: ArtifactStore, artifact: Artifact) -> Digests:
    """Fetch a result, which checks its own digest, and decode it."""
    frames, sound = hashlib.sha256(), hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix="lipswap-chaos-") as folder:
        path = Path(folder) / "result.mp4"
        store.fetch(artifact, path)
        with av.open(str(path)) as opened:
            for frame in opened.decode(video=0):
                frames.update(frame.to_ndarray(format="bgr24").tobytes())
        with av.open(str(path)) as opened:
            for samples in opened.decode(audio=0):
                sound.update(samples.to_ndarray().tobytes())
    return Digests(frames.hexdigest(), sound.hexdigest())
