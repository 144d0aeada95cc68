"""Follows faces through a clip: the detector looks now and then, the mesh carries each face from frame to frame."""

from dataclasses import dataclass

import numpy as np

from gpu_tasks.faces.align import Region, fit_similarity, transform
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.detector import Detects, box_overlap
from gpu_tasks.faces.mesh import FaceMesh, box_of, region_of

_SCORE = 0.5
_LOOK_EVERY = 15  # frames between two searches for faces that came in while others are tracked
_LOOK_SOON = 3  # frames between two searches after a face was lost beside others: it may be back in a moment
_SOON_FRAMES = 9
_TILES_EVERY = 5  # in a clip without faces four more looks per frame would cost more than everything else
_SAME_FACE = 0.4  # overlap of two boxes above which they are one face
_STILL = 0.35  # share of a point's own motion taken over at once when it hardly moves
_MOVING = 0.02  # motion per frame, in face heights, from which a point is taken as it is


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """One face in one frame.

    Attributes:
        track_id: The same number for the same face through consecutive frames; never reused by a tracker.
        mesh_468: (468, 3) float32, x and y in frame pixels, z in the same scale.
        score: 0..1.
    """

    track_id: int
    mesh_468: Floats
    score: float

    @property
    def height_px(self) -> float:
        return float(np.ptp(self.mesh_468[:, 1]))

    @property
    def centre_x(self) -> float:
        return float(self.mesh_468[:, 0].mean())

    @property
    def centre_y(self) -> float:
        return float(self.mesh_468[:, 1].mean())


class FaceTracker:
    """Tracks every face of one clip; frames are given in order.

    The detector runs when no face is tracked, when a track was lost, and every fifteenth frame to see who came in.
    Smoothing acts on what is left after the head's motion between two frames is taken out, and fades with speed:
    a still face does not tremble, a moving head and a talking mouth do not lag.

    Args:
        detector: Finds new faces.
        mesh: Follows them.
        max_faces: The best so many faces are tracked.
        steady: Smooth from the past alone, as a single pass must. Without it meshes come as the network places them.
    """

    def __init__(self, detector: Detects, mesh: FaceMesh, *, max_faces: int = 8, steady: bool = True) -> None:
        self._detector = detector
        self._mesh = mesh
        self._max_faces = max_faces
        self._tracks: tuple[TrackedFace, ...] = ()
        self._next_id = 0
        self._since_look = 0
        self._since_loss = _SOON_FRAMES
        self._steady = steady

    def track(self, frame: Frame) -> tuple[TrackedFace, ...]:
        """Return the faces of the next frame, the longest tracked first; () when there is none.

        Args:
            frame: (height, width, 3) uint8 BGR.
        """
        before = len(self._tracks)
        followed = [self._follow(frame, track) for track in self._tracks]
        tracks = _distinct([track for track in followed if track is not None])
        self._since_look += 1
        self._since_loss = 0 if len(tracks) < before else self._since_loss + 1
        look_every = _LOOK_SOON if self._since_loss < _SOON_FRAMES else _LOOK_EVERY
        if len(tracks) < max(before, 1) or self._since_look >= look_every:
            tracks = self._find(frame, tracks)
        self._tracks = tuple(tracks)
        return self._tracks

    def _follow(self, frame: Frame, track: TrackedFace) -> TrackedFace | None:
        mesh, score = self._mesh.landmarks(frame, region_of(track.mesh_468))
        if score < _SCORE:
            return None
        return TrackedFace(track.track_id, _steadied(track.mesh_468, mesh) if self._steady else mesh, score)

    def _find(self, frame: Frame, tracks: list[TrackedFace]) -> list[TrackedFace]:
        empty_for = self._since_look
        faces = self._detector.detect(frame, tiles=not tracks and (empty_for % _TILES_EVERY == 0 or not self._next_id))
        if faces or tracks:
            self._since_look = 0
        found = list(tracks)
        for face in faces:
            taken = np.array([box_of(track.mesh_468) for track in found], np.float32).reshape(-1, 4)
            if len(found) >= self._max_faces or (box_overlap(face.box, taken) > _SAME_FACE).any():
                continue
            mesh, score = self._settled(frame, face.region)
            if score >= _SCORE:
                found.append(TrackedFace(self._next_id, mesh, score))
                self._next_id += 1
        return _distinct(found)

    def _settled(self, frame: Frame, region: Region) -> tuple[Floats, float]:
        # the detector's box is loose: the second look goes where the first saw the face
        mesh, score = self._mesh.landmarks(frame, region)
        return self._mesh.landmarks(frame, region_of(mesh)) if score >= _SCORE else (mesh, score)


def _steadied(before: Floats, now: Floats) -> Floats:
    """Smooth what moved against the head; the head's own motion is taken over whole."""
    carried = before.copy()
    head = fit_similarity(before[:, :2], now[:, :2])
    carried[:, :2] = transform(before[:, :2], head)
    carried[:, 2] *= np.hypot(head[0, 0], head[1, 0])
    moved = now - carried
    speed = np.linalg.norm(moved[:, :2], axis=1, keepdims=True) / max(float(np.ptp(now[:, 1])), 1.0)
    share = np.clip(_STILL + (1 - _STILL) * speed / _MOVING, 0, 1)
    return np.asarray(carried + moved * share, np.float32)


def _distinct(tracks: list[TrackedFace]) -> list[TrackedFace]:
    """Drop the younger of two tracks that slid onto one face."""
    kept: list[TrackedFace] = []
    for track in sorted(tracks, key=lambda track: track.track_id):
        taken = np.array([box_of(other.mesh_468) for other in kept], np.float32).reshape(-1, 4)
        if not (box_overlap(box_of(track.mesh_468), taken) > _SAME_FACE).any():
            kept.append(track)
    return kept
