"""How the faces of a clip are seen, gathered frame by frame, and what of it predicts a poor result."""

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from gpu_tasks.contract.tracks import FaceReport, FaceWarning, HeadPose
from gpu_tasks.faces.align import bounding_window
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import CHIN, FOREHEAD, LEFT_EYE_CORNER, RIGHT_EYE_CORNER
from gpu_tasks.faces.tracker import TrackedFace

# Judged: Wav2Lip draws the lower half of a face with 96 pixels (Prajwal et al. 2020).
SMALL_FACE_PX: Final = 96
# Measured on the sample, a face of 163 px: 10.2 as it is; 7.2, 4.3, 3.1 and 2.4 blurred with a deviation of 1 to 4 px
# and encoded. Judged: between 2 and 3 px lashes and teeth are gone.
BLURRED_SHARPNESS: Final = 3.5
# Judged: from here on the far half of the mouth is hidden.
PROFILE_DEGREES: Final = 45.0
# Judged: shares of the frames from which a warning is worth its sentence.
PROFILE_RATIO: Final = 0.1
MISSING_RATIO: Final = 0.2
SEVERAL_RATIO: Final = 0.05

_SHARPNESS_EVERY = 5
_SHARPNESS_PX = 192
_BLOCKS_PX = 1.0


class CoverageMeter:
    """Gathers what a FaceReport says; a few numbers are kept per frame."""

    def __init__(self) -> None:
        self._looked_at = 0
        self._by_count: Counter[int] = Counter()
        self._tracks: set[int] = set()
        self._heights, self._sharpness = array("f"), array("f")
        self._yaw, self._pitch, self._roll = array("f"), array("f"), array("f")

    def look(self, frame: Frame, faces: Sequence[TrackedFace]) -> None:
        """Take the pixels of the next frame, HWC uint8 BGR, with the faces as they were measured in it."""
        if self._looked_at % _SHARPNESS_EVERY == 0 and faces:
            tallest = max(faces, key=lambda face: face.height_px)
            self._sharpness.append(sharpness(frame, tallest.mesh_468))
        self._looked_at += 1

    def count(self, faces: Sequence[TrackedFace]) -> None:
        """Take the faces of the next frame as they will be used."""
        self._by_count[len(faces)] += 1
        if not faces:
            return
        self._tracks.update(face.track_id for face in faces)
        tallest = max(faces, key=lambda face: face.height_px)
        pose = head_pose(tallest.mesh_468)
        self._heights.append(tallest.height_px)
        for values, value in zip((self._yaw, self._pitch, self._roll), (pose.yaw, pose.pitch, pose.roll), strict=True):
            values.append(value)

    def report(self) -> FaceReport | None:
        """Return what was gathered, None when there was no face at all."""
        if not self._heights:
            return None
        looked_at, with_face = self._by_count.total(), len(self._heights)
        profile = float((np.abs(np.asarray(self._yaw)) > PROFILE_DEGREES).mean())
        report = FaceReport(
            frames_looked_at=looked_at,
            frames_with_face=with_face,
            frames_by_face_count=tuple(self._by_count[count] for count in range(max(self._by_count) + 1)),
            track_count=len(self._tracks),
            height_px_min=_rounded(min(self._heights)),
            height_px_median=_median(self._heights),
            pose_median=HeadPose(yaw=_median(self._yaw), pitch=_median(self._pitch), roll=_median(self._roll)),
            profile_ratio=profile,
            sharpness_median=_median(self._sharpness) if self._sharpness else 0.0,
        )
        is_warned = {
            FaceWarning.FACE_SMALL: report.height_px_median < SMALL_FACE_PX,
            FaceWarning.FACE_BLURRED: bool(self._sharpness) and report.sharpness_median < BLURRED_SHARPNESS,
            FaceWarning.FACE_PROFILE: profile >= PROFILE_RATIO,
            FaceWarning.FACE_MISSING_OFTEN: with_face < (1 - MISSING_RATIO) * looked_at,
            FaceWarning.SEVERAL_FACES: sum(report.frames_by_face_count[2:]) >= SEVERAL_RATIO * looked_at,
        }
        return report.model_copy(update={"warnings": tuple(warning for warning in FaceWarning if is_warned[warning])})


def head_pose(mesh_468: Floats) -> HeadPose:
    """Estimate the angles of a head from the axes of its mesh.

    Args:
        mesh_468: (468, 3) float32, x and y in pixels, z in the same scale, smaller is nearer.
    """
    across = (mesh_468[LEFT_EYE_CORNER] - mesh_468[RIGHT_EYE_CORNER]).astype(np.float64)
    down = (mesh_468[CHIN] - mesh_468[FOREHEAD]).astype(np.float64)
    return HeadPose(
        # Turned to the picture's right, the left eye (on the right side of the picture) goes away from the camera.
        yaw=_degrees(across[2], np.hypot(across[0], across[1])),
        # Bent down, the chin goes away from the camera.
        pitch=_degrees(down[2], np.hypot(down[0], down[1])),
        roll=_degrees(across[1], across[0]),
    )


def sharpness(frame: Frame, mesh_468: Floats) -> float:
    """Variance of the Laplacian of a face's luma (Pech-Pacheco et al. 2000), slightly blurred, at most 192 px high.

    Args:
        frame: (height, width, 3) uint8 BGR.
        mesh_468: (468, 3) float32, the face in frame pixels.
    """
    window = bounding_window(mesh_468[:, :2], 0, frame.shape)
    if window.is_empty:
        return 0.0
    luma = cv2.cvtColor(window.of(frame), cv2.COLOR_BGR2GRAY)
    scale = _SHARPNESS_PX / luma.shape[0]
    if scale < 1:
        luma = cv2.resize(luma, (max(1, round(luma.shape[1] * scale)), _SHARPNESS_PX), interpolation=cv2.INTER_AREA)
    # Without it the edges of the encoder's blocks would be taken for detail.
    luma = cv2.GaussianBlur(luma, (0, 0), _BLOCKS_PX)
    return float(cv2.Laplacian(luma, cv2.CV_32F).var())


def _degrees(opposite: float, adjacent: float) -> float:
    return _rounded(float(np.degrees(np.arctan2(opposite, adjacent))))


def _median(values: Sequence[float]) -> float:
    return _rounded(float(np.median(np.asarray(values))))


def _rounded(value: float) -> float:
    return round(float(value), 2)
