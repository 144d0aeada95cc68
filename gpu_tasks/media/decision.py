"""What has to be done to a file, decided from its facts alone."""

from fractions import Fraction
from math import ceil, sqrt
from pathlib import Path

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import Change, ChangeKind
from gpu_tasks.contract.sniffing import AVI, MPEGTS
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.facts import AudioFacts, TrackFacts, VideoFacts
from gpu_tasks.media.limits import GatePolicy, HdrPolicy
from gpu_tasks.media.normalise import AudioRecipe, VideoRecipe
from gpu_tasks.media.tone import Light, Transfer

# Without an index every segment would be read from the start.
_WITHOUT_INDEX = frozenset({AVI.name, MPEGTS.name})
# Playing backwards and every segment begin at a keyframe. Encoders set one every 250 frames at the latest (x264, x265);
# screen recorders and hostile files may have a single one, and showing ten minutes of that backwards would take hours.
_LONGEST_REACH = 300
_HIGHEST_USUAL_RATE, _LOWEST_USUAL_RATE = 96_000, 8_000
_STEREO = 2
_MOST_KEPT_CHANNELS = 8


def changes_of_video(facts: VideoFacts, policy: GatePolicy, *, has_gaps: bool = False) -> tuple[Change, ...]:
    """Tell everything that is to be done to a video, in the order in which it happens.

    Args:
        facts: Of the video.
        policy: What it is made into.
        has_gaps: The clock of its sound leaves some out; known once it was decoded.

    Raises:
        MediaError: MEDIA_UNSUPPORTED for high dynamic range where the policy refuses it.
    """
    recipe = recipe_of_video(facts, policy, source=Path(), destination=Path())
    told: list[tuple[bool, ChangeKind, str]] = [
        (facts.is_interlaced, ChangeKind.DEINTERLACED, "Interlaced fields were made into whole frames."),
        (recipe.tone_map, ChangeKind.TONE_MAPPED, _tone_sentence(recipe.transfer)),
        (
            not facts.orientation.is_upright and not facts.orientation.mirrors,
            ChangeKind.TURNED,
            f"The picture was turned upright by {facts.orientation.turn_degrees} degrees.",
        ),
        (facts.orientation.mirrors, ChangeKind.MIRRORED, "The picture was mirrored, as its player would show it."),
        (
            not facts.is_constant,
            ChangeKind.RATE_MADE_CONSTANT,
            f"The varying frame rate was laid on {_rate(facts.fps)} frames per second.",
        ),
        (
            recipe.keep_every > 1,
            ChangeKind.RATE_REDUCED,
            f"Of {_rate(facts.fps)} frames per second every {_ordinal(recipe.keep_every)} was kept.",
        ),
        (
            facts.pixel_shape != 1,
            ChangeKind.PIXELS_SQUARED,
            f"Pixels {facts.pixel_shape} times as wide as high were made square.",
        ),
        (
            _square_pixels(facts) > policy.working_pixels,
            ChangeKind.SCALED_DOWN,
            f"The picture was scaled from {facts.width}x{facts.height} to {recipe.width}x{recipe.height}.",
        ),
        (
            any(side % 2 for side in _square_size(facts)),
            ChangeKind.MADE_EVEN,
            f"The picture was cut to the even size {recipe.width}x{recipe.height}.",
        ),
        (
            facts.container in _WITHOUT_INDEX,
            ChangeKind.REPACKED,
            f"The video was moved from {facts.container} to an MP4, which can be read in parts.",
        ),
        (
            facts.longest_reach > _LONGEST_REACH,
            ChangeKind.KEYFRAMES_ADDED,
            f"Keyframes were added: to show one frame, up to {facts.longest_reach} had to be decoded.",
        ),
    ]
    changes = [Change(kind=kind, sentence=sentence) for happens, kind, sentence in told if happens]
    if facts.picture.of > 1:
        sentence = f"Of {facts.picture.of} video streams number {facts.picture.place + 1} is used."
        changes.append(Change(kind=ChangeKind.PICTURE_CHOSEN, sentence=sentence))
    return (*changes, *(_track_notes(facts.track, has_gaps=has_gaps) if facts.track is not None else ()))


def recipe_of_video(facts: VideoFacts, policy: GatePolicy, *, source: Path, destination: Path) -> VideoRecipe:
    """Turn facts into what the normalising pass is told.

    Raises:
        MediaError: MEDIA_UNSUPPORTED for high dynamic range where the policy refuses it.
    """
    light = Light.of(facts.transfer, facts.primaries)
    if light.transfer is not None and policy.hdr is HdrPolicy.REFUSE:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "High dynamic range is refused here; send an SDR video.")
    width, height = _square_size(facts)
    if width * height > policy.working_pixels:
        scale = sqrt(policy.working_pixels / (width * height))
        width, height = int(width * scale), int(height * scale)
    return VideoRecipe(
        source=source,
        destination=destination,
        width=max(2, width // 2 * 2),
        height=max(2, height // 2 * 2),
        keep_every=ceil(facts.fps / Fraction(policy.working_fps)),
        tone_map=not light.is_plain,
        transfer=light.transfer,
    )


def changes_of_audio(
    facts: AudioFacts, policy: GatePolicy, *, has_bad_samples: bool, has_gaps: bool
) -> tuple[Change, ...]:
    """Tell everything that is to be done to a driving audio; the two that only decoding shows are given."""
    changes = []
    if has_bad_samples:
        sentence = "Samples that are no numbers were silenced, those beyond full scale were clipped."
        changes.append(Change(kind=ChangeKind.SAMPLES_REPAIRED, sentence=sentence))
    if (rate := _working_rate(facts.track, policy)) != facts.track.sample_rate:
        sentence = f"The sound was resampled from {facts.track.sample_rate} to {rate} Hz."
        changes.append(Change(kind=ChangeKind.RESAMPLED, sentence=sentence))
    return (*changes, *_track_notes(facts.track, has_gaps=has_gaps))


def recipe_of_audio(facts: AudioFacts, policy: GatePolicy, *, source: Path, destination: Path) -> AudioRecipe:
    """Turn facts into what the normalising pass is told."""
    return AudioRecipe(
        source=source,
        destination=destination,
        sample_rate=_working_rate(facts.track, policy),
        layout="mono" if facts.track.channels == 1 else "stereo",
    )


def _working_rate(track: TrackFacts, policy: GatePolicy) -> int:
    usual = _LOWEST_USUAL_RATE <= track.sample_rate <= _HIGHEST_USUAL_RATE
    return track.sample_rate if usual else policy.working_sample_rate


def _track_notes(track: TrackFacts, *, has_gaps: bool) -> tuple[Change, ...]:
    notes = []
    if track.place:
        sentence = f"Of {track.of} sound tracks number {track.place + 1} is used."
        notes.append(Change(kind=ChangeKind.TRACK_CHOSEN, sentence=sentence))
    if track.channels > _STEREO:
        # Of a target's track it is not known yet whether it will be heard.
        sentence = f"Where this sound is heard, its {track.channels} channels are mixed down to stereo."
        notes.append(Change(kind=ChangeKind.MIXED_DOWN, sentence=sentence))
    if has_gaps:
        sentence = "Silence stands where the sound's clock leaves a gap; sound that lies over other sound is left out."
        notes.append(Change(kind=ChangeKind.GAPS_FILLED, sentence=sentence))
    return tuple(notes)


def _square_size(facts: VideoFacts) -> tuple[int, int]:
    """Size upright and in square pixels, before limits; the side that is too short is the one that grows."""
    width = round(facts.width * max(facts.pixel_shape, Fraction(1)))
    height = round(facts.height / min(facts.pixel_shape, Fraction(1)))
    return (height, width) if facts.orientation.transposed else (width, height)


def _square_pixels(facts: VideoFacts) -> int:
    width, height = _square_size(facts)
    return width * height


def _tone_sentence(transfer: Transfer | None) -> str:
    if transfer is None:
        return "The wide colour gamut (BT.2020) was brought to that of HD (BT.709)."
    return f"High dynamic range ({transfer.name}) was tone-mapped to SDR (BT.709)."


def _rate(fps: Fraction) -> str:
    return f"{float(fps):.3f}".rstrip("0").rstrip(".")


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
