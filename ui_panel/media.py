"""What a person has put on the page, as the page knows it; the API reads the files themselves."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gpu_tasks.contract.artifacts import InputKey

# What a browser says of a file: shown, never trusted.
_Name = Annotated[str, StringConstraints(max_length=300)]
_Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
_Pixels = Annotated[int, Field(ge=0, le=100_000)]


class Slot(StrEnum):
    """Where a file belongs on the page."""

    VOICE = "voice"
    VIDEO = "video"
    FACES = "faces"


class Media(BaseModel):
    """A stored file. `url` is signed and only set where the browser has no copy of its own."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: InputKey
    name: _Name = ""
    size: Annotated[int, Field(ge=0)] = 0
    media_type: Annotated[str, StringConstraints(max_length=100)] = ""
    seconds: _Seconds | None = None
    width: _Pixels | None = None
    height: _Pixels | None = None
    url: str | None = None

    def seen_at(self, url: str | None) -> Self:
        return self.model_copy(update={"url": url})


class Span(BaseModel):
    """The part of the video that is used, in seconds from its start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: _Seconds = 0.0
    end: _Seconds | None = None

    def seconds_of(self, whole: float) -> float:
        """How long the part of a film of `whole` seconds is."""
        return max(0.0, min(whole, self.end if self.end is not None else whole) - self.start)
