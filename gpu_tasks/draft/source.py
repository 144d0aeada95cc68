"""A source face as the draft engine keeps it: a texture with its mesh, and where on it skin is seen."""

from dataclasses import dataclass

import cv2
import numpy as np

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.draft.skin import brow_mask, skin_mask
from gpu_tasks.faces.align import crop_affine, transform, warp
from gpu_tasks.faces.arrays import Floats, Frame, Mask
from gpu_tasks.faces.detector import FaceDetector
from gpu_tasks.faces.masks import blurred, low_frequencies
from gpu_tasks.faces.mesh import (
    CHIN,
    FOREHEAD,
    INNER_MOUTH,
    LEFT_EYE_CORNER,
    NOSE_TIP,
    RIGHT_EYE_CORNER,
    FaceMesh,
    region_of,
)
from gpu_tasks.faces.pictures import faces_in

SIZE = 512
LEVELS = 3
_INNER_LIPS = (13, 14)  # of mesh_468: the middle of the upper and of the lower one
# In pixels of the texture: the mesh's lips lie that far beside the real ones, and teeth must not show through there.
_LIP_ERROR_PX = 1
_HEALED_PX = 4.0
# Hair over the skin is healed with what the skin nearby is on average; above the brows that is shown, softly ending.
_SKIN_NEARBY_PX = 16.0
_SOFT_PX = 9.0


@dataclass(frozen=True, slots=True)
class DraftSource:
    """One source face.

    Attributes:
        textures: (512, 512, 3), (256, 256, 3), (128, 128, 3) uint8 BGR: the aligned face, ever smaller. Its mouth is
            closed over with lips: the inside of a mouth is always the target's. Hair over the skin is healed.
        points: (468, 2) float32, the mesh in pixels of the first texture.
        skin: (512, 512) float32, 0 where hair lay over the forehead: what is there now says nothing about the light.
        shown: (512, 512) float32, what may be laid over a target: skin, and healed skin above the brows.
        merit: How useful the picture is: face size in pixels, less the more the head is turned or the mouth is open.
    """

    textures: tuple[Frame, ...]
    points: Floats
    skin: Mask
    shown: Mask
    merit: float

    @classmethod
    def from_image(cls, image: Frame, detector: FaceDetector, mesh: FaceMesh) -> "DraftSource":
        """Take the largest face of a picture.

        Args:
            image: (height, width, 3) uint8 BGR.
            detector: Finds it.
            mesh: Places the points on it.

        Raises:
            FaultError: NO_FACE_IN_SOURCE.
        """
        faces = faces_in(image, detector, mesh)
        if not faces:
            raise FaultError(FaultCode.NO_FACE_IN_SOURCE)
        points = faces[0]
        affine = crop_affine(region_of(points), SIZE)
        texture, placed = warp(image, affine, SIZE), transform(points[:, :2], affine)
        merit = region_of(points).side_px * _frontality(placed) * _calmness(placed)
        return made_of(_mouth_closed(texture, placed), placed, skin_mask(texture, placed), merit)


def made_of(texture: Frame, points: Floats, skin: Mask, merit: float) -> DraftSource:
    """Make a source of an aligned face whose mouth is closed over; its fields are described there."""
    nearby = _nearby(texture, skin)
    healed = np.asarray(np.clip(np.rint(nearby + (texture - nearby) * skin[..., None]), 0, 255), np.uint8)
    above_brows = blurred(brow_mask(points, skin.shape), _SOFT_PX)
    return DraftSource(_levels(healed), points, skin, np.maximum(skin, above_brows), merit)


def _nearby(texture: Frame, skin: Mask) -> Floats:
    """What the skin near each place is on average; smooth, so a quarter of the size is enough to find it."""
    height, width = skin.shape
    small = (width // 4, height // 4)
    picture, weight = (cv2.resize(each, small, interpolation=cv2.INTER_AREA) for each in (texture, skin))
    found = low_frequencies(np.asarray(picture, np.float32), np.asarray(weight, np.float32), _SKIN_NEARBY_PX / 4)
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _levels(texture: Frame) -> tuple[Frame, ...]:
    textures = [texture]
    while len(textures) < LEVELS:
        textures.append(np.asarray(cv2.pyrDown(textures[-1]), np.uint8))
    return tuple(textures)


def _frontality(points: Floats) -> float:
    """Tell how frontal a face is, 1 to almost 0 in profile, by the nose's place between the eyes."""
    left, right = points[RIGHT_EYE_CORNER], points[LEFT_EYE_CORNER]
    span = right - left
    along = float((points[NOSE_TIP] - left) @ span) / max(float(span @ span), 1e-6)
    return float(np.clip(1 - 2 * abs(along - 0.5), 0.05, 1))


def _calmness(points: Floats) -> float:
    """Tell how closed a mouth is, 1 to 0.2 wide open, by its gap in face heights: cheeks and chin are drawn with it."""
    gap = float(np.linalg.norm(points[_INNER_LIPS[0]] - points[_INNER_LIPS[1]]))
    height = max(float(np.linalg.norm(points[FOREHEAD] - points[CHIN])), 1.0)
    return float(np.clip(1 - 4 * gap / height, 0.2, 1))


def _mouth_closed(texture: Frame, points: Floats) -> Frame:
    inside = np.zeros(texture.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(points[list(INNER_MOUTH)]).astype(np.int32)], (255,))
    reach = 2 * _LIP_ERROR_PX + 1
    inside = np.asarray(cv2.dilate(inside, np.ones((reach, reach), np.uint8)), np.uint8)
    return np.asarray(cv2.inpaint(texture, inside, _HEALED_PX, cv2.INPAINT_TELEA), np.uint8)
