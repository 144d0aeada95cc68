"""What a person has set for our own processes: the local stack passes it on, as a deployment's environment would."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from blocks.bounds import MediaBounds, SegmentBounds

_PREFIX: Final = "LIPSWAP_"
_NAMES: Final = frozenset(
    {
        *("CONSENT_POLICY", "ALLOW_DRAFT", "MAX_RUNS", "CPU_PROCESSES", "ALERT_URL", "LOG_FORMAT"),
        *("LEASE_SECONDS", "RUN_ATTEMPTS", "DRAIN_SECONDS"),
    }
)
_FILES: Final = frozenset({"C2PA_CHAIN", "C2PA_KEY", "C2PA_TRUST_ANCHORS", "C2PA_TSA_ANCHORS"})
_FAMILIES: Final = ("QUALITY_", "REPROCESS_", "C2PA_TSA_URL")


def wishes_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are passed on; files by their whole path, because services run in other folders."""
    bounds = {name.upper() for name in (*MediaBounds.model_fields, *SegmentBounds.model_fields)}
    wishes = {}
    for name, value in environment.items():
        short = name.removeprefix(_PREFIX)
        if short == name or not value:
            continue
        if short in _FILES:
            wishes[name] = str(Path(value).absolute())
        elif short in bounds | _NAMES or short.startswith(_FAMILIES):
            wishes[name] = value
    return wishes
