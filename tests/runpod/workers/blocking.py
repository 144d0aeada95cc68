"""A synchronous worker, as most published ones are: its handler blocks the SDK's loop and starts a child."""

import os
import subprocess
from pathlib import Path
from typing import Any

import runpod


def handler(job: dict[str, Any]) -> dict[str, Any]:
    """Mark the start, then wait for a child program of `seconds`."""
    asked = job["input"]
    with subprocess.Popen(["/bin/sleep", str(asked.get("seconds", 0))]) as child:
        if "mark" in asked:
            with Path(asked["mark"]).open("a", encoding="utf-8") as mark:
                mark.write(f"{os.getpid()} {child.pid}\n")
        child.wait()
    return {"echo": asked.get("echo"), "pid": os.getpid(), "environment": sorted(os.environ)}


runpod.serverless.start({"handler": handler})
