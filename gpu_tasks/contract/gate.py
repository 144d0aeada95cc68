"""What the ingest gate says of a file that it lets in."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from gpu_tasks.contract.media import MediaInfo


class MediaKind(StrEnum):
    """As what a file was handed in."""

    VIDEO = "video"
    AUDIO = "audio"
    PICTURE = "picture"


class ChangeKind(StrEnum):
    """Every way in which what is worked on differs from what was handed in."""

    TURNED = "turned"
    MIRRORED = "mirrored"
    RATE_MADE_CONSTANT = "rate_made_constant"
    RATE_REDUCED = "rate_reduced"
    DEINTERLACED = "deinterlaced"
    TONE_MAPPED = "tone_mapped"
    PIXELS_SQUARED = "pixels_squared"
    SCALED_DOWN = "scaled_down"
    MADE_EVEN = "made_even"
    REPACKED = "repacked"
    KEYFRAMES_ADDED = "keyframes_added"
    PICTURE_CHOSEN = "picture_chosen"
    TRACK_CHOSEN = "track_chosen"
    MIXED_DOWN = "mixed_down"
    GAPS_FILLED = "gaps_filled"
    SAMPLES_REPAIRED = "samples_repaired"
    RESAMPLED = "resampled"
    FIRST_PICTURE_TAKEN = "first_picture_taken"
    FLATTENED = "flattened"
    COLOUR_CONVERTED = "colour_converted"
    RECODED = "recoded"

    @property
    def alters_the_file(self) -> bool:
        """False for what is only done where the file is read."""
        return self not in _DONE_WHILE_READING


_DONE_WHILE_READING = frozenset(
    {ChangeKind.PICTURE_CHOSEN, ChangeKind.TRACK_CHOSEN, ChangeKind.MIXED_DOWN, ChangeKind.GAPS_FILLED}
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Change(_Model):
    """One thing that was done; `sentence` is for the record and a person."""

    kind: ChangeKind
    sentence: str


class PictureInfo(_Model):
    """A still picture, upright."""

    format: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    size_bytes: int = Field(gt=0)


class GateReport(_Model):
    """What a file is after the gate. `conforms`: the very bytes that were handed in are used."""

    kind: MediaKind
    info: MediaInfo | PictureInfo
    changes: tuple[Change, ...] = ()

    @property
    def conforms(self) -> bool:
        return not any(change.kind.alters_the_file for change in self.changes)
