"""ONNX networks on the best device there is, chosen once for a process."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as states

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.faces.arrays import Floats

_log = logging.getLogger(__name__)

_CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
# An exhaustive search costs seconds at the first run; a job rarely lasts long enough to win them back.
_CUDA_OPTIONS: Final = {"cudnn_conv_algo_search": "HEURISTIC"}
_NO_NETWORK: Final = (states.InvalidProtobuf, states.InvalidGraph, states.Fail, states.NotImplemented, states.NoModel)


class OnnxNetwork:
    """A loaded network.

    Args:
        path: A verified file.
        name: How a fault names the model.
        threads: For one call on a CPU.

    Attributes:
        on_gpu: Whether it really runs there.
        shapes: Of the inputs, by name; an int is fixed, a str is any number.

    Raises:
        FaultError: MODEL_CORRUPT when the file holds no network that can run.
    """

    def __init__(self, path: Path, name: str, *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Idle threads would otherwise burn the core that decodes and encodes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=list(_providers()))
        except _NO_NETWORK as error:
            raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {name}: It is cut off or no network.") from error
        self._name = name
        self.on_gpu = _CUDA in self._session.get_providers()
        self.shapes: dict[str, tuple[int | str, ...]] = {
            taken.name: tuple(taken.shape) for taken in self._session.get_inputs()
        }
        _log.info("session", extra={"facts": {"model": name, "providers": self._session.get_providers()}})

    def check(self, inputs: Mapping[str, tuple[int | str, ...]]) -> None:
        """Hold the network's inputs against those it should have; a str stands for any number.

        Raises:
            FaultError: MODEL_CORRUPT naming the first that differs.
        """
        check_inputs(self._name, self.shapes, inputs)

    def run(self, output_names: Sequence[str] | None, feed: Mapping[str, NDArray[Any]], /) -> list[Floats]:
        """Return the named outputs, or all of them, for the named inputs.

        Raises:
            MemoryError: The call could not get what memory it needs.
        """
        try:
            made: list[Floats] = self._session.run(output_names, feed)
        except (states.RuntimeException, states.Fail) as error:
            # No type of its own for it; but with inputs as checked, memory is what a call can lack.
            raise MemoryError(self._name) from error
        return [np.asarray(output, np.float32) for output in made]


def check_inputs(
    model: str, found: Mapping[str, tuple[int | str, ...]], wanted: Mapping[str, tuple[int | str, ...]]
) -> None:
    """Hold the inputs of a loaded network against those it should have; a str stands for any number.

    Raises:
        FaultError: MODEL_CORRUPT naming the first that differs.
    """
    for name, shape in wanted.items():
        taken = found.get(name)
        if taken is None or len(taken) != len(shape) or any(map(_differ, taken, shape)):
            what = f"Its input {name} is {taken}, not {shape}." if taken else f"It has no input {name}."
            raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {model}: {what}")


def _differ(found: int | str, wanted: int | str) -> bool:
    return isinstance(found, int) and isinstance(wanted, int) and found != wanted


@cache
def _providers() -> tuple[str | tuple[str, Mapping[str, str]], ...]:
    return ((_CUDA, _CUDA_OPTIONS), _CPU) if _CUDA in onnxruntime.get_available_providers() else (_CPU,)
