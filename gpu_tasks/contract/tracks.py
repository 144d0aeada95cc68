"""What the tracking pass over a target tells: how its faces are seen, and what that means for the result."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from gpu_tasks.contract.media import FaceCoverage

# Of a tracks artifact: versioned by its header, not by its name.
TRACKS_MEDIA_TYPE: Final = "application/vnd.lipswap.tracks"


class FaceWarning(StrEnum):
    """What predicts a poor result although a face was found."""

    FACE_SMALL = "face_small"
    FACE_BLURRED = "face_blurred"
    FACE_PROFILE = "face_profile"
    FACE_MISSING_OFTEN = "face_missing_often"
    SEVERAL_FACES = "several_faces"


WARNING_SENTENCES: Final[Mapping[FaceWarning, str]] = {
    FaceWarning.FACE_SMALL: "The face is small; it is changed at low resolution and will look soft.",
    FaceWarning.FACE_BLURRED: "The face is out of focus or in motion blur; the changed part may look sharper than it.",
    FaceWarning.FACE_PROFILE: "The face is turned far to the side; lips and identity are less convincing there.",
    FaceWarning.FACE_MISSING_OFTEN: "No face is seen in a large part of the video; that part stays as it is.",
    FaceWarning.SEVERAL_FACES: "Several faces are seen; the largest one speaks, face_selection says which are swapped.",
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeadPose(_Model):
    """Estimated from the mesh, degrees. Yaw is positive to the picture's right, pitch downwards, roll clockwise."""

    yaw: float
    pitch: float
    roll: float


class FaceReport(_Model):
    """How the faces of a target are seen. Size, pose and sharpness are those of the tallest face of each frame.

    Attributes:
        frames_looked_at: All frames of the part that is used.
        frames_with_face: Of these, those with at least one face; gaps of up to 0.3 s that were bridged count.
        frames_by_face_count: At k the number of frames with exactly k faces.
        track_count: How many faces were followed; one that comes back after more than 0.3 s counts again.
        height_px_min: Forehead to chin.
        pose_median: Per angle, over all frames with a face.
        profile_ratio: Share of the frames with a face in which it is turned by more than 45 degrees, 0..1.
        sharpness_median: Variance of the Laplacian of the face's luma (0..255), 192 px high at most; below 3.5 a face
            looks soft.
    """

    frames_looked_at: int = Field(gt=0)
    frames_with_face: int = Field(gt=0)
    frames_by_face_count: tuple[int, ...]
    track_count: int = Field(gt=0)
    height_px_min: float
    height_px_median: float
    pose_median: HeadPose
    profile_ratio: float = Field(ge=0, le=1)
    sharpness_median: float
    warnings: tuple[FaceWarning, ...] = ()

    @property
    def percent_with_face(self) -> float:
        return 100 * self.frames_with_face / self.frames_looked_at

    @property
    def coverage(self) -> FaceCoverage:
        return FaceCoverage(frames_looked_at=self.frames_looked_at, frames_with_face=self.frames_with_face)
