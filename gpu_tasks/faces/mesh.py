"""MediaPipe's face mesh: 468 points of a face in three dimensions, and which of them are what."""

from typing import Final

import numpy as np

from gpu_tasks.faces.align import Region, crop_affine, invert, transform, warp
from gpu_tasks.faces.arrays import Floats, Frame, Network

_SIZE = 192
_REGION_PER_FACE = 1.5

# Indices of mesh_468. Left and right are those of a frontal picture; curves run from left to right.
RIGHT_EYE_CORNER: Final = 33
LEFT_EYE_CORNER: Final = 263
FOREHEAD: Final = 10
CHIN: Final = 152
NOSE_TIP: Final = 4
NOSE_BASE: Final = 2
INNER_UPPER_LIP: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER_LIP: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
OUTER_UPPER_LIP: Final = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LOWER_LIP: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
JAW: Final = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
OVAL: Final = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
RIGHT_EYE: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE: Final = (362, 382, 381, 380, 374, 373, 390, 249, 263, 466, 388, 387, 386, 385, 384, 398)
INNER_MOUTH: Final = (*INNER_UPPER_LIP, *INNER_LOWER_LIP[-2:0:-1])


class FaceMesh:
    """Places the 468 points on one face.

    Args:
        network: Input `input_1` (1, 3, 192, 192) RGB in 0..1; outputs `conv2d_20` (1, 1404, 1, 1), the points in crop
            pixels, and `conv2d_30` (1, 1, 1, 1), the logit of there being a face.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def landmarks(self, frame: Frame, region: Region) -> tuple[Floats, float]:
        """Return the mesh of the face in a region, and how sure the network is that there is one.

        Args:
            frame: (height, width, 3) uint8 BGR.
            region: The turned square to look at: `Face.region`, or `region_of` the previous frame's mesh.

        Returns:
            mesh_468, (468, 3) float32: x and y in frame pixels, z in pixels of the same scale (smaller is nearer);
            and the score, 0..1.
        """
        affine = crop_affine(region, _SIZE)
        crop = warp(frame, affine, _SIZE)
        tensor = np.ascontiguousarray(crop[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / 255
        raw, logit = self._network.run(["conv2d_20", "conv2d_30"], {"input_1": tensor})
        points = raw.reshape(468, 3)
        flat = transform(points[:, :2], invert(affine))
        depth = points[:, 2:] * (region.side_px / _SIZE)
        score = 1 / (1 + np.exp(-np.clip(logit.item(), -60, 60)))
        return np.concatenate([flat, depth], axis=1).astype(np.float32), float(score)


def region_of(mesh_468: Floats) -> Region:
    """Return the region in which to look for the same face in the next frame."""
    eyes = mesh_468[LEFT_EYE_CORNER, :2] - mesh_468[RIGHT_EYE_CORNER, :2]
    angle = float(np.arctan2(eyes[1], eyes[0]))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32)
    upright = mesh_468[:, :2] @ turn.T
    low, high = upright.min(0), upright.max(0)
    centre = turn.T @ ((low + high) / 2)
    side = float((high - low).max()) * _REGION_PER_FACE
    return Region(float(centre[0]), float(centre[1]), max(side, 1.0), angle)


def box_of(mesh_468: Floats) -> Floats:
    """Return the (4,) float32 box of a mesh: left, top, right, bottom in frame pixels."""
    return np.concatenate([mesh_468[:, :2].min(0), mesh_468[:, :2].max(0)]).astype(np.float32)
