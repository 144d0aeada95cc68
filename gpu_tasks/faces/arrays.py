"""The arrays that engines exchange, by meaning."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

# (height, width, 3) uint8, BGR
Frame: TypeAlias = NDArray[np.uint8]
# any float32 array; shape and unit stand where it is used
Floats: TypeAlias = NDArray[np.float32]
# (height, width) float32, 0..1
Mask: TypeAlias = NDArray[np.float32]
# (2, 3) float32, maps column vectors (x, y, 1) of frame pixels to crop pixels
Affine: TypeAlias = NDArray[np.float32]


class Network(Protocol):
    """A loaded network: what onnxruntime's InferenceSession offers and this room needs."""

    def run(self, output_names: Sequence[str], feed: Mapping[str, Any], /) -> list[Floats]:
        """Return the named outputs for the named inputs."""
        ...
