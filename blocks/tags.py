"""By what runs are found again in Prefect: tags, because runs cannot be found by parameters or labels."""

from typing import Final

from gpu_tasks.contract.jobs import digest_of

# Every run of ours, of small flows too.
OURS: Final = "lipswap"
_OWNER: Final = "lipswap.owner:"
_LABEL: Final = "lipswap.label:"
_USES: Final = "lipswap.uses:"
# 64 bits tell the objects of one bucket apart.
_DIGEST_LETTERS: Final = 16


def owner_tag(key_id: str) -> str:
    """Return the tag of the runs that an API key has started."""
    return f"{_OWNER}{key_id}"


def owner_in(tags: list[str]) -> str | None:
    """Return the API key that started a run, None when it was started without."""
    return next((tag.removeprefix(_OWNER) for tag in tags if tag.startswith(_OWNER)), None)


def label_tag(name: str, value: str) -> str:
    """Return the tag of the runs with a label."""
    return f"{_LABEL}{name}:{value}"


def object_tag(key: str) -> str:
    """Return the tag of the runs that read the object under `key`; a digest, for a key may be long."""
    return f"{_USES}{digest_of(key)[:_DIGEST_LETTERS]}"
