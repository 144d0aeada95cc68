"""A generator worker whose chunks are also its result."""

from collections.abc import AsyncIterator
from typing import Any

import runpod


async def handler(job: dict[str, Any]) -> AsyncIterator[dict[str, int]]:
    """Yield as many chunks as asked for."""
    for chunk in range(job["input"]["chunks"]):
        yield {"chunk": chunk}


runpod.serverless.start({"handler": handler, "return_aggregate_stream": True})
