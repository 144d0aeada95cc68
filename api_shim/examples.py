"""One example of a body for every route that takes JSON; the tests send each of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from fastapi import FastAPI

_TARGET: Final = "uploads/video/t.mp4"
_AUDIO: Final = "uploads/audio/a.wav"
_LIP_SYNC: Final[Mapping[str, Any]] = {"audio_key": _AUDIO, "target_key": _TARGET}

EXAMPLES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "/run": {**_LIP_SYNC, "sync_mode": "loop", "labels": {"order": "17"}},
        "/tasks/{task_id}/rerun": {"sync_mode": "bounce"},
        "/faces": {"target_key": _TARGET},
        "/preview": {"request": _LIP_SYNC, "kind": "frame", "at_seconds": 0.0},
        "/estimate": _LIP_SYNC,
        "/verify": {"key": _TARGET},
        "/storage/presign": {"intent": "upload", "content_type": "video/mp4", "size": 326185},
        "/storage/uploads": {"prefix": "uploads/video", "filename": "talk.mp4", "size": 734003200},
        "/storage/uploads/{upload_id}/parts": {"part_numbers": [1, 2]},
        "/storage/uploads/{upload_id}/complete": {"parts": [{"part_number": 1, "etag": '"9b2cf535f27731c9"'}]},
        "/hooks/runpod/{token}": {"id": "c80ffee4-f315-4e25-a146-0f3d98cf024b-u1", "status": "COMPLETED"},
    }
)


def add_examples(app: FastAPI) -> None:
    """Put the examples into the OpenAPI document."""
    document = app.openapi

    def with_examples() -> dict[str, Any]:
        told = document()
        for path, example in EXAMPLES.items():
            content = told["paths"][path]["post"]["requestBody"]["content"]
            content["application/json"]["example"] = example
        return told

    app.openapi = with_examples  # type: ignore[method-assign]  # FastAPI's own way to change the document
