"""The tracking pass: every face of a target, found once on the CPU, for all segments and stages to share."""

from collections.abc import Callable
from pathlib import Path

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Segment
from gpu_tasks.contract.tracks import FaceReport
from gpu_tasks.faces.coverage import CoverageMeter
from gpu_tasks.faces.detector import Detects
from gpu_tasks.faces.mesh import FaceMesh
from gpu_tasks.faces.settling import Settler
from gpu_tasks.faces.tracker import FaceTracker
from gpu_tasks.faces.trackfile import TracksHeader, TracksWriter
from gpu_tasks.media.reader import VideoReader


def track_faces(  # noqa: PLR0913  # what is looked at, with what, and who may stop it
    target: Path,
    destination: Path,
    detector: Detects,
    mesh: FaceMesh,
    *,
    clip: Segment | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> FaceReport:
    """Follow all faces of a clip, settle their tracks with the whole clip in view, and write the tracks artifact.

    One pass, streaming: memory does not grow with the length of the clip but for a few numbers per frame. Equal
    targets give equal files (same build of the networks' runtime and of zlib).

    Args:
        target: The target video, as jobs will name it.
        destination: Where the artifact goes; it appears when it is whole.
        detector: Finds faces.
        mesh: Follows them.
        clip: The frames that are used; None is all. Frames outside are not looked at and not in the artifact.
        checkpoint: Called at every frame; what it raises ends the pass.

    Returns:
        How the faces are seen, with warnings.

    Raises:
        FaultError: NO_FACE_DETECTED when there is none at all; otherwise as VideoReader does.
    """
    tracker, meter = FaceTracker(detector, mesh, steady=False), CoverageMeter()
    with VideoReader(target) as reader:
        info = reader.info
        clip = clip or Segment(start_frame=0, stop_frame=info.frame_count)
        header = TracksHeader(
            width=info.width, height=info.height, fps=info.fps, target_frame_count=info.frame_count, clip=clip
        )
        settler = Settler(info.fps)
        with TracksWriter(destination, header) as writer:
            for frame in reader.frames(clip.start_frame, clip.stop_frame):
                checkpoint()
                measured = tracker.track(frame.pixels)
                meter.look(frame.pixels, measured)
                for faces in settler.push(measured):
                    meter.count(faces)
                    writer.write(faces)
            for faces in settler.finish():
                meter.count(faces)
                writer.write(faces)
            if (report := meter.report()) is None:
                raise FaultError(FaultCode.NO_FACE_DETECTED, f"{clip.frame_count} frames were looked at.")
    return report
