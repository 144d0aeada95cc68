"""What a job's frames hear: the driving audio once, as a whole, also for a segment."""

from fractions import Fraction
from typing import NamedTuple

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Wav2LipJob
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.media.audio import load_mono
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.wav2lip.mel import SAMPLE_RATE, Chunks, mel_spectrogram
from gpu_tasks.wav2lip.voice import denoised, is_silent, speech_shares


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

    Raises:
        FaultError: NO_AUDIO_STREAM when there is no sound in it, or only silence; MEDIA_UNREADABLE.
    """
    voice = load_mono(bench.path_of(job.driving_audio), sample_rate=SAMPLE_RATE)
    if is_silent(voice):
        raise FaultError(FaultCode.NO_AUDIO_STREAM, "It is silent from beginning to end.")
    bench.checkpoint()
    if job.options.denoise:
        voice = denoised(voice)
        bench.checkpoint()
    timeline = job.timeline
    mel = mel_spectrogram(voice)
    bench.checkpoint()
    return Heard(
        chunks=Chunks(mel, timeline.fps, Fraction(job.options.audio_shift)),
        speech=speech_shares(voice, timeline.fps, timeline.frame_count),
    )
