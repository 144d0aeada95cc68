"""News of tasks as they happen."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header

from api_shim import auth
from api_shim.errors import responses
from api_shim.event_stream import EventStream, seen_revision
from api_shim.services import Provided

router = APIRouter(tags=["runs"], dependencies=list(auth.documented))

LastEventId = Annotated[
    str | None, Header(max_length=255, description="The `id` of the last event that was seen; it is not told again.")
]


@router.get(
    "/events/{task_id}",
    # The documentation looks for a status in the response class, and this one takes none.
    status_code=HTTPStatus.OK,
    response_class=EventStream,
    responses={
        200: {
            "description": (
                "Server-sent events. `record`: the full record as `/status` gives it, now and after every change; "
                "`end`: the task has ended and nothing more comes. A comment comes every 15 seconds."
            ),
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **responses(
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
async def events(services: Provided, task_id: str, last_event_id: LastEventId = None) -> EventStream:
    """Push the record of a task at every change until it has ended."""
    # What is unknown is told by a status, before the stream begins.
    await services.records.read(task_id)
    return EventStream(services.watching, services.records, task_id, seen=seen_revision(last_event_id))
