"""Draws a mesh into an array: which place of a texture is seen at each pixel. No loop over triangles."""

from typing import NamedTuple

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
    weights = _weights(points[triangles])
    rows = _rows(points[triangles], weights, width, height)
    which, x = _pixels(rows)
    owner = np.full(height * width, -1, np.intp)
    # of equal places the last one stays, and pixels come in painting order
    owner[rows.y[which] * width + x] = np.arange(len(which))
    drawn = np.flatnonzero(owner >= 0)
    won = which[owner[drawn]]
    # value of a triangle at a pixel: steps[0] x + steps[1] y + steps[2], channels and triangles last
    first, second, third = (values.T[:, triangles[:, corner]] for corner in range(3))
    steps = weights[0, :, None] * (second - first) + weights[1, :, None] * (third - first)
    steps[2] += first
    step = steps.take(rows.triangle[won], axis=2)
    seen = step[0] * x[owner[drawn]].astype(np.float32) + step[1] * rows.y[won].astype(np.float32) + step[2]

    out = _continued(points, values, shape)
    out.reshape(height * width, -1)[drawn] = seen.T
    return out, (owner >= 0).reshape(height, width)


def _continued(points: Floats, values: Floats, shape: tuple[int, int]) -> Floats:
    """The best affine map from points to values, everywhere."""
    at, goal = points.mean(0), values.mean(0)
    away = (points - at).astype(np.float64)
    slope = np.linalg.solve(away.T @ away + 1e-6 * np.eye(2), away.T @ (values - goal)).astype(np.float32)
    x = np.arange(shape[1], dtype=np.float32)[None, :, None] - at[0]
    y = np.arange(shape[0], dtype=np.float32)[:, None, None] - at[1]
    return np.asarray(x * slope[0] + (y * slope[1] + goal), np.float32)


class _Rows(NamedTuple):
    """Every row of pixels of every triangle, in the triangles' order: triangle number, y, first x, number of pixels."""

    triangle: NDArray[np.intp]
    y: NDArray[np.intp]
    first_x: NDArray[np.intp]
    length: NDArray[np.intp]


def _weights(corners: Floats) -> Floats:
    """Weights of the second and the third corner at a pixel, (2, 3, n): [0] x + [1] y + [2].

    Those of triangles without area are negative everywhere.
    """
    (x, y), (to_x, to_y), (down_x, down_y) = corners.transpose(1, 2, 0)
    a_x, a_y, b_x, b_y = to_x - x, to_y - y, down_x - x, down_y - y
    area = a_x * b_y - a_y * b_x
    is_flat = np.abs(area) < 1e-6  # noqa: PLR2004 - square pixels
    scale = 1 / np.where(is_flat, 1, area)
    weights = np.empty((2, 3, len(corners)), np.float32)
    weights[0, 0], weights[0, 1], weights[1, 0], weights[1, 1] = b_y * scale, -b_x * scale, -a_y * scale, a_x * scale
    weights[:, 2] = -(weights[:, 0] * x + weights[:, 1] * y)
    weights[:, :, is_flat] = np.array([0, 0, -1], np.float32)[:, None]
    return weights


def _rows(corners: Floats, weights: Floats, width: int, height: int) -> _Rows:
    y_of = corners[:, :, 1]
    low = np.clip(np.ceil(y_of.min(1) - _EDGE), 0, height).astype(np.intp)
    high = np.clip(np.floor(y_of.max(1) + _EDGE), -1, height - 1).astype(np.intp)
    triangle, y = _counted_up(low, np.maximum(high - low + 1, 0))
    # Inside, the weights of all three corners are not negative: each says from which x on, or up to which.
    of_row = weights.take(triangle, axis=2)
    slopes = np.empty((3, len(triangle)), np.float32)
    heights = np.empty_like(slopes)
    slopes[:2] = of_row[:, 0]
    slopes[2] = -(slopes[0] + slopes[1])
    heights[:2] = of_row[:, 1] * y.astype(np.float32) + of_row[:, 2] + np.float32(_EDGE)
    heights[2] = 1 + 3 * np.float32(_EDGE) - heights[0] - heights[1]
    is_level = np.abs(slopes) < 1e-9  # noqa: PLR2004 - of pixels
    ends = -heights / np.where(is_level, 1, slopes)
    never = np.where(is_level & (heights < 0), np.float32(np.inf), np.float32(-np.inf))
    left = np.where((slopes > 0) & ~is_level, ends, never).max(0)
    right = np.where((slopes < 0) & ~is_level, ends, np.float32(np.inf)).min(0)
    first_x = np.clip(np.ceil(left), 0, width).astype(np.intp)
    last_x = np.clip(np.floor(right), -1, width - 1).astype(np.intp)
    return _Rows(triangle, y, first_x, np.maximum(last_x - first_x + 1, 0))


def _pixels(rows: _Rows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Every pixel of every row: which row, and its x; in the rows' order."""
    return _counted_up(rows.first_x, rows.length)


def _counted_up(first: NDArray[np.intp], counts: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Count up from each first number: whose turn it is, and the number."""
    turn = np.repeat(np.arange(len(counts)), counts)
    start = first - (np.cumsum(counts) - counts)
    return turn, np.arange(len(turn)) + start[turn]
