"""Who a face is: embeddings, and what becomes of them before a swapper takes them."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.facefusion.geometry import Template, affine_to
from gpu_tasks.facefusion.pasting import cut
from gpu_tasks.facefusion.tensors import tensor_of
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.runtime.sessions import OnnxNetwork

EMBEDDING_SIZE: Final = 512
_CROP: Final = 112
_HALF: Final = (0.5, 0.5, 0.5)


class Embedder:
    """Says who a face is: ArcFace, AuraFace.

    Args:
        network: One input (1, 3, 112, 112) RGB, -1..1; output (1, 512).
    """

    def __init__(self, network: OnnxNetwork) -> None:
        if len(network.shapes) != 1:
            raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {network.name}: It has not one input.")
        self._input = next(iter(network.shapes))
        network.check({self._input: ("n", 3, _CROP, _CROP)})
        self._network = network

    def embedding(self, frame: Frame, points_5: Floats) -> Floats:
        """Return a face's embedding as the network gives it, not normalised: (512,) float32.

        Args:
            frame: (height, width, 3) uint8 BGR.
            points_5: (5, 2) float32, frame pixels.

        Raises:
            FaultError: MODEL_CORRUPT when the network gives something else.
        """
        crop = cut(frame, affine_to(Template.ARCFACE_112_V2, points_5, _CROP), _CROP)
        made = self._network.run({self._input: tensor_of(crop[None], _HALF, _HALF)})[0].reshape(-1)
        return _embedding(made, self._network.name)


class Converter:
    """Brings ArcFace's embeddings into another network's space: the crossface models.

    Args:
        network: Input `input` (n, 512), output (n, 512).
    """

    def __init__(self, network: OnnxNetwork) -> None:
        network.check({"input": ("n", EMBEDDING_SIZE)})
        self._network = network

    def convert(self, embedding: Floats) -> Floats:
        """Return an embedding, (512,) float32 as ArcFace gives it, in the other space."""
        made = self._network.run({"input": embedding[None].astype(np.float32)})[0].reshape(-1)
        return _embedding(made, self._network.name)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is put on a face.

    Attributes:
        embedding: (512,) float32, the mean over the sources of what the embedder gave; empty where none is needed.
        portrait: (height, width, 3) uint8 BGR, the best picture.
        points_5: (5, 2) float32, the face in the portrait.
    """

    embedding: Floats
    portrait: Frame
    points_5: Floats


def unit(vector: Floats) -> Floats:
    """Return a vector of the same direction and length 1; zeros stay zeros."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)


def distance(one: Floats, other: Floats) -> float:
    """Return how far two embeddings are apart: 0 the same, 1 the opposite (half of one minus the cosine)."""
    return float((1 - unit(one) @ unit(other)) / 2)


def _embedding(made: Floats, name: str) -> Floats:
    if made.size != EMBEDDING_SIZE or not np.isfinite(made).all():
        raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {name}: It gives no {EMBEDDING_SIZE} numbers.")
    return np.asarray(made, np.float32)
