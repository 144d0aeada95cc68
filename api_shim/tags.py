"""What Prefect is told of a run for finding it again: tags, because runs cannot be found by parameters or labels."""

from typing import Final

from flows.request import OURS, PipelineRequest, label_tag
from gpu_tasks.contract.jobs import digest_of

_OWNER: Final = "lipswap.owner:"
_USES: Final = "lipswap.uses:"
# 64 bits tell the objects of one bucket apart.
_DIGEST_LETTERS: Final = 16


def owner_tag(key_id: str) -> str:
    """Return the tag of the runs that an API key has started."""
    return f"{_OWNER}{key_id}"


def owner_in(tags: list[str]) -> str | None:
    """Return the API key that started a run, None when it was started without."""
    return next((tag.removeprefix(_OWNER) for tag in tags if tag.startswith(_OWNER)), None)


def object_tag(key: str) -> str:
    """Return the tag of the runs that read the object under `key`; a digest, for a key may be long."""
    return f"{_USES}{digest_of(key)[:_DIGEST_LETTERS]}"


def tags_of(request: PipelineRequest, owner: str | None) -> list[str]:
    """Return all tags of a run of the pipeline."""
    return [
        OURS,
        *([owner_tag(owner)] if owner else []),
        *(label_tag(name, value) for name, value in request.labels.items()),
        *dict.fromkeys(object_tag(key) for key in inputs_of(request)),
    ]


def inputs_of(request: PipelineRequest) -> tuple[str, ...]:
    """Return the keys of all objects that a request reads."""
    named = (request.audio_key, request.target_key, *request.source_keys, *request.reference_keys)
    return tuple(dict.fromkeys(key for key in named if key is not None))
