from pathlib import Path

import pytest

from gpu_tasks.contract.manifest import manifest
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.storage import ArtifactStore
from gpu_tasks.wav2lip.neural import NeuralLips
from gpu_tasks.wav2lip.pipeline import LipSync
from gpu_tasks.weights import WeightStore
from tests.bucket import bucket, object_store, store
from tests.wav2lip.clips import TARGET, TRACKS, Clip, two_faces
from tests.wav2lip.sounds import babble, hiss, write_wav
from tests.wav2lip.standins import write_checkpoint, write_onnx_standins
from tests.wav2lip.working import Jobs, Worker

__all__ = ["bucket", "object_store", "store"]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded network in the published checkpoints' format."""
    path = tmp_path_factory.mktemp("checkpoint") / "wav2lip_custom.pth"
    write_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def weights(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> WeightStore:
    """A weights folder of stand-ins under the real manifest."""
    folder = tmp_path_factory.mktemp("weights")
    write_onnx_standins(folder)
    (folder / checkpoint.name).hardlink_to(checkpoint)
    return WeightStore(folder, manifest(), acknowledged=frozenset(manifest().licences))


@pytest.fixture(scope="session")
def lips(weights: WeightStore) -> NeuralLips:
    return NeuralLips(weights)


@pytest.fixture(scope="session")
def voice() -> Floats:
    """Speech without a pause, and hiss below it."""
    return babble(2.5) + hiss(2.5, 0.003)


@pytest.fixture(scope="session")
def clip(voice: Floats, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return two_faces(tmp_path_factory.mktemp("clip"), voice)


@pytest.fixture(scope="session")
def jobs(store: ArtifactStore, clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    voice = tmp_path_factory.mktemp("voice") / "voice.wav"
    write_wav(voice, babble(4.0))
    return Jobs(
        store,
        clip,
        target=store.put_file(clip.bench.path_of(TARGET), "uploads/video/neural.mp4", "video/mp4"),
        tracks=store.put_file(clip.bench.path_of(TRACKS), "work/ingest/neural-tracks", "application/x-tracks"),
        voice=store.put_file(voice, "uploads/audio/neural.wav", "audio/wav"),
        lengths=iter(range(4, 400)),
    )


@pytest.fixture(scope="session")
def pipeline(weights: WeightStore) -> LipSync:
    return LipSync(weights)


@pytest.fixture
def worker(store: ArtifactStore, tmp_path: Path, pipeline: LipSync) -> Worker:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Worker(store, scratch, pipeline)
