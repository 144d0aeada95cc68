"""The networks of the face swap on the best device there is: TensorRT, CUDA or the CPU."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as states

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.facefusion.onnx_file import NotOnnxError, with_free_batch
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.runtime.sessions import check_inputs

_log = logging.getLogger(__name__)

_TENSORRT: Final = "TensorrtExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
# Names that a job may use.
PROVIDERS: Final[Mapping[str, str]] = {"tensorrt": _TENSORRT, "cuda": _CUDA, "cpu": _CPU}
_NO_NETWORK: Final = (states.InvalidProtobuf, states.InvalidGraph, states.Fail, states.NotImplemented, states.NoModel)
_NO_RUN: Final = (states.RuntimeException, states.Fail, states.InvalidArgument)
# Rows for one call where the network takes any number.
_CPU_ROWS: Final = 4
_GPU_ROWS: Final = 16
_TRIAL_ROWS: Final = 2
# Of the largest value: rounding of another order of sums, not another network.
_SAME: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Devices:
    """Where networks run.

    Attributes:
        threads: For one call on a CPU.
        engine_cache: Where TensorRT's engines are kept; None: without TensorRT.
        half_precision: TensorRT may compute in 16 bits.
        wanted: Of PROVIDERS; what is not installed is passed over, the CPU is always there.
        free_batch: Let networks that were published for one row take several; None: on a GPU, where it pays.
    """

    threads: int
    engine_cache: Path | None = None
    half_precision: bool = True
    wanted: tuple[str, ...] = ("cuda",)
    free_batch: bool | None = None

    def providers(self) -> list[str | tuple[str, dict[str, Any]]]:
        """Return what onnxruntime shall use, the best first."""
        there = set(onnxruntime.get_available_providers())
        found: list[str | tuple[str, dict[str, Any]]] = []
        on_gpu = {"cuda", "tensorrt"} & set(self.wanted)
        if on_gpu and self.engine_cache is not None and _TENSORRT in there:
            found.append((_TENSORRT, tensorrt_options(self.engine_cache, half_precision=self.half_precision)))
        if on_gpu and _CUDA in there:
            # An exhaustive search costs seconds at the first run; a job rarely lasts long enough to win them back.
            found.append((_CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}))
        return [*found, _CPU]


def tensorrt_options(cache: Path, *, half_precision: bool) -> dict[str, Any]:
    """Return TensorRT's options: engines and timings are kept and shared by all workers with this GPU."""
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(cache),
        "trt_fp16_enable": half_precision,
    }


class Net:
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
        check_inputs(self.name, self.shapes, inputs)

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
        self.on_gpu = bool({_CUDA, _TENSORRT} & set(self._session.get_providers()))
        inputs = self._session.get_inputs()
        self.shapes: dict[str, tuple[int | str, ...]] = {taken.name: tuple(taken.shape) for taken in inputs}
        self._dtypes = {taken.name: _DTYPES[taken.type] for taken in inputs if taken.type in _DTYPES}

    @property
    def _is_for_one_row(self) -> bool:
        return bool(self.shapes) and all(shape[:1] == (1,) for shape in self.shapes.values())

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
