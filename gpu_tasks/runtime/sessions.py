"""ONNX networks, on the best device there is."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as states

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.runtime.devices import CUDA, TENSORRT, Devices
from gpu_tasks.runtime.onnx_file import NotOnnxError, with_free_batch

_log = logging.getLogger(__name__)

_NO_NETWORK: Final = (states.InvalidProtobuf, states.InvalidGraph, states.Fail, states.NotImplemented, states.NoModel)
_NO_RUN: Final = (states.RuntimeException, states.Fail, states.InvalidArgument)
# Rows for one call where the network takes any number.
_CPU_ROWS: Final = 4
_GPU_ROWS: Final = 16
_TRIAL_ROWS: Final = 2
# Of the largest value: rounding of another order of sums, not another network.
_SAME: Final = 1e-3


class OnnxNetwork:
    """A loaded network.

    Args:
        path: A verified file.
        name: How a fault names the model.
        devices: Where it runs.

    Attributes:
        name: As given.
        on_gpu: Whether it really runs there.
        shapes: Of the inputs, by name; an int is fixed, a str is any number.
        most_rows: For one call.
        batches: Runs any number of rows.

    Raises:
        FaultError: MODEL_CORRUPT when the file holds no network that can run.
    """

    def __init__(self, path: Path, name: str, devices: Devices) -> None:
        self.name = name
        self._devices = devices
        self._session = self._open(path)
        self._look()
        frees = self.on_gpu if devices.free_batch is None else devices.free_batch
        if frees and self._is_for_one_row:
            self._free(path)
        first = next(iter(self.shapes.values()))[0] if self.shapes else 1
        rows = _GPU_ROWS if self.on_gpu else _CPU_ROWS
        self.most_rows = first if isinstance(first, int) else rows
        # With the network, because what did not fit once will not fit the next job either.
        self.batches = Batches(self.most_rows)
        facts = {"model": name, "providers": self._session.get_providers(), "most_rows": self.most_rows}
        _log.info("session", extra={"facts": facts})

    def check(self, inputs: Mapping[str, tuple[int | str, ...]]) -> None:
        """Hold the network's inputs against those it should have; a str stands for any number.

        Raises:
            FaultError: MODEL_CORRUPT naming the first that differs.
        """
        _check_inputs(self.name, self.shapes, inputs)

    def run(self, feed: Mapping[str, NDArray[Any]], /) -> list[Floats]:
        """Return all outputs, float32, for the named inputs.

        Raises:
            MemoryError: The call could not get what memory it needs.
        """
        typed = {name: values.astype(self._dtypes.get(name, values.dtype), copy=False) for name, values in feed.items()}
        try:
            made = self._bound(typed) if self.on_gpu else self._session.run(None, typed)
        except _NO_RUN as error:
            # No type of its own for it; but with inputs as checked, memory is what a call can lack.
            raise MemoryError(self.name) from error
        return [np.asarray(output, np.float32) for output in made]

    def _bound(self, feed: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """Run with inputs copied to the device once and outputs allocated there, fetched when all are done."""
        binding = self._session.io_binding()
        for name, values in feed.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        for output in self._session.get_outputs():
            binding.bind_output(output.name, "cuda" if self.on_gpu else "cpu")
        self._session.run_with_iobinding(binding)
        made: Sequence[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return made

    def _open(self, model: Path | bytes) -> Any:  # noqa: ANN401 - onnxruntime publishes no types
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._devices.threads
        options.inter_op_num_threads = 1
        # Idle threads would otherwise burn the core that decodes and encodes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return onnxruntime.InferenceSession(model, options, providers=self._devices.providers())
        except _NO_NETWORK as error:
            raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {self.name}: It is cut off or no network.") from error

    def _look(self) -> None:
        self.on_gpu = bool({CUDA, TENSORRT} & set(self._session.get_providers()))
        inputs = self._session.get_inputs()
        self.shapes: dict[str, tuple[int | str, ...]] = {taken.name: tuple(taken.shape) for taken in inputs}
        self._dtypes = {taken.name: _DTYPES[taken.type] for taken in inputs if taken.type in _DTYPES}

    @property
    def _is_for_one_row(self) -> bool:
        # A lone number, such as an enhancer's weight, is meant for all rows together.
        return bool(self.shapes) and all(len(shape) > 1 and shape[0] == 1 for shape in self.shapes.values())

    def _free(self, path: Path) -> None:
        """Let the network take several rows, if it then says of each what it says of it alone."""
        alone, shapes = self._session, self.shapes
        random = np.random.default_rng(0)
        try:
            trial = {
                name: random.random((_TRIAL_ROWS, *_fixed(shape[1:])), np.float32) for name, shape in shapes.items()
            }
            typed = {name: values.astype(self._dtypes.get(name, np.float32)) for name, values in trial.items()}
            self._session = self._open(with_free_batch(path, frozenset(shapes)))
            together = self._session.run(None, typed)
            apart = [alone.run(None, {name: typed[name][[row]] for name in typed}) for row in range(_TRIAL_ROWS)]
            same = all(
                _alike(together[output][[row]], apart[row][output])
                for row in range(_TRIAL_ROWS)
                for output in range(len(together))
            )
        except (FaultError, NotOnnxError, *_NO_RUN) as error:
            _log.info("one row only", extra={"facts": {"model": self.name, "why": type(error).__name__}})
            same = False
        if not same:
            self._session = alone
        self._look()


_DTYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def _fixed(shape: tuple[int | str, ...]) -> tuple[int, ...]:
    if not all(isinstance(size, int) for size in shape):
        raise NotOnnxError("a size beside the batch is open")
    return tuple(size for size in shape if isinstance(size, int))


def _alike(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    difference = np.abs(one.astype(np.float64) - other)
    return bool(difference.max() <= _SAME * max(float(np.abs(other.astype(np.float64)).max()), 1e-6))


def _check_inputs(
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
