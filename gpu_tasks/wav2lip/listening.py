"""What a job's frames hear: the driving audio once, as a whole, also for a segment."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Wav2LipJob
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.media.audio import load_mono, resampled
from gpu_tasks.media.opening import audio_stream, open_media
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.wav2lip.mel import SAMPLE_RATE, Chunks, MelRecorder
from gpu_tasks.wav2lip.voice import PowerMeter, denoised, is_silent, speech_shares


class Heard(NamedTuple):
    """The sound under a timeline.

    Attributes:
        chunks: What each frame's mouth follows.
        speech: (frames,) float32; 1 in speech, 0 in a pause.
    """

    chunks: Chunks
    speech: Floats


def listen(job: Wav2LipJob, bench: Bench) -> Heard:
    """Hear a job's driving audio. Samples that are no numbers are silence.

    Memory grows by 27 KB for each second; where the voice is denoised, it is held as a whole as well.

    Raises:
        FaultError: NO_AUDIO_STREAM when there is no sound in it, or only silence; MEDIA_UNREADABLE.
    """
    recorder, meter = MelRecorder(), PowerMeter()
    has_sound = False
    for piece in _voice(bench.path_of(job.driving_audio), denoise=job.options.denoise):
        bench.checkpoint()
        recorder.hear(piece)
        meter.hear(piece)
        has_sound = True
    if not has_sound:
        raise FaultError(FaultCode.NO_AUDIO_STREAM)
    powers, timeline = meter.finish(), job.timeline
    if is_silent(powers):
        raise FaultError(FaultCode.NO_AUDIO_STREAM, "It is silent from beginning to end.")
    return Heard(
        chunks=Chunks(recorder.finish(), timeline.fps, Fraction(job.options.audio_shift)),
        speech=speech_shares(powers, timeline.fps, timeline.frame_count),
    )


def _voice(path: Path, *, denoise: bool) -> Iterator[Floats]:
    """Yield the voice that the network hears, (n,) float32 each, 16 kHz."""
    if denoise:
        # What sounds all the time is known only at the end.
        yield denoised(load_mono(path, sample_rate=SAMPLE_RATE))
        return
    with open_media(path) as container:
        if (stream := audio_stream(container)) is not None:
            for piece in resampled(container, stream, layout="mono", sample_rate=SAMPLE_RATE):
                yield piece[0]
