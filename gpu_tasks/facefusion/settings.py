"""Settings of the face swap worker, read from the environment once at its entry."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

KNOWN_CONTENT_MODELS: Final = frozenset({"nsfw_1", "nsfw_2", "nsfw_3"})


class FaceSwapSettings(BaseSettings):
    """How networks run on this worker, and what it refuses to change.

    Attributes:
        engine_cache: Where TensorRT keeps what it built for this GPU (a volume that outlives the worker); without one
            TensorRT is not used, because building takes minutes.
        half_precision: TensorRT may compute in 16 bits.
        free_batch: Let networks that were published for one row take several; unset: on a GPU, where it pays.
        content_models: What looks at one frame a second, names separated by commas; empty: nobody looks.
        content_share: Of the frames looked at, the share from above which the target is refused.
    """

    model_config = SettingsConfigDict(env_prefix="LIPSWAP_", extra="ignore", frozen=True)

    engine_cache: Path | None = None
    half_precision: bool = True
    free_batch: bool | None = None
    content_models: Annotated[tuple[str, ...], NoDecode] = ("nsfw_1",)
    content_share: float = Field(default=0.1, ge=0, le=1)

    @field_validator("content_models", mode="before")
    @classmethod
    def _are_separated_by_commas(cls, names: object) -> object:
        if isinstance(names, str):
            return tuple(name.strip() for name in names.split(",") if name.strip())
        return names

    @field_validator("content_models")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not set(names) <= KNOWN_CONTENT_MODELS:
            raise ValueError(f"known are {', '.join(sorted(KNOWN_CONTENT_MODELS))}")
        return names
