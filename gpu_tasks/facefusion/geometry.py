"""Where faces lie in the crops that networks were trained on: templates, the five points, the 68 points.

Templates and the use of the 68 points are those of the published models (InsightFace, FFHQ, MTCNN; FaceFusion 3.8).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import numpy as np

from gpu_tasks.faces.arrays import Affine, Floats
from gpu_tasks.faces.mesh import LEFT_EYE, NOSE_TIP, OUTER_UPPER_LIP, RIGHT_EYE


class Template(StrEnum):
    """Layouts that crops are aligned to."""

    ARCFACE_112_V1 = "arcface_112_v1"
    ARCFACE_112_V2 = "arcface_112_v2"
    ARCFACE_128 = "arcface_128"
    FFHQ_512 = "ffhq_512"
    MTCNN_512 = "mtcnn_512"


def _points(*numbers: float) -> Floats:
    return np.array(numbers, np.float32).reshape(5, 2)


# (5, 2) float32 of the crop's side: left eye, right eye, nose, corners of the mouth, left and right as they are seen.
TEMPLATES: Final[Mapping[Template, Floats]] = {
    Template.ARCFACE_112_V1: _points(
        *(0.35473214, 0.45658929, 0.64526786, 0.45658929, 0.5, 0.61154464),
        *(0.37913393, 0.776875, 0.62086607, 0.776875),
    ),
    Template.ARCFACE_112_V2: _points(
        *(0.34191607, 0.46157411, 0.65653393, 0.45983393, 0.500225, 0.64050536),
        *(0.37097589, 0.82469196, 0.63151696, 0.82325089),
    ),
    Template.ARCFACE_128: _points(
        *(0.36167656, 0.40387734, 0.63696719, 0.40235469, 0.50019687, 0.56044219),
        *(0.38710391, 0.72160547, 0.61507734, 0.72034453),
    ),
    Template.FFHQ_512: _points(
        *(0.37691676, 0.46864664, 0.62285697, 0.46912813, 0.50123859, 0.61331904),
        *(0.39308822, 0.725411, 0.61150205, 0.72490465),
    ),
    Template.MTCNN_512: _points(
        *(0.36562865, 0.46733799, 0.63305391, 0.46585885, 0.50019127, 0.61942959),
        *(0.39032951, 0.77598822, 0.61178945, 0.77476328),
    ),
}

# Points of mesh_468 that lie where the 68 points lie: jaw, brows, nose, eyes, outer and inner mouth.
_MESH_OF_68: Final = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
_EYES_OF_68: Final = (slice(36, 42), slice(42, 48))
_NOSE_AND_MOUTH_OF_68: Final = (30, 48, 54)


def affine_to(template: Template, points_5: Floats, size: int) -> Affine:
    """Least-squares similarity, without reflection, from a face's five points to a template.

    Computed in double precision: in a frame of 8K single precision loses a tenth of a pixel.

    Args:
        template: The layout.
        points_5: (5, 2) float32, frame pixels, in the templates' order.
        size: Of the crop's side, pixels.

    Returns:
        (2, 3) float32, frame to crop.
    """
    points, onto = points_5.astype(np.float64), TEMPLATES[template].astype(np.float64) * size
    centre, goal = points.mean(0), onto.mean(0)
    a, b = points - centre, onto - goal
    # Five points in one place have no size; any scale is as good as another.
    spread = float((a * a).sum()) or 1.0
    cos = float((a * b).sum()) / spread
    sin = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([turn, (goal - turn @ centre)[:, None]], axis=1).astype(np.float32)


def five_of_mesh(mesh_468: Floats) -> Floats:
    """Return eyes, nose and corners of the mouth, (5, 2) float32, of a mesh, (468, 3) float32, in the same pixels."""
    points = mesh_468[:, :2]
    return np.stack(
        [
            points[list(RIGHT_EYE)].mean(0),
            points[list(LEFT_EYE)].mean(0),
            points[NOSE_TIP],
            points[OUTER_UPPER_LIP[0]],
            points[OUTER_UPPER_LIP[-1]],
        ]
    ).astype(np.float32)


def landmarks_68_of_mesh(mesh_468: Floats) -> Floats:
    """Return the 68 points, (68, 2) float32, of a mesh, (468, 3) float32, in the same pixels."""
    return np.asarray(mesh_468[list(_MESH_OF_68), :2], np.float32)


def five_of_68(landmarks_68: Floats) -> Floats:
    """Return eyes, nose and corners of the mouth, (5, 2) float32, of the 68 points, (68, 2) float32."""
    eyes = [landmarks_68[part].mean(0) for part in _EYES_OF_68]
    return np.stack([*eyes, *landmarks_68[list(_NOSE_AND_MOUTH_OF_68)]]).astype(np.float32)
