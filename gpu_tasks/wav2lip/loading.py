"""From a model's name to a network that has proven that it works."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.runtime.devices import Devices
from gpu_tasks.runtime.sessions import OnnxNetwork
from gpu_tasks.runtime.warm import Weights
from gpu_tasks.wav2lip.engine import LipNetwork, OnnxEdTalk, OnnxWav2Lip, TorchWav2Lip
from gpu_tasks.wav2lip.mel import CHUNK_COLUMNS, MELS

_Loader = Callable[[Path, str, int], LipNetwork]
# Of 255: less than this between what is said to two sounds and faces, and the network says nothing.
_LEAST_DIFFERENCE: Final = 0.01


def load(model_id: str, weights: Weights, *, threads: int) -> LipNetwork:
    """Load a lip-sync network and try it.

    Args:
        model_id: One of LIP_SYNCERS.
        weights: Where the models lie.
        threads: For one call on a CPU.

    Raises:
        FaultError: What the weights say of the file (missing, corrupt, licence), MODEL_CORRUPT when it holds another
            network or one that does not work, ENGINE_UNAVAILABLE when torch is needed and not installed,
            OUT_OF_MEMORY.
    """
    path = weights.path(model_id)
    network = LIP_SYNCERS[model_id](path, model_id, threads)
    _try(network, model_id)
    return network


def _wav2lip(path: Path, name: str, threads: int) -> LipNetwork:
    if path.suffix == ".onnx":
        return OnnxWav2Lip(OnnxNetwork(path, name, Devices(threads=threads)))
    try:
        from gpu_tasks.wav2lip.checkpoint import load_network  # noqa: PLC0415  # it stands on torch
    except ModuleNotFoundError as error:
        raise FaultError(
            FaultCode.ENGINE_UNAVAILABLE, f"{name} needs torch; install lipswap[wav2lip-torch]."
        ) from error
    return TorchWav2Lip(load_network(path, name), threads=threads)


def _edtalk(path: Path, name: str, threads: int) -> LipNetwork:
    return OnnxEdTalk(OnnxNetwork(path, name, Devices(threads=threads)))


# Which code runs which model; a name that is not here cannot be asked for.
LIP_SYNCERS: Final[Mapping[str, _Loader]] = {
    "edtalk_256": _edtalk,
    "wav2lip": _wav2lip,
    "wav2lip_gan": _wav2lip,
    "wav2lip_96": _wav2lip,
    "wav2lip_gan_96": _wav2lip,
    "wav2lip_custom": _wav2lip,
}


def _try(network: LipNetwork, name: str) -> None:
    """Run two frames that differ, in the shape in which jobs will run: warms up, and shows a network that is none."""
    random = np.random.default_rng(0)
    chunks = random.uniform(-4, 4, (2, MELS, CHUNK_COLUMNS)).astype(np.float32)
    crops = random.integers(0, 256, (2, network.size, network.size, 3), np.uint8)
    said = Batches(network.most_at_once).run(network.say, chunks, crops)
    if not np.isfinite(said).all() or np.abs(said[0] - said[1]).mean() < _LEAST_DIFFERENCE:
        raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {name}: It says the same whatever it hears and sees.")
