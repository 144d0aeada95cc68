"""Tracks as they can be when the whole clip is known: gaps bridged, meshes steadied from both sides, without lag.

Both work on a stream with a delay of a fraction of a second; memory does not grow with the length of the clip.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from gpu_tasks.faces.align import fit_similarity, transform
from gpu_tasks.faces.arrays import Affine, Floats
from gpu_tasks.faces.tracker import TrackedFace

Faces = tuple[TrackedFace, ...]

# A blink of the detector, a hand that passes: bridged. Longer, and nobody knows where the face was.
_LONGEST_GAP_SECONDS: Final = Fraction(3, 10)
# In face heights: how far a face may have moved while it was not seen and still be the same one.
_SAME_FACE_DISTANCE: Final = 0.5
_SAME_FACE_SCALE: Final = 1.5
# From one frame to the next a head does not move further or grow faster; a cut does.
_CUT_DISTANCE: Final = 0.25
_CUT_SCALE: Final = 1.25
# Savitzky-Golay coefficients, order 2 (Savitzky and Golay 1964, table I): noise is averaged, a motion of constant
# acceleration stays where it is. By half width; 3 is a tenth of a second at 30 fps.
_POSE_WEIGHTS: Final = {
    2: np.array([-3, 12, 17, 12, -3]) / 35,
    3: np.array([-2, 3, 6, 7, 6, 3, -2]) / 21,
}
_HALF_WIDTH: Final = 3
# In face heights: what differs by more than this from the head's own motion is lips or lids moving, and kept.
# The mesh network's own trembling is a tenth of it (measured on the sample).
_EXPRESSION: Final = 0.008


class Settler:
    """Takes the faces of a clip's frames in order and gives them back settled, a little later.

    Args:
        fps: Of the clip.
    """

    def __init__(self, fps: Fraction) -> None:
        self._bridge = _Bridge(int(_LONGEST_GAP_SECONDS * fps))
        # The frame in the middle is the next to be given back; before the first one nothing was seen.
        self._window: deque[Faces] = deque([()] * (2 * _HALF_WIDTH + 1), maxlen=2 * _HALF_WIDTH + 1)
        self._taken = 0

    def push(self, faces: Faces) -> Iterator[Faces]:
        """Take the next frame's faces; yield those of the frames that are settled by now."""
        for bridged in self._bridge.push(faces):
            yield from self._steady(bridged)

    def finish(self) -> Iterator[Faces]:
        """Yield the faces of the frames that are left."""
        for bridged in self._bridge.finish():
            yield from self._steady(bridged)
        for _ in range(_HALF_WIDTH):
            yield from self._steady(())

    def _steady(self, faces: Faces) -> Iterator[Faces]:
        self._window.append(faces)
        self._taken += 1
        if self._taken > _HALF_WIDTH:
            frames = tuple(self._window)
            yield tuple(
                replace(face, mesh_468=_steadied(*_course(frames, face.track_id))) for face in frames[_HALF_WIDTH]
            )


class _LastSeen(NamedTuple):
    frame: int
    face: TrackedFace


class _Bridge:
    """Joins a track that ended with one that begins at its place soon after, and fills the frames between."""

    def __init__(self, longest_gap: int) -> None:
        self._longest_gap = longest_gap
        self._pending: deque[list[TrackedFace]] = deque()
        self._frame = 0
        self._joined: dict[int, int] = {}
        self._last_seen: dict[int, _LastSeen] = {}

    def push(self, faces: Faces) -> Iterator[Faces]:
        named = [replace(face, track_id=self._joined.get(face.track_id, face.track_id)) for face in faces]
        present = {face.track_id for face in named}
        known = []
        for face in named:
            if face.track_id not in self._last_seen and (before := self._lost_near(face, present)) is not None:
                self._joined[face.track_id] = before
                face = replace(face, track_id=before)  # noqa: PLW2901  # the same face under its older name
                present.add(before)
            known.append(face)
            self._fill_gap(face)
            self._last_seen[face.track_id] = _LastSeen(self._frame, face)
        self._forget()
        self._pending.append(known)
        self._frame += 1
        if len(self._pending) > self._longest_gap:
            yield _in_order(self._pending.popleft())

    def finish(self) -> Iterator[Faces]:
        while self._pending:
            yield _in_order(self._pending.popleft())

    def _lost_near(self, face: TrackedFace, present: set[int]) -> int | None:
        near = [
            (distance, track_id)
            for track_id, seen in self._last_seen.items()
            if track_id not in present
            and (distance := _distance(seen.face.mesh_468, face.mesh_468)) < _SAME_FACE_DISTANCE
            and _growth(seen.face.mesh_468, face.mesh_468) < _SAME_FACE_SCALE
        ]
        return min(near, default=(0.0, None))[1]

    def _fill_gap(self, face: TrackedFace) -> None:
        seen = self._last_seen.get(face.track_id)
        if seen is None:
            return
        gap = self._frame - seen.frame
        for step in range(1, gap):
            share = step / gap
            mesh = seen.face.mesh_468 + (face.mesh_468 - seen.face.mesh_468) * np.float32(share)
            score = seen.face.score + (face.score - seen.face.score) * share
            self._pending[step - gap].append(TrackedFace(face.track_id, np.asarray(mesh, np.float32), score))

    def _forget(self) -> None:
        """Keep in mind only tracks whose gap can still be bridged by the next frame."""
        oldest = self._frame - self._longest_gap
        self._last_seen = {key: seen for key, seen in self._last_seen.items() if seen.frame >= oldest}


def _in_order(faces: Sequence[TrackedFace]) -> Faces:
    return tuple(sorted(faces, key=lambda face: face.track_id))


def _course(frames: Sequence[Faces], track_id: int) -> tuple[Floats, ...]:
    """Return a track's meshes around the middle frame: as many on either side, without a gap or cut between."""
    meshes = [next((face.mesh_468 for face in faces if face.track_id == track_id), None) for faces in frames]
    middle = len(meshes) // 2

    def reach(direction: int) -> int:
        steps, here = 0, meshes[middle]
        while steps < _HALF_WIDTH:
            beyond = meshes[middle + direction * (steps + 1)]
            if here is None or beyond is None or _is_cut(here, beyond):
                break
            steps, here = steps + 1, beyond
        return steps

    half = min(reach(-1), reach(1))
    return tuple(mesh for mesh in meshes[middle - half : middle + half + 1] if mesh is not None)


def _steadied(*meshes: Floats) -> Floats:
    """Steady the middle one of an odd number of (468, 3) meshes of consecutive frames.

    The head's motion (a similarity) and what moves against it are steadied apart: the first by a polynomial through its
    neighbours, the second by averaging what hardly differs. Neither looks further back than ahead, so neither lags.
    """
    half = len(meshes) // 2
    now = meshes[half]
    if half not in _POSE_WEIGHTS:
        return now
    height = max(float(np.ptp(now[:, 1])), 1.0)
    origin = now[:, :2].mean(0)
    centred = now[:, :2] - origin
    shape, weight = now.astype(np.float64), np.ones((len(now), 1))
    pose = np.zeros((2, 3))
    for other, share in zip(meshes, _POSE_WEIGHTS[half], strict=True):
        if other is now:
            pose += share * np.eye(2, 3)
            continue
        away = other[:, :2] - origin
        pose += share * fit_similarity(centred, away)
        moved = _carried(other, away, fit_similarity(away, centred), origin)
        difference = np.linalg.norm(moved[:, :2] - now[:, :2], axis=1, keepdims=True) / height
        likeness = np.exp(-((difference / _EXPRESSION) ** 2))
        shape += moved * likeness
        weight += likeness
    steady = np.asarray(shape / weight, np.float32)
    return _carried(steady, steady[:, :2] - origin, np.asarray(pose, np.float32), origin)


def _carried(mesh: Floats, centred: Floats, affine: Affine, origin: Floats) -> Floats:
    """Move a mesh by a similarity about `origin`; depth grows with it."""
    flat = transform(np.asarray(centred, np.float32), affine) + origin
    depth = mesh[:, 2:] * np.hypot(affine[0, 0], affine[1, 0])
    return np.concatenate([flat, depth], axis=1).astype(np.float32)


def _is_cut(before: Floats, after: Floats) -> bool:
    return _distance(before, after) > _CUT_DISTANCE or _growth(before, after) > _CUT_SCALE


def _distance(one: Floats, other: Floats) -> float:
    """Distance of two meshes' middles, in heights of the larger face."""
    height = max(float(np.ptp(one[:, 1])), float(np.ptp(other[:, 1])), 1.0)
    return float(np.linalg.norm(one[:, :2].mean(0) - other[:, :2].mean(0))) / height


def _growth(one: Floats, other: Floats) -> float:
    """Ratio of two meshes' heights, at least 1."""
    heights = sorted(max(float(np.ptp(mesh[:, 1])), 1.0) for mesh in (one, other))
    return heights[1] / heights[0]
