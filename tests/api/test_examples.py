"""The examples of the OpenAPI document: every JSON body has one, and each is taken as it stands."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from api_shim.examples import EXAMPLES
from tests.api.shim import ANSWER_SECONDS, HOOK_TOKEN, Environment, settings_of, shim_thread

# Small flows answer these; nobody plays them here, so the question waits for its whole deadline.
ASKED = frozenset({"/faces", "/preview", "/estimate", "/verify"})
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "api.md"
MEGABYTES = str(800 * 1024 * 1024)


@pytest.fixture(scope="module")
async def roomy(environment: Environment, keys: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:  # noqa: ARG001  # the objects of the examples
    """A shim that takes large files and does not wait long for answers."""
    asked = {"LIPSWAP_MAX_VIDEO_BYTES": MEGABYTES, "LIPSWAP_API_MAX_ANSWER_SECONDS": "0.3"}
    with shim_thread(settings_of({**environment, **asked})) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http:
            yield http


async def test_every_body_has_an_example_in_the_document(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    found = {
        path: operation["requestBody"]["content"]["application/json"].get("example")
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert found == dict(EXAMPLES)


async def test_the_documentation_calls_every_route(http: httpx.AsyncClient) -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8").replace("\\\n", "")
    called = re.findall(r"curl .*\$API(/[^\s\"'?]*)", text)
    paths = (await http.get("/openapi.json")).json()["paths"]
    patterns = {path: re.compile(re.sub(r"\{\w+\}", r"\\$\\w+", path)) for path in paths}
    assert [path for path, pattern in patterns.items() if not any(map(pattern.fullmatch, called))] == []


@pytest.mark.parametrize("path", EXAMPLES)
async def test_an_example_is_taken_as_it_stands(roomy: httpx.AsyncClient, path: str) -> None:
    where = path
    if "{task_id}" in path:
        started = await roomy.post("/run", json=EXAMPLES["/run"])
        where = path.replace("{task_id}", started.json()["task_id"])
    if "{upload_id}" in path:
        begun: dict[str, Any] = (await roomy.post("/storage/uploads", json=EXAMPLES["/storage/uploads"])).json()
        where = path.replace("{upload_id}", quote(begun["upload_id"], safe=""))
    answer = await roomy.post(where.replace("{token}", HOOK_TOKEN), json=EXAMPLES[path])
    if path in ASKED:
        assert (answer.status_code, answer.json()["error"]) == (504, "deadline_exceeded"), answer.text
    elif path.endswith("/complete"):
        # Nothing was sent.
        assert (answer.status_code, answer.json()["error"]) == (409, "upload_incomplete"), answer.text
    else:
        assert answer.is_success, answer.text
