"""The draft engine's stages as a worker runs them, on local files, and the transcode they are compared with."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Segment, Stage, Timeline, Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.one_pass import DraftOrder
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.still import read_image
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.runtime.pipeline import Bench
from tests.engine.footage import FPS, SAMPLES, target_frames

WIDTH, HEIGHT = 640, 360
SOUND_HZ = 48_000


@dataclass(frozen=True)
class Clip:
    """A target of one face at 640x360, a voice as long as it, and the face's tracks (where they were made)."""

    folder: Path
    frame_count: int

    @property
    def target(self) -> Path:
        return self.folder / "target.mp4"

    @property
    def voice(self) -> Path:
        return self.folder / "voice.wav"

    @property
    def tracks(self) -> Path:
        return self.folder / "target.tracks"

    @property
    def timeline(self) -> Timeline:
        return Timeline(fps=FPS, frame_count=self.frame_count, target_frame_count=self.frame_count)

    def track(self) -> None:
        """The tracking pass, as ingest does it once for all stages."""
        models = face_models(1)
        track_faces(self.target, self.tracks, models.detector, models.mesh)

    def order(self) -> DraftOrder:
        return DraftOrder(
            target=self.target,
            timeline=self.timeline,
            tracks=self.tracks,
            driving_audio=self.voice,
            sources=(read_image(SAMPLES / "source.jpg"),),
        )


def make_clip(folder: Path, frame_count: int) -> Clip:
    """The sample there and back as often as it takes, cut to 16:9; its face is 200 pixels high."""
    clip, shown = Clip(folder, frame_count), target_frames()
    there_and_back = [*shown, *shown[-2:0:-1]]
    with VideoWriter(clip.target, width=WIDTH, height=HEIGHT, fps=FPS) as writer:
        for number in range(frame_count):
            frame = there_and_back[number % len(there_and_back)]
            cut = frame[60 : 60 + frame.shape[1] * HEIGHT // WIDTH]
            writer.write(np.asarray(cv2.resize(cut, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8))
    _write_voice(clip.voice, float(frame_count / FPS))
    return clip


def _write_voice(path: Path, seconds: float) -> None:
    with av.open(str(SAMPLES / "speech.wav")) as container:
        pieces = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    voice: NDArray[np.int16] = np.concatenate(pieces).astype(np.int16)
    wanted = np.resize(voice, int(seconds * SOUND_HZ))
    with av.open(str(path), "w", format="wav") as output:
        stream = output.add_stream("pcm_s16le", rate=SOUND_HZ, layout="mono")
        for first in range(0, len(wanted), SOUND_HZ):
            frame = av.AudioFrame.from_ndarray(wanted[None, first : first + SOUND_HZ], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, first, Fraction(1, SOUND_HZ)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def transcode(clip: Clip) -> None:
    """The yardstick: PyAV, x264 veryfast, crf 18, one thread, pictures passed from decoder to encoder untouched."""
    with av.open(str(clip.target)) as source, av.open(str(clip.folder / "transcoded.mp4"), "w") as output:
        decoder = source.streams.video[0]
        decoder.codec_context.thread_count = 1
        options = {"preset": "veryfast", "crf": "18", "threads": "1"}
        encoder = output.add_stream("libx264", rate=FPS, options=options)
        encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in source.decode(decoder):
            frame.pict_type = av.video.frame.PictureType.NONE
            output.mux(encoder.encode(frame))
        output.mux(encoder.encode(None))


def lip_sync_job(clip: Clip) -> Wav2LipJob:
    return Wav2LipJob(**_job(clip, Stage.WAV2LIP), driving_audio=_artifact(clip.voice))


def face_swap_job(clip: Clip, *, after_lip_sync: bool) -> FaceFusionJob:
    whole = Segment(start_frame=0, stop_frame=clip.frame_count) if after_lip_sync else None
    return FaceFusionJob(**_job(clip, Stage.FACEFUSION), laid_out=whole, sources=(_artifact(SAMPLES / "source.jpg"),))


def bench_of(clip: Clip) -> Bench:
    paths = (clip.target, clip.voice, clip.tracks, SAMPLES / "source.jpg")
    return Bench(
        folder=clip.folder,
        inputs={_artifact(path).key: path for path in paths},
        threads=1,
        checkpoint=lambda: None,
        report=lambda _done, _of, _what: None,
    )


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of all threads of this process: wall time on a busy machine says little."""
    before = time.process_time()
    work()
    return time.process_time() - before


def _job(clip: Clip, stage: Stage) -> dict[str, Any]:
    return {
        "engine": Engine.DRAFT,
        "model_revisions": manifest().revisions(Engine.DRAFT, stage),
        "target": _artifact(clip.target),
        "timeline": clip.timeline,
        "tracks": _artifact(clip.tracks),
    }


def _artifact(path: Path) -> Artifact:
    """Name a local file; only the key is looked at here."""
    return Artifact(key=f"uploads/{path.name}", sha256="0" * 64, size_bytes=1, media_type="application/octet-stream")
