"""Where networks run: TensorRT, CUDA or the CPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnxruntime

TENSORRT: Final = "TensorrtExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
# Names that a job may use.
PROVIDERS: Final[Mapping[str, str]] = {"tensorrt": TENSORRT, "cuda": CUDA, "cpu": _CPU}


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
        if on_gpu and self.engine_cache is not None and TENSORRT in there:
            found.append((TENSORRT, tensorrt_options(self.engine_cache, half_precision=self.half_precision)))
        if on_gpu and CUDA in there:
            # An exhaustive search costs seconds at the first run; a job rarely lasts long enough to win them back.
            found.append((CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}))
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
