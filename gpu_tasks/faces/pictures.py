"""The faces of a still picture: those of which detector and mesh are both sure."""

from typing import Final

import numpy as np

from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.detector import Detects
from gpu_tasks.faces.mesh import FaceMesh, region_of

# The network's own even chance.
_SCORE: Final = 0.5


def faces_in(picture: Frame, detector: Detects, mesh: FaceMesh) -> tuple[Floats, ...]:
    """Return the mesh of each face, the largest first.

    Args:
        picture: (height, width, 3) uint8 BGR.
        detector: Finds them.
        mesh: Places the points on them.

    Returns:
        (468, 3) float32 each, picture pixels.
    """
    found = []
    for face in detector.detect(picture):
        first, _ = mesh.landmarks(picture, face.region)
        points, score = mesh.landmarks(picture, region_of(first))
        if score >= _SCORE:
            found.append(points)
    return tuple(sorted(found, key=size_of, reverse=True))


def size_of(mesh_468: Floats) -> float:
    """Return the longer side of a face's box, pixels."""
    return float(np.ptp(mesh_468[:, :2], axis=0).max())
