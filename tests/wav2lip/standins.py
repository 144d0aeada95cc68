"""Networks that stand in for the published ones: right names, shapes and formats, weights from a seed.

What they say is noise, but it depends on every input, so that a wrong colour order, a wrong chunk of sound or a crop
from the wrong place shows in the output. `python -m tests.wav2lip.standins FOLDER` writes one of each.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gpu_tasks.wav2lip.network import Wav2Lip

SEED = 20


def seeded_network(seed: int = SEED) -> Wav2Lip:
    """Return the network as it is before folding, its normalisation fitted to random input."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Wav2Lip()
        norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for norm in norms:
            # The mean of what it has seen, not the last of it.
            norm.momentum = None
            torch.nn.init.uniform_(norm.weight, 0.7, 1.1)
            torch.nn.init.uniform_(norm.bias, -0.2, 0.2)
        with torch.no_grad():
            network.train()(torch.rand(4, 1, 80, 16) * 8 - 4, torch.rand(4, 6, 96, 96))
    return network.eval()


def write_checkpoint(path: Path, seed: int = SEED) -> None:
    """Write a seeded network as training leaves one: named as spread over GPUs, with what only training needs."""
    state = {f"module.{key}": value for key, value in seeded_network(seed).state_dict().items()}
    optimizer = {"state": {0: {"step": 7, "exp_avg": torch.zeros(8)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    torch.save({"state_dict": state, "optimizer": optimizer, "global_step": 7, "global_epoch": 1}, path)


def write_wav2lip_onnx(path: Path) -> None:
    """Write a stand-in of wav2lip_96.onnx: batch 1, `source` and `target` as published, BGR.

    The upper half is the seen face. The lower half is painted: blue by the loudness of the sound's low mels, green by
    that of its high ones, red as the seen face's lower half turned upside-down.
    """
    half = np.zeros((1, 1, 96, 96), np.float32)
    half[:, :, 48:] = 1
    graph = _Graph()
    seen = graph.slice("target", axis=1, start=3, stop=6)
    blue = graph.mean(graph.slice("source", axis=2, start=0, stop=40))
    green = graph.mean(graph.slice("source", axis=2, start=40, stop=80))
    red = graph.flipped(graph.slice(seen, axis=1, start=2, stop=3))
    zeros = graph.constant(np.zeros((1, 1, 96, 96), np.float32))
    painted = graph.node("Concat", graph.node("Add", zeros, blue), graph.node("Add", zeros, green), red, axis=1)
    below, above = graph.constant(half), graph.constant(1 - half)
    graph.node("Add", graph.node("Mul", painted, below), graph.node("Mul", seen, above), name="output")
    graph.save(path, {"source": (1, 1, 80, 16), "target": (1, 6, 96, 96)}, {"output": (1, 3, 96, 96)})


def write_edtalk_onnx(path: Path) -> None:
    """Write a stand-in of edtalk_256.onnx: RGB, red by the sound times `weight`, green and blue the seen face's."""
    graph = _Graph()
    loud = graph.node("Mul", graph.mean("source"), "weight")
    zeros = graph.constant(np.zeros((1, 1, 256, 256), np.float32))
    red = graph.node("Add", zeros, graph.node("Reshape", loud, graph.whole([1, 1, 1, 1])))
    graph.node("Concat", red, graph.slice("target", axis=1, start=1, stop=3), axis=1, name="output")
    graph.save(
        path,
        {"source": (1, 1, 80, 16), "target": (1, 3, 256, 256), "weight": (1,)},
        {"output": (1, 3, 256, 256)},
    )


def write_enhancer_onnx(path: Path, size: int = 512) -> None:
    """Write a stand-in of a face enhancer: RGB, -1..1; it shows the negative."""
    graph = _Graph()
    graph.node("Neg", "input", name="output")
    graph.save(path, {"input": (1, 3, size, size)}, {"output": (1, 3, size, size)})


def write_occluder_onnx(path: Path) -> None:
    """Write a stand-in of XSeg: what is bluer than half covers the face; rows first, BGR in 0..1."""
    graph = _Graph()
    blue = graph.slice("input", axis=3, start=0, stop=1)
    seen = graph.node("Less", blue, graph.constant(np.full((1, 1, 1, 1), 0.5, np.float32)))
    graph.node("Cast", seen, name="output", to=TensorProto.FLOAT)
    graph.save(path, {"input": (1, 256, 256, 3)}, {"output": (1, 256, 256, 1)})


class _Graph:
    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *values: str, name: str = "", **attributes: Any) -> str:  # noqa: ANN401 - what ONNX takes
        name = name or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, values, [name], **attributes))
        return name

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def whole(self, values: list[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def slice(self, value: str, *, axis: int, start: int, stop: int) -> str:
        return self.node("Slice", value, self.whole([start]), self.whole([stop]), self.whole([axis]))

    def flipped(self, value: str) -> str:
        start, stop, axis, step = (self.whole([number]) for number in (-1, -(2**31), 2, -1))
        return self.node("Slice", value, start, stop, axis, step)

    def mean(self, chunk: str) -> str:
        """Mean of a chunk from -4..4 as 0..1, (1, 1, 1, 1)."""
        mean = self.node("ReduceMean", chunk, axes=[1, 2, 3], keepdims=1)
        scaled = self.node("Mul", mean, self.constant(np.array(0.125, np.float32)))
        return self.node("Add", scaled, self.constant(np.array(0.5, np.float32)))

    def save(self, path: Path, inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]) -> None:
        graph = helper.make_graph(
            self._nodes, path.stem, [*map(_floats, inputs.items())], [*map(_floats, outputs.items())], self._constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def _floats(named: tuple[str, tuple[int, ...]]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(named[0], TensorProto.FLOAT, named[1])


def write_onnx_standins(folder: Path) -> None:
    """Write every ONNX stand-in under the name that the manifest gives it."""
    for name in ("wav2lip_96", "wav2lip_gan_96"):
        write_wav2lip_onnx(folder / f"{name}.onnx")
    write_edtalk_onnx(folder / "edtalk_256.onnx")
    write_enhancer_onnx(folder / "restoreformer_plus_plus.onnx")
    write_occluder_onnx(folder / "xseg_1.onnx")


def main() -> None:
    """Fill the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_onnx_standins(folder)
    write_checkpoint(folder / "wav2lip_custom.pth")


if __name__ == "__main__":
    main()
