"""Writes small ONNX graphs node by node."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int | str, ...]


class Graph:
    """A graph under construction; values are known by name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *values: str, name: str = "", **attributes: Any) -> str:  # noqa: ANN401 - what ONNX takes
        name = name or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, values, [name], **attributes))
        return name

    def constant(self, value: NDArray[np.generic], name: str = "") -> str:
        name = name or f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def floats(self, *values: float, shape: tuple[int, ...] = ()) -> str:
        array = np.array(values, np.float32)
        return self.constant(array.reshape(shape) if shape or len(values) == 1 else array)

    def whole(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def slice(self, value: str, *, axis: int, start: int, stop: int) -> str:
        return self.node("Slice", value, self.whole(start), self.whole(stop), self.whole(axis))

    def scaled(self, value: str, factor: str, offset: str) -> str:
        return self.node("Add", self.node("Mul", value, factor), offset)

    def mean(self, value: str, axes: list[int]) -> str:
        return self.node("ReduceMean", value, axes=axes, keepdims=1)

    def save(
        self,
        path: Path,
        inputs: dict[str, Shape],
        outputs: dict[str, Shape],
        *,
        doubles: frozenset[str] = frozenset(),
    ) -> None:
        def described(named: tuple[str, Shape]) -> onnx.ValueInfoProto:
            kind = TensorProto.DOUBLE if named[0] in doubles else TensorProto.FLOAT
            return helper.make_tensor_value_info(named[0], kind, named[1])

        graph = helper.make_graph(
            self._nodes, path.stem, [*map(described, inputs.items())], [*map(described, outputs.items())]
        )
        graph.initializer.extend(self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, path)
