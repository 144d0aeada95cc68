"""The objects that a request reads, by the field that names each."""

from flows.request import PipelineRequest


def inputs_of(request: PipelineRequest) -> dict[str, str]:
    """Return the keys of all objects that a request reads, by field, in the order in which they are looked at."""
    named = {
        "target_key": request.target_key,
        "audio_key": request.audio_key,
        **{f"source_keys.{place}": key for place, key in enumerate(request.source_keys)},
        "face_selection.reference_key": request.face_selection.reference_key,
        **{f"face_map.{place}.reference_key": entry.reference_key for place, entry in enumerate(request.face_map)},
    }
    return {field: key for field, key in named.items() if key is not None}
