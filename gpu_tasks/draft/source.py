"""A source face as the draft engine keeps it: a texture with its mesh, and where on it skin is seen."""

from dataclasses import dataclass

import cv2
import numpy as np

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.faces.align import crop_affine, transform, warp
from gpu_tasks.faces.arrays import Floats, Frame, Mask
from gpu_tasks.faces.detector import FaceDetector
from gpu_tasks.faces.masks import blurred
from gpu_tasks.faces.mesh import FOREHEAD, JAW, LEFT_EYE_CORNER, NOSE_TIP, RIGHT_EYE_CORNER, FaceMesh, region_of

_SIZE = 512
_LEVELS = 3
_CHEEKS_AND_NOSE = (50, 280, 205, 425, 4, 5)
# brows, outer corners of the eyes, jaw and chin: hair lies outside, on forehead and temples
_FEATURES = (63, 105, 66, 107, 336, 296, 334, 293, 33, 263, *JAW)
_HAIR = 26.0  # distance from the cheeks' colour in Lab, lightness counted a third, from which it is not skin
_LIGHTNESS_WEIGHT = 0.35


@dataclass(frozen=True, slots=True)
class DraftSource:
    """One source face.

    Attributes:
        textures: (512, 512, 3), (256, 256, 3), (128, 128, 3) uint8 BGR: the aligned face, ever smaller.
        points: (468, 2) float32, the mesh in pixels of the first texture.
        skin: (512, 512) float32, 0 where hair lies over the forehead.
        merit: How useful the picture is: face size in pixels, less the more the head is turned.
    """

    textures: tuple[Frame, ...]
    points: Floats
    skin: Mask
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
        faces = detector.detect(image)
        if not faces:
            raise FaultError(FaultCode.NO_FACE_IN_SOURCE)
        largest = max(faces, key=lambda face: face.region.side_px)
        first, _ = mesh.landmarks(image, largest.region)
        points, score = mesh.landmarks(image, region_of(first))
        if score < 0.5:  # noqa: PLR2004 - the network's own even chance
            raise FaultError(FaultCode.NO_FACE_IN_SOURCE)
        affine = crop_affine(region_of(points), _SIZE)
        texture = warp(image, affine, _SIZE)
        placed = transform(points[:, :2], affine)
        textures = [texture]
        while len(textures) < _LEVELS:
            textures.append(np.asarray(cv2.pyrDown(textures[-1]), np.uint8))
        return cls(tuple(textures), placed, _skin(texture, placed), region_of(points).side_px * _frontality(placed))


def _frontality(points: Floats) -> float:
    """Tell how frontal a face is, 1 to almost 0 in profile, by the nose's place between the eyes."""
    left, right = points[RIGHT_EYE_CORNER], points[LEFT_EYE_CORNER]
    span = right - left
    along = float((points[NOSE_TIP] - left) @ span) / max(float(span @ span), 1e-6)
    return float(np.clip(1 - 2 * abs(along - 0.5), 0.05, 1))


def _skin(texture: Frame, points: Floats) -> Mask:
    lab = cv2.cvtColor(cv2.GaussianBlur(texture, (0, 0), 3), cv2.COLOR_BGR2LAB).astype(np.float32)
    patches = np.zeros(texture.shape[:2], np.uint8)
    for x, y in np.rint(points[list(_CHEEKS_AND_NOSE)]).astype(int).tolist():
        cv2.circle(patches, (x, y), 10, (255,), -1)
    distance = np.abs(lab - np.median(lab[patches > 0], axis=0)) @ np.array([_LIGHTNESS_WEIGHT, 1, 1], np.float32)
    is_skin = (distance < _HAIR).astype(np.float32)
    is_skin = np.asarray(cv2.erode(is_skin, np.ones((11, 11), np.uint8)), np.float32)
    # what is dark among the features is eyes, brows, lips and folds
    hull = cv2.convexHull(np.rint(points[list(_FEATURES)]).astype(np.int32))
    cv2.fillConvexPoly(is_skin, np.asarray(hull, np.int32), (1.0,))
    face_px = float(np.linalg.norm(points[FOREHEAD] - points[NOSE_TIP]))
    return blurred(is_skin, max(face_px / 20, 2))
