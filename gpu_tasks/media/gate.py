"""The ingest gate: what a stranger sent is refused, used as it is, or made anew once, before any GPU second.

Each look at a file is taken in a confined child (see `confined`); here the answers are put together:

    plain file, not too large -> examine (facts, limits) -> decide -> check (decode all) or normalise -> report

A file is never judged by its name. Give it a name of yours, in a folder that holds nothing of others.
"""

from math import ceil
from pathlib import Path
from typing import NamedTuple

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import Change, GateReport, MediaKind
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.media.confined import Confines, run_confined
from gpu_tasks.media.decision import changes_of_audio, changes_of_video, recipe_of_audio, recipe_of_video
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.facts import (
    AudioFacts,
    Examined,
    VideoFacts,
    examine_audio,
    examine_video,
    require_plain_file,
)
from gpu_tasks.media.limits import GatePolicy, MediaLimits
from gpu_tasks.media.normalise import (
    CheckedFile,
    SoundCheck,
    check_audio,
    check_video,
    normalise_audio,
    normalise_video,
)
from gpu_tasks.media.opening import is_media
from gpu_tasks.media.pictures import PictureOrder, PictureReply, look_at_picture

# A file of 2 GB is read in two seconds; what takes longer pretends.
_LOOK = Confines(cpu_seconds=20, deadline_seconds=60)
# A picture of 50 megapixels takes 6 seconds (measured, HEIC), and a PNG of it at most 150 MB.
_PICTURE = Confines(cpu_seconds=40, deadline_seconds=90, memory_bytes=2 << 30, file_bytes=256 << 20)
# CPU seconds per megapixel of frame: four times what the most costly codecs took (measured: HEVC 10 bit 4K decoded
# and tone-mapped 0.04, encoded at crf 10 0.03). Sound: per second of it.
_PER_MEGAPIXEL, _PER_SOUND_SECOND, _AT_LEAST_CPU_SECONDS = 0.25, 0.05, 30.0
# On a busy machine a process gets a part of one core.
_DEADLINE_PER_CPU_SECOND = 3.0
# crf 10 needs up to two bits per pixel for noise; FLAC at most what PCM takes.
_BYTES_PER_PIXEL, _BYTES_PER_SOUND_SECOND, _LEAST_FILE_BYTES = 0.5, 5_000_000, 64 << 20

# Encoders pad sound by up to two of their blocks at either end, which decoders cut.
_MOST_PADDING_SECONDS, _LEAST_DECODED_SHARE = 0.2, 0.98

# Enters the name under which a normalised copy is kept: raise it when the same file would be made into another.
GATE_REVISION = 2


class Admitted(NamedTuple):
    """A file that may be worked on: the one handed in, or what was made of it."""

    path: Path
    report: GateReport


def admit_video(path: Path, limits: MediaLimits, policy: GatePolicy, *, work_dir: Path) -> Admitted:
    """Let a target video in.

    A video that conforms (constant frame rate, upright, even size, square pixels, SDR, progressive, not over the
    policy's size and rate, in a container with an index, every frame decodable) is used as it is. Any other is written
    anew into `work_dir`: MP4, H.264 crf 10, BT.709, its chosen sound track kept or lossless.

    Args:
        path: A local file, named by us.
        limits: What is refused.
        policy: What is made of what is let in.
        work_dir: Where a normalised copy goes.

    Returns:
        The file to work on, and what was done; `report.info` describes that file.

    Raises:
        MediaError: Why it is refused; see the table in docs/media.md.
    """
    require_plain_file(path, limits)
    _require_media(path)
    examined = Examined(path=path.absolute(), limits=limits)
    facts = run_confined(examine_video, examined, reply=VideoFacts, confines=_LOOK)
    changes = changes_of_video(facts, policy)
    confines = _confines_for(facts)
    if not _alters(changes):
        reading_only = confines.model_copy(update={"file_bytes": 0})
        info = run_confined(check_video, CheckedFile(path=examined.path), reply=MediaInfo, confines=reading_only)
        return Admitted(path, _report(MediaKind.VIDEO, info, changes, limits))
    made = work_dir.absolute() / f"{path.name}.normalised.mp4"
    recipe = recipe_of_video(facts, policy, source=examined.path, destination=made)
    info = run_confined(normalise_video, recipe, reply=MediaInfo, confines=confines)
    return Admitted(made, _report(MediaKind.VIDEO, info, changes, limits))


def admit_audio(path: Path, limits: MediaLimits, policy: GatePolicy, *, work_dir: Path) -> Admitted:
    """Let a driving audio in; a video beside it is not looked at.

    Sound that conforms (8 to 96 kHz, samples that are numbers, every packet decodable) is used as it is, whatever its
    format and layout. Any other is written anew into `work_dir`: WAV, 24 bits, mono or stereo.

    Args:
        path: A local file, named by us.
        limits: What is refused.
        policy: What is made of what is let in.
        work_dir: Where a normalised copy goes.

    Returns:
        The file to work on, and what was done; `report.info` has no video.

    Raises:
        MediaError: Why it is refused; see the table in docs/media.md.
    """
    require_plain_file(path, limits)
    _require_media(path)
    examined = Examined(path=path.absolute(), limits=limits)
    facts = run_confined(examine_audio, examined, reply=AudioFacts, confines=_LOOK)
    confines = _confined_by(_PER_SOUND_SECOND * facts.seconds, _BYTES_PER_SOUND_SECOND * facts.seconds)
    heard = run_confined(
        check_audio,
        CheckedFile(path=examined.path),
        reply=SoundCheck,
        confines=confines.model_copy(update={"file_bytes": 0}),
    )
    if heard.decoded_seconds < facts.seconds * _LEAST_DECODED_SHARE - _MOST_PADDING_SECONDS:
        told = f"Only {heard.decoded_seconds:.2f} of {facts.seconds:.2f} seconds could be decoded."
        raise MediaError(FaultCode.MEDIA_UNREADABLE, told)
    changes = changes_of_audio(facts, policy, has_bad_samples=heard.has_bad_samples)
    if not _alters(changes):
        return Admitted(path, _report(MediaKind.AUDIO, heard.info, changes, limits))
    made = work_dir.absolute() / f"{path.name}.normalised.wav"
    recipe = recipe_of_audio(facts, policy, source=examined.path, destination=made)
    info = run_confined(normalise_audio, recipe, reply=MediaInfo, confines=confines)
    return Admitted(made, _report(MediaKind.AUDIO, info, changes, limits))


def admit_picture(path: Path, limits: MediaLimits, *, work_dir: Path) -> Admitted:
    """Let a source picture in.

    A JPEG, PNG or WebP that is upright, opaque, still and in sRGB or untagged colours is used as it is. Any other, and
    HEIC, AVIF, GIF and BMP, is written into `work_dir` as a PNG without metadata; of an animation the first picture.

    Args:
        path: A local file, named by us.
        limits: What is refused.
        work_dir: Where a normalised copy goes.

    Returns:
        The file to work on, and what was done.

    Raises:
        MediaError: Why it is refused; see the table in docs/media.md.
    """
    require_plain_file(path, limits)
    made = work_dir.absolute() / f"{path.name}.normalised.png"
    order = PictureOrder(examined=Examined(path=path.absolute(), limits=limits), destination=made)
    seen = run_confined(look_at_picture, order, reply=PictureReply, confines=_PICTURE)
    report = GateReport(kind=MediaKind.PICTURE, info=seen.info, changes=seen.changes)
    return Admitted(path if report.conforms else made, report)


def _require_media(path: Path) -> None:
    # Reading the first bytes needs no child; most of what is no media ends here.
    if not is_media(path):
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "Its content is no known video or audio format.")


def _alters(changes: tuple[Change, ...]) -> bool:
    return any(change.kind.alters_the_file for change in changes)


def _report(kind: MediaKind, info: MediaInfo, changes: tuple[Change, ...], limits: MediaLimits) -> GateReport:
    """Put a report together, once the lengths that were decoded are known: until now they were claims of packets."""
    sound_seconds = info.audio.duration_seconds if info.audio is not None else 0.0
    if sound_seconds > limits.max_seconds:
        raise MediaError(FaultCode.MEDIA_TOO_LONG, f"{sound_seconds:.0f} s of sound.")
    if kind is MediaKind.AUDIO and sound_seconds < limits.min_sound_seconds:
        raise MediaError(FaultCode.NO_AUDIO_STREAM, f"{sound_seconds:.3f} s are too short.")
    return GateReport(kind=kind, info=info, changes=changes)


def _confines_for(facts: VideoFacts) -> Confines:
    pixels = facts.width * facts.height * facts.frame_count
    sound_seconds = facts.seconds if facts.track is not None else 0.0
    return _confined_by(
        _PER_MEGAPIXEL * pixels / 1e6 + _PER_SOUND_SECOND * sound_seconds,
        _BYTES_PER_PIXEL * pixels + _BYTES_PER_SOUND_SECOND * sound_seconds,
    )


def _confined_by(cpu_seconds: float, file_bytes: float) -> Confines:
    allowed = ceil(_AT_LEAST_CPU_SECONDS + cpu_seconds)
    return Confines(
        cpu_seconds=allowed,
        deadline_seconds=allowed * _DEADLINE_PER_CPU_SECOND,
        file_bytes=ceil(_LEAST_FILE_BYTES + file_bytes),
    )
