from pathlib import Path

import pytest

from gpu_tasks.contract.manifest import manifest
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.runtime.devices import Devices
from gpu_tasks.weights import WeightStore
from tests.facefusion.clips import FRAMES, Clip, footage, two_people, unpinned, write_clip
from tests.facefusion.standins import write_standins


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> WeightStore:
    """A weights folder of stand-ins under the real manifest without its digests."""
    folder = tmp_path_factory.mktemp("weights")
    write_standins(folder)
    return WeightStore(folder, unpinned(), acknowledged=frozenset(manifest().licences))


@pytest.fixture(scope="session")
def devices() -> Devices:
    return Devices(threads=1)


@pytest.fixture(scope="session")
def engine(weights: WeightStore) -> NeuralSwap:
    return NeuralSwap(weights, FaceSwapSettings(content_models=()))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """One person."""
    return write_clip(tmp_path_factory.mktemp("clip"), footage(FRAMES))


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two people, the sample's on the left, the source picture's on the right."""
    folder: Path = tmp_path_factory.mktemp("two")
    return two_people(folder)
