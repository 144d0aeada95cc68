"""The faces to change in a frame of the result: chosen over the whole clip, from the tracks that were found once."""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Timeline
from gpu_tasks.faces.align import fit_similarity, transform
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import CHIN, FOREHEAD, NOSE_BASE, FaceMesh, region_of
from gpu_tasks.faces.selection import Rule
from gpu_tasks.faces.tracker import TrackedFace
from gpu_tasks.faces.trackfile import TracksHeader, TracksReader

# Called with a frame's index on the timeline.
Chosen: TypeAlias = Callable[[int], tuple[TrackedFace, ...]]

# In face heights from the nose downwards: where lip-sync begins to move a face, and where it does so wholly.
_MOVED_FROM: Final = -0.02
_MOVED_FULLY: Final = 0.04
_SCORE: Final = 0.5


def chosen_faces(tracks: TracksReader, timeline: Timeline, rule: Rule) -> Chosen:
    """Return what gives the faces that a rule chooses, as they were tracked in the footage.

    They depend on nothing but the frame's number, so that a segment is what the whole would be.

    Raises:
        FaultError: REQUEST_INVALID when the tracks are those of another video; OBJECT_CORRUPT.
    """
    _check(tracks.header, timeline)
    # Chosen over the whole clip in its own order, whatever part of it is shown and in which direction.
    rule.survey(tracks.places())
    chosen = [frozenset(face.track_id for face in rule.among(places)) for places in tracks.places()]
    first = tracks.header.clip.start_frame

    def find(index: int) -> tuple[TrackedFace, ...]:
        frame = timeline.target_frame(index)
        wanted = chosen[frame - first] if 0 <= frame - first < len(chosen) else frozenset()
        return tuple(face for face in tracks.faces(frame) if face.track_id in wanted)

    return find


def with_mouth_of(pixels: Frame, face: TrackedFace, network: FaceMesh) -> TrackedFace:
    """Take mouth and jaw from a frame whose mouth was moved, the rest of the face from its settled track.

    Args:
        pixels: (height, width, 3) uint8 BGR, the frame as it is now.
        face: As it was tracked in the footage.
        network: Measures the mouth.
    """
    tracked = face.mesh_468
    measured, score = network.landmarks(pixels, region_of(tracked))
    if score < _SCORE:
        return face
    moved = _moved_share(tracked)
    still = moved[:, 0] == 0
    fit = fit_similarity(measured[still, :2], tracked[still, :2])
    placed = np.concatenate([transform(measured[:, :2], fit), measured[:, 2:] * np.hypot(fit[0, 0], fit[1, 0])], axis=1)
    mesh = np.asarray(tracked + (placed - tracked) * moved, np.float32)
    return TrackedFace(face.track_id, mesh, face.score)


def _check(header: TracksHeader, timeline: Timeline) -> None:
    tracked, clip = header.clip, timeline.clip
    is_inside = tracked.start_frame <= clip.start_frame and clip.stop_frame <= tracked.stop_frame
    if (header.fps, header.target_frame_count) != (timeline.fps, timeline.target_frame_count) or not is_inside:
        raise FaultError(FaultCode.REQUEST_INVALID, "The tracks are those of another video.")


def _moved_share(mesh_468: Floats) -> Floats:
    """Tell how far lip-sync moves each point: (468, 1) float32, 0 above the nose's base, 1 from the lips down."""
    face = mesh_468[CHIN, :2] - mesh_468[FOREHEAD, :2]
    length = max(float(np.hypot(*face)), 1.0)
    below_nose = (mesh_468[:, :2] - mesh_468[NOSE_BASE, :2]) @ (face / length) / length
    share = np.clip((below_nose - _MOVED_FROM) / (_MOVED_FULLY - _MOVED_FROM), 0, 1)
    return np.asarray(share[:, None], np.float32)
