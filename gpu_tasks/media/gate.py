"""The ingest gate: what a stranger sent is refused, used as it is, or made anew once, before any GPU second.

Each look at a file is taken in a confined child (see `gpu_tasks.confinement`); here the answers are put together:

    plain file, not too large -> examine (facts, limits) -> decide -> check (decode all) or normalise -> report

A file is never judged by its name. Give it a name of yours, in a folder that holds nothing of others.
"""

from pathlib import Path
from typing import NamedTuple

from gpu_tasks.confinement.confined import Confines
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import Change, GateReport, MediaKind
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.media.confined import run_confined
from gpu_tasks.media.costs import Allowance
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
    VideoCheck,
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
# Encoders pad sound by up to two of their blocks at either end, which decoders cut.
_MOST_PADDING_SECONDS, _LEAST_DECODED_SHARE = 0.2, 0.98

# Enters the name under which a normalised copy is kept: raise it when the same file would be made into another.
GATE_REVISION = 3


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
    allowance = Allowance()
    facts = run_confined(examine_video, examined, reply=VideoFacts, confines=_LOOK)
    if not _alters(changes_of_video(facts, policy)):
        confines = allowance.to_check(facts)
        seen = run_confined(check_video, CheckedFile(path=examined.path), reply=VideoCheck, confines=confines)
        facts = _with(seen, facts)
        changes = changes_of_video(facts, policy, has_gaps=seen.has_gaps)
        if not _alters(changes):
            return Admitted(path, _report(MediaKind.VIDEO, seen.info, changes, limits))
    made = work_dir.absolute() / f"{path.name}.normalised.mp4"
    recipe = recipe_of_video(facts, policy, source=examined.path, destination=made)
    confines = allowance.to_normalise(facts, recipe)
    seen = run_confined(normalise_video, recipe, reply=VideoCheck, confines=confines)
    changes = changes_of_video(_with(seen, facts), policy, has_gaps=seen.has_gaps)
    return Admitted(made, _report(MediaKind.VIDEO, seen.info, changes, limits))


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
    allowance = Allowance()
    facts = run_confined(examine_audio, examined, reply=AudioFacts, confines=_LOOK)
    checked = CheckedFile(path=examined.path)
    heard = run_confined(check_audio, checked, reply=SoundCheck, confines=allowance.to_hear(facts))
    _require_decodable(heard, facts)
    changes = changes_of_audio(facts, policy, has_bad_samples=heard.has_bad_samples, has_gaps=heard.has_gaps)
    if not _alters(changes):
        return Admitted(path, _report(MediaKind.AUDIO, heard.info, changes, limits))
    made = work_dir.absolute() / f"{path.name}.normalised.wav"
    recipe = recipe_of_audio(facts, policy, source=examined.path, destination=made)
    confines = allowance.to_resample(facts, work_dir)
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


def _require_decodable(heard: SoundCheck, facts: AudioFacts) -> None:
    seconds = facts.seconds - facts.gap_seconds
    if heard.decoded_seconds < seconds * _LEAST_DECODED_SHARE - _MOST_PADDING_SECONDS:
        told = f"Only {heard.decoded_seconds:.2f} of {seconds:.2f} seconds could be decoded."
        raise MediaError(FaultCode.MEDIA_UNREADABLE, told)


def _with(seen: VideoCheck, facts: VideoFacts) -> VideoFacts:
    """Add what only decoding all frames shows: the first one may be whole, and later ones not."""
    return facts.model_copy(update={"is_interlaced": facts.is_interlaced or seen.has_interlaced})


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
