"""Errors: one table, one body."""

import logging
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api_shim.auth import is_open
from api_shim.errors import STATUSES, add_error_handlers, error_response
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import ErrorRecord


def test_every_fault_code_has_a_status_that_is_an_error() -> None:
    assert set(STATUSES) == set(FaultCode)
    assert all(400 <= status < 600 for status in STATUSES.values())


@pytest.mark.parametrize("code", FaultCode)
def test_every_fault_is_told_in_the_one_body(code: FaultCode) -> None:
    answer = error_response(FaultError(code, "Why.", stage="ingest").fault)
    told = ErrorRecord.model_validate_json(bytes(answer.body))
    assert (told.error, told.stage) == (code, "ingest")
    assert told.detail.endswith("Why.")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/", 404),
        ("DELETE", "/run", 405),
        ("POST", "/health", 405),
    ],
)
async def test_an_unknown_address_or_method_has_the_body_of_an_error(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await http.request(method, path)
    assert (answer.status_code, answer.json()["error"]) == (status, "route_unknown")
    assert (status != 405) or answer.headers["Allow"]


async def test_an_unexpected_error_shows_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the password is hunter2")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shim") as client:
        with caplog.at_level(logging.ERROR):
            answer = await client.get("/broken")
    assert (answer.status_code, answer.json()["error"]) == (500, "internal")
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


async def test_the_document_names_every_status_a_route_uses(http: httpx.AsyncClient) -> None:
    paths: dict[str, Any] = (await http.get("/openapi.json")).json()["paths"]
    documented = {f"{m} {path}": set(op["responses"]) for path, ops in paths.items() for m, op in ops.items()}
    door = {"401", "403", "429", "503"}  # wherever a key is asked for
    assert documented == {
        "post /run": door | {"200", "202", "408", "409", "413", "422", "504"},
        "get /status/{task_id}": door | {"200", "404", "422", "504"},
        "post /cancel/{task_id}": door | {"202", "404", "422"},
        "get /tasks": door | {"200", "422"},
        "post /tasks/{task_id}/rerun": door | {"202", "404", "408", "409", "413", "422"},
        "delete /tasks/{task_id}": door | {"200", "404", "409", "422"},
        "post /storage/presign": door | {"200", "408", "413", "422"},
        "post /storage/upload": door | {"200", "408", "413", "422"},
        "post /storage/uploads": door | {"200", "408", "413", "422"},
        "post /storage/uploads/{upload_id}/parts": door | {"200", "404", "408", "409", "413", "422"},
        "post /storage/uploads/{upload_id}/complete": door | {"200", "404", "408", "409", "413", "422"},
        "delete /storage/uploads/{upload_id}": door | {"204", "404", "408", "409", "413", "422"},
        "post /faces": door | {"200", "408", "409", "413", "422", "502", "504"},
        "post /preview": door | {"200", "408", "409", "413", "422", "502", "504"},
        "post /estimate": door | {"200", "408", "409", "413", "422", "502", "504"},
        "post /verify": door | {"200", "408", "413", "422", "504"},
        "get /events/{task_id}": door | {"200", "404", "422"},
        "get /webhooks/{task_id}": door | {"200", "404", "422"},
        "post /webhooks/{task_id}/{delivery_id}/replay": door | {"202", "404", "422"},
        "post /hooks/runpod/{token}": {"200", "404", "408", "413", "422"},
        "get /metrics": {"200", "401", "403", "429"},
        "get /health": {"200"},
        "get /health/ready": {"200", "503"},
    }
    assert HTTPStatus.INTERNAL_SERVER_ERROR not in {int(s) for statuses in documented.values() for s in statuses}


async def test_the_document_tells_how_to_authorize_wherever_that_is_asked(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    schemes: dict[str, dict[str, str]] = document["components"]["securitySchemes"]
    assert [scheme["description"] for scheme in schemes.values()] == ["FF_API_SECRET or an API key"] * 2
    told = {path: [op.get("security") for op in ops.values()] for path, ops in document["paths"].items()}
    assert {path for path, ways in told.items() if any(ways)} == {path for path in told if not is_open(path)}
    assert all(way in (None, [{name: []} for name in schemes]) for ways in told.values() for way in ways)
    assert all(all(ways) == any(ways) for ways in told.values())


async def test_the_document_describes_errors_as_they_are_sent(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    refused = document["paths"]["/run"]["post"]["responses"]["422"]["content"]["application/json"]["schema"]
    assert refused == {"$ref": "#/components/schemas/ErrorAnswer"}
