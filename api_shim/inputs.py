"""The objects that a request reads, by the field that names each."""

from collections.abc import Mapping
from typing import Any

from flows.request import PipelineRequest


def inputs_of(request: PipelineRequest) -> dict[str, str]:
    """Return the keys of all objects that a request reads, by field, in the order in which they are looked at."""
    return inputs_in(request.model_dump(mode="json"))


def inputs_in(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the same of a request as it was kept, perhaps by a version that knew other fields."""
    named = {
        "target_key": request.get("target_key"),
        "audio_key": request.get("audio_key"),
        **{f"source_keys.{place}": key for place, key in enumerate(request.get("source_keys") or ())},
        "face_selection.reference_key": (request.get("face_selection") or {}).get("reference_key"),
        **{
            f"face_map.{place}.reference_key": entry.get("reference_key")
            for place, entry in enumerate(request.get("face_map") or ())
        },
    }
    return {field: key for field, key in named.items() if key is not None}
