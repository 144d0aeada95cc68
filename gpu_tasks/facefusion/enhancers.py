"""Networks that put detail on faces, and on whole frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.facefusion.geometry import Template
from gpu_tasks.facefusion.tensors import crops_of, tensor_of
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.runtime.sessions import OnnxNetwork

_HALF: Final = (0.5, 0.5, 0.5)
_TILE: Final = 256
_TILE_MARGIN: Final = 8


@dataclass(frozen=True, slots=True)
class EnhancerFacts:
    """What is known of a face enhancer. All take and give RGB, -1..1.

    Attributes:
        size: Of the crop's side, pixels.
        template: How the crop lies.
        is_weighted: Whether it takes a `weight` between beauty (0) and fidelity (1).
    """

    size: int
    template: Template = Template.FFHQ_512
    is_weighted: bool = False


ENHANCERS: Final[Mapping[str, EnhancerFacts]] = {
    "gfpgan_1.2": EnhancerFacts(512),
    "gfpgan_1.3": EnhancerFacts(512),
    "gfpgan_1.4": EnhancerFacts(512),
    "restoreformer_plus_plus": EnhancerFacts(512),
    "codeformer": EnhancerFacts(512, is_weighted=True),
    "gpen_bfr_256": EnhancerFacts(256, Template.ARCFACE_128),
    "gpen_bfr_512": EnhancerFacts(512),
    "gpen_bfr_1024": EnhancerFacts(1024),
    "gpen_bfr_2048": EnhancerFacts(2048),
}
# How many times larger a frame becomes.
FRAME_ENHANCERS: Final[Mapping[str, int]] = {"real_esrgan_x2": 2, "real_esrgan_x4": 4, "real_esrgan_x8": 8}


class FaceEnhancer:
    """Puts detail on aligned crops.

    Args:
        network: Input `input` (1, 3, size, size), of some also `weight` (1,).
        facts: What is known of it.
        weight: 0..1, for those that take one.
    """

    def __init__(self, network: OnnxNetwork, facts: EnhancerFacts, weight: float = 0.5) -> None:
        network.check({"input": ("n", 3, facts.size, facts.size), **({"weight": (1,)} if facts.is_weighted else {})})
        self.facts = facts
        self._network = network
        self._more: dict[str, NDArray[np.float64]] = (
            {"weight": np.array([weight], np.float64)} if "weight" in network.shapes else {}
        )

    @property
    def most_crops(self) -> int:
        return self._network.batches.size

    def enhance(self, crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return crops, (n, size, size, 3) uint8 BGR, with detail.

        Raises:
            FaultError: OUT_OF_MEMORY when not even one fits.
        """
        made = self._network.batches.run(self._forward, tensor_of(crops, _HALF, _HALF))
        return crops_of(made, _HALF, _HALF)

    def prove(self) -> None:
        """Run two crops that differ.

        Raises:
            FaultError: MODEL_CORRUPT when what comes out is no crop, or the same for both.
        """
        tensor = np.random.default_rng(0).random((2, 3, self.facts.size, self.facts.size), np.float32) * 2 - 1
        made = self._network.batches.run(self._forward, tensor)
        if made.shape != tensor.shape or not np.isfinite(made).all() or np.array_equal(made[0], made[1]):
            raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {self._network.name}: It enhances no faces.")

    def _forward(self, tensor: Floats) -> Floats:
        return self._network.run({"input": tensor, **self._more})[0]


class FrameEnhancer:
    """Puts detail on whole frames in tiles; the frame keeps its size.

    Args:
        network: Input `input` (1, 3, side, side) RGB, 0..1; gives `times` as many pixels along each side.
        times: As the table says.
        blend: 0..1, how much of it is taken.
    """

    def __init__(self, network: OnnxNetwork, times: int, blend: float) -> None:
        network.check({"input": ("n", 3, "side", "side")})
        side = network.shapes["input"][2]
        self._tile = side if isinstance(side, int) else _TILE
        self._times = times
        self._blend = blend
        self._network = network

    def enhance(self, frame: Frame) -> Frame:
        """Return a frame, (height, width, 3) uint8 BGR, of the same size with detail.

        Raises:
            FaultError: OUT_OF_MEMORY when not even one tile fits; MODEL_CORRUPT when it enlarges otherwise.
        """
        height, width = frame.shape[:2]
        step = self._tile - 2 * _TILE_MARGIN
        rows, columns = -(-height // step), -(-width // step)
        padded = cv2.copyMakeBorder(
            frame,
            *(_TILE_MARGIN, rows * step - height + _TILE_MARGIN, _TILE_MARGIN, columns * step - width + _TILE_MARGIN),
            cv2.BORDER_REFLECT_101 if min(height, width) > step else cv2.BORDER_REPLICATE,
        )
        corners = [(row * step, column * step) for row in range(rows) for column in range(columns)]
        tiles = np.stack(
            [np.asarray(padded, np.uint8)[top : top + self._tile, left : left + self._tile] for top, left in corners]
        )
        made = self._network.batches.run(lambda tensor: self._network.run({"input": tensor})[0], tensor_of(tiles))
        if made.shape[2:] != (self._tile * self._times,) * 2:
            raise FaultError(
                FaultCode.MODEL_CORRUPT, f"Model {self._network.name}: It does not enlarge {self._times} times."
            )
        large = np.empty((rows * step * self._times, columns * step * self._times, 3), np.uint8)
        inner = slice(_TILE_MARGIN * self._times, -_TILE_MARGIN * self._times)
        for (top, left), tile in zip(corners, crops_of(made), strict=True):
            y, x, side = top * self._times, left * self._times, step * self._times
            large[y : y + side, x : x + side] = tile[inner, inner]
        whole = large[: height * self._times, : width * self._times]
        detailed = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.addWeighted(detailed, self._blend, frame, 1 - self._blend, 0), np.uint8)
