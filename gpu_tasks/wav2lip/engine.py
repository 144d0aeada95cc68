"""Lip-sync networks behind one interface: what is heard and aligned faces in, the faces saying it out.

torch is loaded only when a network needs it: the published ONNX files run without.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats
from gpu_tasks.runtime.sessions import OnnxNetwork

if TYPE_CHECKING:
    from torch import Tensor

    from gpu_tasks.wav2lip.network import Wav2Lip

# Four fill two cores as well as more do (measured), and a stop is heard after each batch.
_CPU_BATCH: Final = 4
_GPU_BATCH: Final = 32
_WAV2LIP_SIZE: Final = 96
_EDTALK_SIZE: Final = 256


class Alignment(StrEnum):
    """How a network's crops lie on a face."""

    FACE = "face"
    FFHQ = "ffhq"


class LipNetwork(Protocol):
    """A loaded network.

    Attributes:
        size: Of the crops' side, pixels.
        alignment: How the crops lie.
        most_at_once: Frames for one call.
        on_gpu: Whether it runs there.
    """

    @property
    def size(self) -> int: ...

    @property
    def alignment(self) -> Alignment: ...

    @property
    def most_at_once(self) -> int: ...

    @property
    def on_gpu(self) -> bool: ...

    def say(self, chunks: Floats, crops: NDArray[np.uint8]) -> Floats:
        """Return the faces saying what is heard.

        Args:
            chunks: (n, 80, 16) float32, -4..4; n at most `most_at_once`.
            crops: (n, size, size, 3) uint8 BGR.

        Returns:
            (n, size, size, 3) float32 BGR, 0..255.

        Raises:
            MemoryError: So many do not fit.
        """
        ...


class TorchWav2Lip:
    """Wav2Lip's checkpoints, in torch: half precision on a GPU.

    Args:
        network: Folded, in evaluation mode.
        threads: On a CPU.
    """

    size: Final = _WAV2LIP_SIZE
    alignment: Final = Alignment.FACE

    def __init__(self, network: "Wav2Lip", *, threads: int) -> None:
        import torch  # noqa: PLC0415  # a worker without checkpoints lives without it

        self._torch = torch
        self.on_gpu = torch.cuda.is_available()
        self._device = torch.device("cuda" if self.on_gpu else "cpu")
        self._dtype = torch.float16 if self.on_gpu else torch.float32
        torch.set_num_threads(threads)
        self.most_at_once = _GPU_BATCH if self.on_gpu else _CPU_BATCH
        # Channels last: 8 % less time on a CPU (measured), and what tensor cores want.
        self._network = network.to(self._device, self._dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its annotations

    def say(self, chunks: Floats, crops: NDArray[np.uint8]) -> Floats:
        torch = self._torch
        try:
            with torch.inference_mode():
                said = self._network(*self._prepare(chunks, crops))
                return np.asarray((said.float() * 255).permute(0, 2, 3, 1).cpu().numpy(), np.float32)
        except torch.OutOfMemoryError as error:
            raise MemoryError("wav2lip") from error
        except RuntimeError as error:
            # The CPU's allocator has no type of its own; shapes are those that the trial at loading ran with.
            if type(error) is RuntimeError:
                raise MemoryError("wav2lip") from error
            raise

    def _prepare(self, chunks: Floats, crops: NDArray[np.uint8]) -> "tuple[Tensor, Tensor]":
        # Bytes are moved, numbers are made where the network is.
        torch = self._torch
        face = torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2).to(self._dtype) / 255
        seen = torch.cat((face, face), dim=1).contiguous(memory_format=torch.channels_last)
        seen[:, :3, self.size // 2 :] = 0
        return torch.from_numpy(chunks)[:, None].to(self._device, self._dtype), seen


class OnnxWav2Lip:
    """Wav2Lip as ONNX: the published wav2lip_96 and wav2lip_gan_96, one frame at a time, or our own export.

    Args:
        network: Takes `source`, (n, 1, 80, 16), and `target`, (n, 6, 96, 96) BGR, 0..1.
    """

    size: Final = _WAV2LIP_SIZE
    alignment: Final = Alignment.FACE

    def __init__(self, network: OnnxNetwork) -> None:
        network.check({"source": ("n", 1, 80, 16), "target": ("n", 6, self.size, self.size)})
        self._network = network
        self.on_gpu = network.on_gpu
        self.most_at_once = _most_at_once(network)

    def say(self, chunks: Floats, crops: NDArray[np.uint8]) -> Floats:
        face = _planes(crops)
        lower = face.copy()
        lower[:, :, self.size // 2 :] = 0
        feed = {"source": chunks[:, None], "target": np.concatenate([lower, face], axis=1)}
        return _frames(self._network.run(feed)[0])


class OnnxEdTalk:
    """EDTalk's lip generator, edtalk_256: RGB, whole face, aligned as FFHQ.

    Args:
        network: Takes `source`, (n, 1, 80, 16), `target`, (n, 3, 256, 256) RGB, 0..1, and `weight`, (1,).
    """

    size: Final = _EDTALK_SIZE
    alignment: Final = Alignment.FFHQ

    # As strong as it was trained; less moves the lips less.
    _WEIGHT: Final = np.ones(1, np.float32)

    def __init__(self, network: OnnxNetwork) -> None:
        network.check(
            {"source": ("n", 1, 80, 16), "target": ("n", 3, self.size, self.size), "weight": (1,)},
        )
        self._network = network
        self.on_gpu = network.on_gpu
        self.most_at_once = _most_at_once(network)

    def say(self, chunks: Floats, crops: NDArray[np.uint8]) -> Floats:
        face = np.ascontiguousarray(_planes(crops)[:, ::-1])
        feed = {"source": chunks[:, None], "target": face, "weight": self._WEIGHT}
        return np.ascontiguousarray(_frames(self._network.run(feed)[0])[..., ::-1])


def _most_at_once(network: OnnxNetwork) -> int:
    fixed = network.shapes["source"][0]
    if isinstance(fixed, int):
        return fixed
    return _GPU_BATCH if network.on_gpu else _CPU_BATCH


def _planes(crops: NDArray[np.uint8]) -> Floats:
    """(n, size, size, 3) uint8 to (n, 3, size, size) float32, 0..1, colours in the same order."""
    return np.asarray(cv2.dnn.blobFromImages(list(crops), 1 / 255), np.float32)


def _frames(made: Floats) -> Floats:
    return np.ascontiguousarray(made.transpose(0, 2, 3, 1)) * np.float32(255)
