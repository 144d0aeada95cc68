"""An asynchronous worker: does what its input says, several jobs at once if CONCURRENCY says so."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import runpod


async def handler(job: dict[str, Any]) -> Any:  # noqa: ANN401 - a handler may return anything
    """Mark the start, report steps, sleep, then fail or reply as asked."""
    asked = job["input"]
    begun = time.time()
    mark = Path(asked["mark"]) if "mark" in asked else None
    if mark:
        mark.write_text(f"{os.getpid()}\n", encoding="utf-8")
    try:
        for step in range(asked.get("steps", 0)):
            runpod.serverless.progress_update(job, {"step": step + 1})
            await asyncio.sleep(asked.get("step_seconds", 0.1))
        await asyncio.sleep(asked.get("seconds", 0))
    except asyncio.CancelledError:
        if mark:
            mark.with_suffix(".cancelled").touch()
        raise
    if "raise" in asked:
        raise ValueError(asked["raise"])
    if "error" in asked:
        return {"error": asked["error"], "kept": True}
    if "refresh" in asked:
        return {"refresh_worker": True, "pid": os.getpid()}
    return {"echo": asked.get("echo"), "begun": begun, "pid": os.getpid(), "pad": "x" * asked.get("pad", 0)}


def concurrency(_: int) -> int:
    """How many jobs this worker takes at once."""
    return int(os.environ.get("CONCURRENCY", "1"))


runpod.serverless.start({"handler": handler, "concurrency_modifier": concurrency})
