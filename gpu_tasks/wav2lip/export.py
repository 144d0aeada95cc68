"""Wav2Lip's network as safetensors or ONNX: `python -m gpu_tasks.wav2lip.export wav2lip_gan.pth wav2lip_gan.onnx`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from gpu_tasks.contract.faults import FaultError
from gpu_tasks.replacing import appearing_whole
from gpu_tasks.wav2lip.checkpoint import load_network, save_network
from gpu_tasks.wav2lip.network import SIZE, Unit, Wav2Lip

# Inputs are named as in the published exports, so that one engine runs both.
_MEL: Final = "source"
_FACE: Final = "target"
_SAID: Final = "output"
_OPSET: Final = 17
_IR_VERSION: Final = 9
_BATCH: Final = "frames"
_ARGUMENTS: Final = 2


def export(checkpoint: Path, destination: Path) -> None:
    """Write a checkpoint as `.safetensors` or `.onnx`, by the destination's name; any batch size runs.

    Raises:
        FaultError: MODEL_CORRUPT when it is no checkpoint of Wav2Lip.
        ValueError: Another kind of destination.
    """
    if destination.suffix not in {".safetensors", ".onnx"}:
        raise ValueError(f"{destination.name} is neither .safetensors nor .onnx")
    network = load_network(checkpoint, checkpoint.name)
    if destination.suffix == ".safetensors":
        save_network(network, destination)
        return
    with appearing_whole(destination) as partial:
        onnx.save(_Graph().of(network), partial)


class _Graph:
    """Writes the folded network down node by node: what it computes, not how torch came to it."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def of(self, network: Wav2Lip) -> onnx.ModelProto:
        seen, encoded = _FACE, []
        for block in network.face_encoder_blocks:
            seen = self._through(block, seen)
            encoded.append(seen)
        made = self._through(network.audio_encoder, _MEL)
        for block in network.face_decoder_blocks:
            made = self._node("Concat", self._through(block, made), encoded.pop(), axis=1)
        unit, last, _ = network.output_block
        said = self._node("Sigmoid", self._convolution(last, self._unit(unit, made)))
        self._nodes.append(helper.make_node("Identity", [said], [_SAID]))
        graph = helper.make_graph(
            self._nodes,
            "wav2lip",
            [_floats(_MEL, 1, 80, 16), _floats(_FACE, 6, SIZE, SIZE)],
            [_floats(_SAID, 3, SIZE, SIZE)],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _through(self, block: nn.Module, value: str) -> str:
        for unit in _units(block):
            value = self._unit(unit, value)
        return value

    def _unit(self, unit: nn.Module, value: str) -> str:
        if not isinstance(unit, Unit):
            raise TypeError(f"{unit} is no layer of Wav2Lip")
        made = self._convolution(unit.conv_block[0], value)
        return self._node("Relu", self._node("Add", made, value) if unit.is_residual else made)

    def _convolution(self, layer: nn.Module, value: str) -> str:
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) or layer.bias is None:
            raise TypeError(f"{layer} is no folded convolution")
        sizes: dict[str, Any] = {
            "kernel_shape": layer.kernel_size,
            "strides": layer.stride,
            "pads": [*layer.padding, *layer.padding],
        }
        weights = self._weight(layer.weight), self._weight(layer.bias)
        if isinstance(layer, nn.ConvTranspose2d):
            return self._node("ConvTranspose", value, *weights, **sizes, output_padding=layer.output_padding)
        return self._node("Conv", value, *weights, **sizes)

    def _weight(self, tensor: Tensor) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(tensor.detach().contiguous().numpy(), name))
        return name

    def _node(self, kind: str, *values: str, **attributes: Any) -> str:  # noqa: ANN401  # what ONNX takes
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, values, [name], **attributes))
        return name


def _units(block: nn.Module) -> Iterator[nn.Module]:
    yield from block.children()


def _floats(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [_BATCH, *shape])


def main() -> None:
    """Export what the command line names."""
    names = sys.argv[1:]
    if len(names) != _ARGUMENTS:
        sys.exit("usage: python -m gpu_tasks.wav2lip.export CHECKPOINT DESTINATION.safetensors|.onnx")
    try:
        export(Path(names[0]), Path(names[1]))
    except (FaultError, ValueError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
