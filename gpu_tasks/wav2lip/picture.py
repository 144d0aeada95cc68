"""The piece of a face that a lip-sync network sees, and the part of it that goes back into the frame."""

from typing import Final, NamedTuple

import cv2
import numpy as np

from gpu_tasks.faces.align import fit_similarity, transform, warp
from gpu_tasks.faces.arrays import Affine, Floats, Frame, Mask
from gpu_tasks.faces.masks import faded_inward, outline_mask
from gpu_tasks.faces.mesh import (
    CHIN,
    FOREHEAD,
    JAW,
    LEFT_EYE,
    LEFT_EYE_CORNER,
    NOSE_BASE,
    NOSE_TIP,
    OUTER_UPPER_LIP,
    RIGHT_EYE,
    RIGHT_EYE_CORNER,
)

# Of the height from forehead to chin. The network was trained on boxes as WIDER FACE draws them (forehead, chin and
# cheeks) with a little more below the chin; their middle, where the hidden half begins, is below the tip of the nose.
_BELOW: Final = 0.045
# Width over height of these boxes; they were squeezed into squares.
_PORTRAIT: Final = 0.82
# Eyes, nose and corners of the mouth in FFHQ's layout, of a crop's side (Karras et al. 2019).
FFHQ: Final = np.array(
    [
        [0.37691676, 0.46864664],
        [0.62285697, 0.46912813],
        [0.50123859, 0.61331904],
        [0.39308822, 0.72541100],
        [0.61150205, 0.72490465],
    ],
    np.float32,
)
# From the right end of the jaw back to its left one, below the cheekbones and through the base of the nose.
_OVER_THE_LIP: Final = (411, 425, NOSE_BASE, 205, 187)
_LOWER_FACE: Final = (*JAW, *_OVER_THE_LIP)
# Of the crop's side: from the outline inwards the mask rises over this width, so nothing shows outside of it.
_FEATHER: Final = 0.07


class Crop(NamedTuple):
    """An aligned piece of a frame.

    Attributes:
        pixels: (size, size, 3) uint8 BGR.
        affine: Frame to crop.
        mask: (size, size) float32, how much of the network's picture is taken.
    """

    pixels: Frame
    affine: Affine
    mask: Mask

    @property
    def size(self) -> int:
        return int(self.pixels.shape[0])


def crop_of(frame: Frame, mesh_468: Floats, affine: Affine, size: int, *, lower_face_only: bool) -> Crop:
    """Cut a crop out of a frame, with the mask of what goes back."""
    mask = lower_face_mask(mesh_468, affine, size) if lower_face_only else whole_mask(size)
    return Crop(warp(frame, affine, size), affine, mask)


def face_affine(mesh_468: Floats, size: int, *, portrait: bool) -> Affine:
    """Place the crop that Wav2Lip was trained on: upright along the face, whatever the head's tilt.

    Args:
        mesh_468: (468, 3) float32.
        size: Of the crop's side, pixels.
        portrait: The crop is narrower than it is high and widened to the square, as in the training; else it is square
            in the frame too, which shows more beside the face and opens the mouth less.
    """
    points = mesh_468[:, :2]
    eyes = points[LEFT_EYE_CORNER] - points[RIGHT_EYE_CORNER]
    angle = float(np.arctan2(eyes[1], eyes[0]))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32)
    upright = points @ turn.T
    top, chin = float(upright[FOREHEAD, 1]), float(upright[CHIN, 1])
    height = max(chin - top, 1.0) * (1 + _BELOW)
    width = height * (_PORTRAIT if portrait else 1.0)
    centre = float(upright[:, 0].min() + upright[:, 0].max()) / 2
    scale = np.array([[size / width], [size / height]], np.float32)
    origin = np.array([[centre - width / 2], [top]], np.float32)
    return np.concatenate([turn * scale, -origin * scale], axis=1).astype(np.float32)


def template_affine(mesh_468: Floats, size: int, template: Floats = FFHQ) -> Affine:
    """Place a crop by five points of a face.

    Args:
        mesh_468: (468, 3) float32.
        size: Of the crop's side, pixels.
        template: (5, 2) float32, where eyes, nose and corners of the mouth go, of the side.
    """
    points = mesh_468[:, :2]
    five = np.stack(
        [
            points[list(RIGHT_EYE)].mean(0),
            points[list(LEFT_EYE)].mean(0),
            points[NOSE_TIP],
            points[OUTER_UPPER_LIP[0]],
            points[OUTER_UPPER_LIP[-1]],
        ]
    )
    return fit_similarity(five.astype(np.float32), template * np.float32(size))


def lower_face_mask(mesh_468: Floats, affine: Affine, size: int) -> Mask:
    """Mask mouth, chin and lower cheeks in a crop: (size, size) float32, soft inwards, zero beyond the jaw."""
    outline = transform(mesh_468[list(_LOWER_FACE), :2], affine)
    # On its way back into the frame a crop's pixel reaches as far as its neighbours, so the outermost ones stay out.
    inner = np.asarray(cv2.erode(outline_mask(outline, (size, size)), np.ones((3, 3), np.uint8)), np.float32)
    return faded_inward(inner, _FEATHER * size)


def whole_mask(size: int) -> Mask:
    """Mask a whole crop: (size, size) float32, soft towards its edges."""
    return faded_inward(np.ones((size, size), np.float32), _FEATHER * size)
