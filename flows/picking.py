"""The faces of a target for somebody who chooses among them: plain functions for the CPU pool, without Prefect."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict

from flows.footage import Limits, Upload
from flows.intake import Door, Taken, keep
from flows.taking import media_of
from flows.workbench import scratch, store_of
from gpu_tasks.contract.faults import MEANINGS, FaultCode, FaultError
from gpu_tasks.contract.looks import FoundFace, FoundFaces, Notice
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.contract.tracks import WARNING_SENTENCES
from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.faces.mesh import box_of
from gpu_tasks.faces.tracker import FaceTracker
from gpu_tasks.faces.trackfile import FacePlace, TracksReader
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.timeline import plan_timeline
from gpu_tasks.settings import R2Settings

# Somebody waits: a longer target is not followed frame by frame, unless a run has done so already.
_FOLLOWED_FRAMES: Final = 450
_SAMPLES: Final = 24
_MOST_FACES: Final = 32
_CROP_PX: Final = 192
# Room around a face, as a share of its box on each side.
_MARGIN: Final = 0.3
_JPEG_QUALITY: Final = 88
_SAMPLED: Final = Notice(
    code="sampled", sentence="The target is long: only some of its frames were looked at, and a face may count twice."
)

# Who is where, by the frame of the target.
Places = Mapping[int, Sequence[FacePlace]]


class FacesOrder(BaseModel):
    """Whose faces, and at which moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Upload
    at_seconds: float | None
    limits: Limits
    revisions: dict[str, str]


class _Seen(NamedTuple):
    """Where a face is looked at: a frame, its place from the left there, and where it is."""

    frame: int
    position: int
    face: FacePlace


def faces(order: FacesOrder, r2: R2Settings) -> FoundFaces:
    """Find the faces of a target: of one frame, or each where most faces are seen beside it.

    Raises:
        MediaError: The gate refuses the target.
        FaultError: REQUEST_INVALID when the moment lies after the end.
        StorageError: The target is gone, or the bucket is away.
    """
    with scratch() as folder:
        door = Door(store_of(r2), order.limits, folder)
        target = door.target(order.target)
        video = media_of(target.report).video
        if video is None:
            raise MediaError(FaultCode.NO_VIDEO_STREAM, f"Target, {order.target.key}.")
        wanted = _frame_at(order.at_seconds, video)
        places, notices = _places(door, target, video, order, wanted)
        chosen = _at(places, wanted) if wanted is not None else _best(places)
        return FoundFaces(
            width=video.width,
            height=video.height,
            fps=round(float(video.fps), 3),
            duration_sec=round(video.duration_seconds, 3),
            coverage_percent=_percent(sum(1 for seen in places.values() if seen), len(places)),
            faces=tuple(_cropped(door, target.path, chosen, places, video)),
            warnings=notices,
        )


def _frame_at(at_seconds: float | None, video: VideoInfo) -> int | None:
    if at_seconds is None:
        return None
    frame = int(at_seconds * video.fps)
    if frame >= video.frame_count:
        lasts = f"at_seconds: the target lasts {video.duration_seconds:.2f} s."
        raise FaultError(FaultCode.REQUEST_INVALID, lasts, field="at_seconds")
    return frame


def _places(
    door: Door, target: Taken, video: VideoInfo, order: FacesOrder, wanted: int | None
) -> tuple[Places, tuple[Notice, ...]]:
    timeline = plan_timeline(video, None, SyncMode.LOOP)
    known = door.known_tracks(target, timeline, order.revisions)
    if known is None and video.frame_count > _FOLLOWED_FRAMES:
        return _sampled(target.path, video, wanted), (_SAMPLED,)
    try:
        report, tracks = known or door.tracks(target, timeline, order.revisions)
    except FaultError as error:
        if error.fault.code is not FaultCode.NO_FACE_DETECTED:
            raise
        # For somebody who asks which faces there are, "none" is an answer.
        nothing: Places = dict.fromkeys(range(video.frame_count), ())
        code = FaultCode.NO_FACE_DETECTED
        return nothing, (Notice(code=code, sentence=MEANINGS[code].sentence),)
    found = door.folder / "followed"
    door.store.fetch(tracks, found)
    with TracksReader(found) as reader:
        places = dict(enumerate(reader.places(), start=reader.header.clip.start_frame))
    return places, tuple(Notice(code=warning, sentence=WARNING_SENTENCES[warning]) for warning in report.warnings)


def _sampled(path: Path, video: VideoInfo, wanted: int | None) -> Places:
    """Look at some frames all over the target, and at the one that is asked for."""
    step = video.frame_count / _SAMPLES
    frames = {int(step * (place + 0.5)) for place in range(_SAMPLES)} | ({wanted} if wanted is not None else set())
    models = face_models()
    tracker = FaceTracker(models.detector, models.mesh, steady=False)
    places = {}
    for frame, pixels in _frames(path, frames):
        followed = tracker.track(pixels)
        places[frame] = [FacePlace(each.track_id, each.score, *box_of(each.mesh_468).tolist()) for each in followed]
    return places


def _frames(path: Path, wanted: Iterable[int]) -> Iterable[tuple[int, Frame]]:
    with VideoReader(path) as reader:
        for index in sorted(wanted):
            for frame in reader.frames(index, index + 1):
                yield index, frame.pixels


def _at(places: Places, frame: int) -> list[_Seen]:
    return [_Seen(frame, position, face) for position, face in enumerate(_from_left(places.get(frame, ())))]


def _best(places: Places) -> list[_Seen]:
    """Return every face once: where most others are seen beside it, and among those frames where it is largest."""
    best: dict[int, tuple[tuple[int, float], _Seen]] = {}
    for frame, seen in places.items():
        for position, face in enumerate(_from_left(seen)):
            rank = (len(seen), face.height_px)
            if face.track_id not in best or rank > best[face.track_id][0]:
                best[face.track_id] = (rank, _Seen(frame, position, face))
    shown = Counter(face.track_id for seen in places.values() for face in seen)
    longest = sorted(best, key=lambda track_id: -shown[track_id])[:_MOST_FACES]
    return sorted((best[track_id][1] for track_id in longest), key=lambda seen: (seen.frame, seen.position))


def _from_left(faces: Sequence[FacePlace]) -> list[FacePlace]:
    return sorted(faces, key=lambda face: face.centre_x)


def _cropped(door: Door, path: Path, chosen: Sequence[_Seen], places: Places, video: VideoInfo) -> Iterable[FoundFace]:
    shown = Counter(face.track_id for seen in places.values() for face in seen)
    pictures = dict(_frames(path, {seen.frame for seen in chosen}))
    for number, seen in enumerate(chosen):
        face = seen.face
        crop = door.folder / f"crop-{number}.jpg"
        crop.write_bytes(_crop(pictures[seen.frame], face))
        box = (face.left, face.top, face.right - face.left, face.bottom - face.top)
        yield FoundFace(
            track_id=face.track_id,
            position=seen.position,
            box=tuple(round(side, 1) for side in box),
            score=round(min(max(face.score, 0.0), 1.0), 3),
            at_seconds=round(float(seen.frame / video.fps), 3),
            coverage_percent=_percent(shown[face.track_id], len(places)),
            size_px=round(face.height_px, 1),
            crop_key=keep(door.store, crop, "image/jpeg").key,
        )


def _crop(pixels: Frame, face: FacePlace) -> bytes:
    """Cut a face out with some room around it; (height, width, 3) uint8 BGR to a JPEG of at most 192 px a side."""
    height, width = pixels.shape[:2]
    room_x, room_y = (face.right - face.left) * _MARGIN, (face.bottom - face.top) * _MARGIN
    left, top = max(0, int(face.left - room_x)), max(0, int(face.top - room_y))
    right, bottom = min(width, int(face.right + room_x) + 1), min(height, int(face.bottom + room_y) + 1)
    cut = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
    scale = min(1.0, _CROP_PX / max(cut.shape[:2]))
    if scale < 1:
        size = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
        cut = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, encoded = cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise FaultError(FaultCode.INTERNAL)
    return encoded.tobytes()


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
