"""Bodies: read strictly, and at the price of what they weigh."""

import json
import tracemalloc

import pytest
from starlette.requests import Request
from starlette.types import Message

from api_shim.bodies import changes
from gpu_tasks.contract.faults import FaultCode, FaultError

MEGABYTE = 1024 * 1024


def bringing(body: object) -> Request:
    """A request with this body."""

    async def receive() -> Message:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def test_a_long_name_over_a_long_list_costs_no_more_than_the_body() -> None:
    body = {"n" * 4000: {"m" * 4000: [0] * 8000}}
    tracemalloc.start()
    try:
        assert await changes(bringing(body)) == body
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Each place with its whole path would be 64 MB.
    assert peak < 4 * MEGABYTE


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"labels": {"a": [1, {"b": "\0"}]}}, "labels.a.1.b"),
        ({"labels": {"a\ud800": "x"}}, "labels"),
        ({"\0": 1}, "body"),
        ({"long" * 100: ["\0"]}, ("long" * 100)[:200]),
    ],
)
async def test_a_text_that_cannot_be_stored_is_told_by_its_place(body: object, field: str) -> None:
    with pytest.raises(FaultError) as caught:
        await changes(bringing(body))
    assert (caught.value.fault.code, caught.value.field) == (FaultCode.REQUEST_INVALID, field)
