"""A head turned by calculation, from a picture in which it looks at the camera.

This is no footage of a turning head. The face is the mesh's relief turned in depth about the axis between the ears. The
hair stays as it is, the bare side of the head is plain hair and skin, and what the head uncovers is the background
beside it, mirrored. A profile made so has nose, chin and one eye where a profile has them and hides the far half of the
face: enough to try what a tracker and an engine do with it, not enough to judge how natural they look.
"""

from typing import NamedTuple

import cv2
import numpy as np

from gpu_tasks.draft.models import topology
from gpu_tasks.draft.raster import draw_mesh, facing_back_to_front
from gpu_tasks.faces.arrays import Floats, Frame, Mask
from gpu_tasks.faces.masks import blurred, outline_mask
from gpu_tasks.faces.mesh import CHIN, FOREHEAD, OVAL

_EARS = (234, 454)
_CHEEKS = (50, 280, 205, 425)
# The head around the face, in parts of the face's width (half its breadth) and height (half its height, and how far its
# middle lies above the face's). Judged on the sample.
_HALF_BREADTH, _HALF_HEIGHT, _RAISED = 0.66, 0.74, 0.16
# In heights of the head from its middle: the crown's hair, and where the bare side changes from hair to skin.
_HAIR, _EAR_LEVEL = -0.9, 0.15
_SOFT = 0.05  # of the half breadth: softness of all edges
_NEVER = 0.5  # of the half breadth: nearer to the axis the turned face covers whatever is laid open
_ROUND_THE_FACE = 0.09  # of the half breadth: the mesh ends on the skin, that far before the hair
# Degrees between which the bare side of the head comes into sight.
_BARE_FROM, _BARE_FULLY = 2.0, 12.0


class _Head(NamedTuple):
    """An ellipse around a head: middle and half axes in pixels; the depth of its axis, as the mesh counts depth."""

    x: float
    y: float
    breadth: float
    height: float
    depth: float


def turned(frame: Frame, mesh_468: Floats, degrees: float) -> Frame:
    """Turn the head in a frame about its upright axis towards the picture's right.

    Args:
        frame: (height, width, 3) uint8 BGR.
        mesh_468: (468, 3) float32, the face, frontal or nearly so.
        degrees: How far, 0 to 90.

    Returns:
        A new frame of the same size. Turned by nothing it is the input, but for rounding within the face.
    """
    head, angle = _head_of(mesh_468), float(np.deg2rad(degrees))
    shape = (frame.shape[0], frame.shape[1])
    soft = head.breadth * _SOFT
    bare = np.clip((degrees - _BARE_FROM) / (_BARE_FULLY - _BARE_FROM), 0, 1)
    reach = 2 * round(_ROUND_THE_FACE * head.breadth) + 1
    face = cv2.dilate(outline_mask(mesh_468[list(OVAL), :2], shape), np.ones((reach, reach), np.uint8))
    face = blurred(np.asarray(face, np.float32), soft) * np.float32(bare)
    out = _over(frame, _bare_side(frame, mesh_468, head), face)
    out = _over(out, *_uncovered(frame, head, angle))

    relief = _turned_mesh(mesh_468, head, angle)
    triangles = facing_back_to_front(relief, topology().triangles)
    places, covered = draw_mesh(relief[:, :2].copy(), mesh_468[:, :2].copy(), triangles, shape)
    inside = cv2.erode(covered.astype(np.float32), np.ones((3, 3), np.uint8), iterations=max(round(soft / 2), 1))
    return _over(out, _taken(frame, places), blurred(np.asarray(inside, np.float32), soft / 3) * covered)


def _head_of(mesh_468: Floats) -> _Head:
    low, high = mesh_468[:, :2].min(0), mesh_468[:, :2].max(0)
    width = float(high[0] - low[0])
    height = float(np.linalg.norm(mesh_468[FOREHEAD, :2] - mesh_468[CHIN, :2]))
    middle = (low + high) / 2
    return _Head(
        x=float(middle[0]),
        y=float(middle[1]) - _RAISED * height,
        breadth=_HALF_BREADTH * width,
        height=_HALF_HEIGHT * height,
        depth=float(mesh_468[list(_EARS), 2].mean()),
    )


def _bare_side(frame: Frame, mesh_468: Floats, head: _Head) -> Floats:
    """Plain hair above, plain skin below, for the whole frame."""
    hair = _colour(frame, [(head.x, head.y + _HAIR * head.height)], head)
    skin = _colour(frame, mesh_468[list(_CHEEKS), :2].tolist(), head)
    level = (np.arange(frame.shape[0], dtype=np.float32) - head.y) / head.height
    share = np.clip((level - _EAR_LEVEL) / _SOFT / 4 + 0.5, 0, 1)[:, None, None]
    return np.asarray(np.broadcast_to(hair + (skin - hair) * share, frame.shape), np.float32)


def _colour(frame: Frame, places: list[tuple[float, float]], head: _Head) -> Floats:
    """Median colour around places, (3,) float32."""
    patches = np.zeros(frame.shape[:2], np.uint8)
    for x, y in places:
        cv2.circle(patches, (round(x), round(y)), max(round(head.breadth * 0.1), 1), (255,), -1)
    seen = frame[patches > 0]
    return np.asarray(np.median(seen if len(seen) else frame.reshape(-1, 3), axis=0), np.float32)


def _uncovered(frame: Frame, head: _Head, angle: float) -> tuple[Floats, Mask]:
    """What the far side of the head lays open below the hair: the background mirrored inwards, and where, 0..1."""
    u = (np.arange(frame.shape[1], dtype=np.float32)[None] - head.x) / head.breadth
    v = (np.arange(frame.shape[0], dtype=np.float32)[:, None] - head.y) / head.height
    outline = np.sqrt(np.clip(1 - v * v, 0.04, 1)) * 1.08
    inside = np.clip((outline - u) / _SOFT / 2, 0, 1) * np.clip((u - max(np.cos(angle), _NEVER)) / _SOFT / 2, 0, 1)
    below_hair = np.clip((v + 0.35) / _SOFT / 4, 0, 1) * np.clip((1 - v) / _SOFT / 2, 0, 1)
    x = head.x + head.breadth * (2 * outline - u)
    y = head.y + head.height * v + 0 * u
    places = np.stack([x + 0 * v, y], axis=2).astype(np.float32)
    return _taken(frame, places), np.asarray(inside * below_hair, np.float32)


def _turned_mesh(mesh_468: Floats, head: _Head, angle: float) -> Floats:
    x, z = mesh_468[:, 0] - head.x, mesh_468[:, 2] - head.depth
    out = mesh_468.copy()
    out[:, 0] = head.x + x * np.cos(angle) - z * np.sin(angle)
    out[:, 2] = head.depth + x * np.sin(angle) + z * np.cos(angle)
    return out


def _taken(frame: Frame, places: Floats) -> Floats:
    x, y = cv2.split(places)
    return np.asarray(cv2.remap(frame, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _over(below: Frame, above: Floats, alpha: Mask) -> Frame:
    mixed = below + (above - below) * alpha[..., None]
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)
