"""News of tasks as they happen."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Header
from fastapi.responses import Response

from api_shim.auth import guarded_router
from api_shim.event_stream import EventStream, seen_revision
from api_shim.owners import OwnTask
from api_shim.services import Provided

router = guarded_router("runs", also=(HTTPStatus.NOT_FOUND,))

LastEventId = Annotated[
    str | None, Header(max_length=255, description="The `id` of the last event that was seen; it is not told again.")
]


# `data` is a TaskRecord as JSON, or a RunSummary with `end`.
_EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["record", "end"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
}


@router.get(
    "/events/{task_id}",
    # Its own class has no status for the document to ask about.
    response_class=Response,
    responses={
        200: {
            "description": (
                "Server-sent events. `record`: the full record as `/status` gives it, now and after every change; "
                "`end`: the task has ended and nothing more comes. A comment comes at least every 15 seconds."
            ),
            "content": {"text/event-stream": {"schema": _EVENT}},
        }
    },
)
async def events(services: Provided, task_id: OwnTask, last_event_id: LastEventId = None) -> EventStream:
    """Push the record of a task at every change until it has ended."""
    # What is unknown is told by a status, before the stream begins.
    await services.records.read(task_id)
    return EventStream(services, task_id, seen=seen_revision(last_event_id))
