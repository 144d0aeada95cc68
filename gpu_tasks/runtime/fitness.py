"""What a worker proves before it takes its first job. One that cannot is ended by the SDK, and another takes its place.

No models: they are loaded for a job that names them, after its start is marked. No bucket: one that is away for a
moment would end every worker at once.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from gpu_tasks.contract.manifest import manifest
from gpu_tasks.media.probe import probe
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.runtime.devices import Devices
from gpu_tasks.runtime.sessions import OnnxNetwork

_SIZE: Final = 64
_CUDA: Final = "CUDAExecutionProvider"
_SMALL_NETWORK: Final = "face_mesh_468"


class UnfitError(Exception):
    """This worker must not take jobs."""


def fitness_checks(scratch: Path, models: Path) -> tuple[Callable[[], None], ...]:
    """Return the checks, each named for the SDK's log.

    Args:
        scratch: Where jobs will work.
        models: The folder of the bundled networks.
    """
    checks = (partial(encodes, scratch), partial(reaches_its_gpu, models))
    for check in checks:
        check.__name__ = check.func.__name__  # type: ignore[attr-defined]  # the SDK asks for it
    return checks


def encodes(scratch: Path) -> None:
    """Write and read a frame where jobs will.

    Raises:
        FaultError: What the media say.
        UnfitError: What was written cannot be read.
    """
    path = scratch / "fitness.mp4"
    try:
        with VideoWriter(path, width=_SIZE, height=_SIZE, fps=Fraction(25)) as writer:
            writer.write(np.zeros((_SIZE, _SIZE, 3), np.uint8))
        if probe(path).video is None:
            raise UnfitError("a frame that was encoded cannot be read")
    finally:
        path.unlink(missing_ok=True)


def reaches_its_gpu(models: Path) -> None:
    """Run nothing on a CPU where a GPU was installed for: a driver that does not fit shows only when it is used.

    Raises:
        UnfitError: The GPU cannot be used.
    """
    if _CUDA not in onnxruntime.get_available_providers():
        return
    network = OnnxNetwork(
        models / manifest().entry(_SMALL_NETWORK).file, _SMALL_NETWORK, Devices(threads=1, free_batch=False)
    )
    if not network.on_gpu:
        raise UnfitError("onnxruntime was built for CUDA and cannot use it here")
