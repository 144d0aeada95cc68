"""What Prefect is told of a run for finding it again."""

from api_shim.inputs import inputs_of
from blocks.tags import OURS, label_tag, object_tag, owner_tag
from flows.request import PipelineRequest


def tags_of(request: PipelineRequest, owner: str | None) -> list[str]:
    """Return all tags of a run of the pipeline."""
    return [
        OURS,
        *([owner_tag(owner)] if owner else []),
        *(label_tag(name, value) for name, value in request.labels.items()),
        *dict.fromkeys(object_tag(key) for key in inputs_of(request).values()),
    ]
