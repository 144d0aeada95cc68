"""A client as it was written for the original service: standard library, the original's routes and fields, nothing new.

Nothing here knows this project; what it reads stands in the original's guide.
"""

import json
import time
import urllib.request
from typing import Any


class OriginalClient:
    """Submits, polls and reads, as scripts around the original service do."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    def run(self, **request: object) -> dict[str, Any]:
        """POST /run; returns `task_id`, `status` and `stage`."""
        return self._json("POST", "/run", request)

    def status(self, task_id: str) -> dict[str, Any]:
        """GET /status/{task_id}."""
        return self._json("GET", f"/status/{task_id}")

    def wait(self, task_id: str, *, poll_interval: float, poll_timeout: float) -> dict[str, Any]:
        """Poll until the task has completed or failed."""
        deadline = time.monotonic() + poll_timeout
        while time.monotonic() < deadline:
            record = self.status(task_id)
            if record["status"] in {"completed", "failed"}:
                return record
            time.sleep(poll_interval)
        raise TimeoutError(f"Job {record['status'].upper()}: {record['progress'][-1]['message']}")

    def upload(self, content: bytes, *, prefix: str, filename: str, content_type: str) -> str:
        """POST /storage/presign, then PUT the bytes there; returns the key."""
        key = f"{prefix}/{filename}"
        presigned = self._json(
            "POST", "/storage/presign", {"intent": "upload", "key": key, "content_type": content_type}
        )
        request = urllib.request.Request(  # noqa: S310  # the address that the service gave
            presigned["url"], data=content, method=presigned["method"], headers=presigned["headers"]
        )
        with urllib.request.urlopen(request, timeout=60):  # noqa: S310  # the same
            return str(presigned["key"])

    def download(self, url: str) -> bytes:
        """GET what `result.output_url` names."""
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  # the same
            return bytes(answer.read())

    def _json(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        request = urllib.request.Request(  # noqa: S310  # the service under test
            f"{self._base_url}{path}", data=data, method=method, headers=headers
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # the same
            found: dict[str, Any] = json.loads(answer.read())
        return found
