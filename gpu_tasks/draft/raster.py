"""Draws a mesh into an array: which place of a texture is seen at each pixel. No loop over triangles."""

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats

_EDGE = 1e-3  # pixel centres on a shared edge belong to both triangles, so rounding leaves no gap


def facing_back_to_front(mesh_468: Floats, triangles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangles turned towards the camera, the furthest first: painted in this order, near ones hide far ones.

    Args:
        mesh_468: (468, 3) float32; smaller z is nearer.
        triangles: (n, 3) int64, wound alike.
    """
    corners = mesh_468[triangles]
    a, b = corners[:, 1, :2] - corners[:, 0, :2], corners[:, 2, :2] - corners[:, 0, :2]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    facing = area * np.sign(area.sum()) > 0
    seen = triangles[facing]
    ordered: NDArray[np.int64] = seen[np.argsort(-corners[facing, :, 2].mean(1), kind="stable")]
    return ordered


def draw_mesh(
    points: Floats, values: Floats, triangles: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Interpolate the corners' values over the triangles.

    Args:
        points: (v, 2) float32, corners in pixels of the array.
        values: (v, c) float32, what to interpolate.
        triangles: (n, 3) int64, later ones over earlier ones.
        shape: (height, width) of the array.

    Returns:
        (height, width, c) float32, and (height, width) bool, true where a triangle was drawn. Elsewhere the values
        are those of the best affine map from points to values: they go on smoothly over the edge.
    """
    height, width = shape
    corners = points[triangles]
    first, across, down, is_flat = _edges(corners)
    which, x, y = _candidates(corners, width, height)
    away_x, away_y = x - first[which, 0], y - first[which, 1]
    # weights of the second and third corner at the candidate; the first has what is missing to one
    second = away_x * across[which, 0] + away_y * across[which, 1]
    third = away_x * down[which, 0] + away_y * down[which, 1]
    inside = (second >= -_EDGE) & (third >= -_EDGE) & (second + third <= 1 + _EDGE) & ~is_flat[which]
    owner = np.full(height * width, -1, np.intp)
    # of equal places the last one stays, and candidates come in painting order
    owner[y[inside] * width + x[inside]] = np.flatnonzero(inside)
    drawn = np.flatnonzero(owner >= 0)
    won = owner[drawn]
    triangle = triangles[which[won]]
    base = values[triangle[:, 0]]
    seen = (
        base + (values[triangle[:, 1]] - base) * second[won, None] + (values[triangle[:, 2]] - base) * third[won, None]
    )

    out = _continued(points, values, shape)
    out.reshape(height * width, -1)[drawn] = seen
    return out, (owner >= 0).reshape(height, width)


def _continued(points: Floats, values: Floats, shape: tuple[int, int]) -> Floats:
    """The best affine map from points to values, everywhere."""
    sums = np.concatenate([points, np.ones((len(points), 1), np.float32)], axis=1).astype(np.float64)
    map_ = np.linalg.solve(sums.T @ sums + 1e-6 * np.eye(3), sums.T @ values).astype(np.float32)
    x = np.arange(shape[1], dtype=np.float32)[None, :, None]
    y = np.arange(shape[0], dtype=np.float32)[:, None, None]
    return np.asarray(x * map_[0] + y * map_[1] + map_[2], np.float32)


def _edges(corners: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """First corner, the two rows of the inverse of its edges, and which triangles have no area."""
    first = corners[:, 0]
    a, b = corners[:, 1] - first, corners[:, 2] - first
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    is_flat = np.abs(area) < 1e-6  # noqa: PLR2004 - square pixels
    scale = 1 / np.where(is_flat, 1, area)[:, None]
    across = np.stack([b[:, 1], -b[:, 0]], axis=1) * scale
    down = np.stack([-a[:, 1], a[:, 0]], axis=1) * scale
    return first, across.astype(np.float32), down.astype(np.float32), is_flat


def _candidates(
    corners: Floats, width: int, height: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Every pixel in every triangle's bounding box: triangle number, x, y; in the triangles' order."""
    limit = np.array([width - 1, height - 1], np.float32)
    low = np.clip(np.ceil(corners.min(1) - _EDGE), 0, limit + 1).astype(np.int32)
    high = np.clip(np.floor(corners.max(1) + _EDGE), -1, limit).astype(np.int32)
    extent = np.maximum(high - low + 1, 0)
    counts = extent[:, 0] * extent[:, 1]
    ends = np.cumsum(counts, dtype=np.int32)
    which = np.repeat(np.arange(len(corners), dtype=np.int32), counts)
    nth = np.arange(len(which), dtype=np.int32) - (ends - counts)[which]
    columns = extent[which, 0]
    row = nth // columns
    return which, nth - row * columns + low[which, 0], row + low[which, 1]
