"""Wav2Lip's weights: published checkpoints as they are, and our own files without what only training needs."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.replacing import appearing_whole
from gpu_tasks.wav2lip.network import Unit, Wav2Lip

# Checkpoints were saved from a network spread over several GPUs.
_SPREAD: Final = "module."
_STATE: Final = "state_dict"
# Of a safetensors file: eight bytes of length, then JSON.
_JSON_AT: Final = 8
_KIND: Final = {"format": "pt", "network": "wav2lip", "normalisation": "folded"}
# What torch raises for a file that is cut off, is no checkpoint, or holds code instead of numbers.
_UNREADABLE: Final = (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError)


def load_network(path: Path, name: str) -> Wav2Lip:
    """Load a checkpoint for inference, on the CPU, with its normalisation folded into the convolutions.

    Args:
        path: A published checkpoint (only numbers are read, never code), or what `save_network` wrote.
        name: How a fault names the model.

    Raises:
        FaultError: MODEL_CORRUPT when the file is cut off, is no checkpoint, or is that of another network; OSError
            when it cannot be read at all.
    """
    state = _state_of(path, name)
    is_folded = not any(".conv_block.1." in key for key in state)
    # Without memory at first: its numbers are those of the file.
    with torch.device("meta"):
        network = Wav2Lip()
    if is_folded:
        for unit in _units(network):
            unit.conv_block = nn.Sequential(unit.conv_block[0])
    _check(state, network.state_dict(), name)
    network.load_state_dict(state, assign=True)
    network.requires_grad_(requires_grad=False).eval()
    return network if is_folded else _folded(network)


def save_network(network: Wav2Lip, destination: Path) -> None:
    """Write a loaded network as safetensors: 145 MB instead of a checkpoint's 436, and no code in it."""
    with appearing_whole(destination) as partial:
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, partial, metadata=_KIND)


def _state_of(path: Path, name: str) -> dict[str, Tensor]:
    with path.open("rb") as file:
        is_safetensors = file.read(_JSON_AT + 1)[_JSON_AT:] == b"{"
    try:
        held = load_file(path) if is_safetensors else torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise _corrupt(name, "It is cut off or no checkpoint.") from error
    state = held.get(_STATE, held) if isinstance(held, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise _corrupt(name, "It holds no state of a network.")
    return {
        str(key).removeprefix(_SPREAD): value.float() if value.is_floating_point() else value
        for key, value in state.items()
    }


def _check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    if strange := sorted(found.keys() ^ expected.keys()):
        kind = "lacks" if strange[0] in expected else "has a strange"
        raise _corrupt(name, f"It {kind} {strange[0]}.")
    for key, tensor in expected.items():
        if found[key].shape != tensor.shape:
            raise _corrupt(name, f"{key} is {tuple(found[key].shape)}, not {tuple(tensor.shape)}.")
        if not found[key].isfinite().all():
            raise _corrupt(name, f"{key} holds what is no number.")


def _folded(network: Wav2Lip) -> Wav2Lip:
    for unit in _units(network):
        convolution, norm = cast("tuple[nn.Conv2d | nn.ConvTranspose2d, nn.BatchNorm2d]", tuple(unit.conv_block))
        is_transposed = isinstance(convolution, nn.ConvTranspose2d)
        unit.conv_block = nn.Sequential(fuse_conv_bn_eval(convolution, norm, transpose=is_transposed))
    return network


def _units(network: Wav2Lip) -> list[Unit]:
    return [module for module in network.modules() if isinstance(module, Unit)]


def _corrupt(name: str, what: str) -> FaultError:
    return FaultError(FaultCode.MODEL_CORRUPT, f"Model {name}: {what}")
