"""Whose an output key is: written before anything is put under it, read before it is taken away."""

from typing import Final

from pydantic import BaseModel, ConfigDict

from gpu_tasks.contract.artifacts import WORK
from gpu_tasks.contract.jobs import Stage, digest_of

_FOLDER: Final = f"{WORK}{Stage.PUBLISH}/"


class OutputOwner(BaseModel):
    """The marker of an output key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output_key: str
    task_id: str


def marker_of(output_key: str) -> str:
    """Return the key of the marker that says whose an output key is."""
    return f"{_FOLDER}{digest_of(output_key)}.json"
