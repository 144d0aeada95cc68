"""Networks that work on the face after the mouth was changed: detail over it, and what stays in front of it."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.faces.align import blend, invert, paste_back, warp, window_of
from gpu_tasks.faces.arrays import Affine, Floats, Frame, Mask
from gpu_tasks.runtime.devices import Devices
from gpu_tasks.runtime.sessions import OnnxNetwork
from gpu_tasks.runtime.warm import Weights
from gpu_tasks.wav2lip.picture import FFHQ, lower_face_mask, template_affine

OCCLUDER: Final = "xseg_1"
_OCCLUDER_SIZE: Final = 256
# ArcFace's layout, of a crop's side; GPEN's small network was trained on it, all others on FFHQ's.
_ARCFACE: Final = np.array(
    [
        [0.36167656, 0.40387734],
        [0.63696719, 0.40235469],
        [0.50019687, 0.56044219],
        [0.38710391, 0.72160547],
        [0.61507734, 0.72034453],
    ],
    np.float32,
)
_ON_ARCFACE: Final = frozenset({"gpen_bfr_256"})
# CodeFormer: between fidelity (1) and beauty (0), its authors' middle.
_FIDELITY: Final = np.array([0.5], np.float64)


class Enhancer:
    """Puts detail on the lower face: GFPGAN, GPEN, CodeFormer, RestoreFormer.

    Args:
        model_id: Its name in the manifest.
        weights: Where the models lie.
        threads: For one call on a CPU.

    Raises:
        FaultError: What the weights say, MODEL_CORRUPT.
    """

    def __init__(self, model_id: str, weights: Weights, *, threads: int) -> None:
        self._network = OnnxNetwork(weights.path(model_id), model_id, Devices(threads=threads))
        self._network.check({"input": (1, 3, "size", "size")})
        size = self._network.shapes["input"][2]
        if not isinstance(size, int):
            raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {model_id}: Its size is not fixed.")
        self._size = size
        self._template: Floats = _ARCFACE if model_id in _ON_ARCFACE else FFHQ

    def enhance(self, frame: Frame, mesh_468: Floats, share: float) -> Frame:
        """Return a frame whose lower face is the network's to a share.

        Args:
            frame: (height, width, 3) uint8 BGR.
            mesh_468: (468, 3) float32.
            share: 0 keeps the frame, 1 takes the network's face.

        Raises:
            MemoryError: It does not fit.
        """
        affine = template_affine(mesh_468, self._size, self._template)
        crop = warp(frame, affine, self._size)
        tensor = cv2.dnn.blobFromImage(crop, 1 / 127.5, mean=(127.5, 127.5, 127.5), swapRB=True)
        feed: dict[str, NDArray[np.floating]] = {"input": np.asarray(tensor, np.float32)}
        if "weight" in self._network.shapes:
            feed["weight"] = _FIDELITY
        made = np.clip(self._network.run(feed)[0][0], -1, 1)
        pixels = np.ascontiguousarray((made[::-1].transpose(1, 2, 0) + 1) * np.float32(127.5))
        mask = lower_face_mask(mesh_468, affine, self._size) * np.float32(share)
        return paste_back(frame, pixels, mask, affine)


class Occluder:
    """Sees what covers a face: XSeg.

    Args:
        weights: Where the models lie.
        threads: For one call on a CPU.

    Raises:
        FaultError: What the weights say, MODEL_CORRUPT.
    """

    def __init__(self, weights: Weights, *, threads: int) -> None:
        self._network = OnnxNetwork(weights.path(OCCLUDER), OCCLUDER, Devices(threads=threads))
        self._network.check({"input": ("n", _OCCLUDER_SIZE, _OCCLUDER_SIZE, 3)})

    def uncovered(self, before: Frame, after: Frame, mesh_468: Floats) -> Frame:
        """Return the changed frame with whatever covers the face in the original frame put back in front of it.

        Args:
            before: (height, width, 3) uint8 BGR, the original.
            after: The same size, changed.
            mesh_468: (468, 3) float32, the face.

        Raises:
            MemoryError: It does not fit.
        """
        affine = template_affine(mesh_468, _OCCLUDER_SIZE)
        inverse = invert(affine)
        window = window_of(inverse, _OCCLUDER_SIZE, before.shape)
        if window.is_empty:
            return after
        local = inverse.copy()
        local[:, 2] -= (window.left, window.top)
        shape = (window.right - window.left, window.bottom - window.top)
        # Beyond the crop nothing is known to be covered.
        alpha = np.asarray(cv2.warpAffine(self._covered(before, affine), local, shape), np.float32)
        out = after.copy()
        blend(window.of(out), window.of(before).astype(np.float32), alpha)
        return out

    def _covered(self, frame: Frame, affine: Affine) -> Mask:
        crop = warp(frame, affine, _OCCLUDER_SIZE)
        (seen,) = self._network.run({"input": crop[None].astype(np.float32) / 255})
        soft = cv2.GaussianBlur(np.clip(seen[0, :, :, 0], 0, 1), (0, 0), 5)
        return np.asarray(1 - (np.clip(soft, 0.5, 1) - 0.5) * 2, np.float32)
