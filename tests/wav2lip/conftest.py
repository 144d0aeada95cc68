from pathlib import Path

import pytest

from gpu_tasks.contract.manifest import manifest
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.wav2lip.neural import NeuralLips
from gpu_tasks.weights import WeightStore
from tests.bucket import bucket, object_store, store
from tests.wav2lip.clips import Clip, two_faces
from tests.wav2lip.sounds import babble, hiss
from tests.wav2lip.standins import write_checkpoint, write_onnx_standins

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
