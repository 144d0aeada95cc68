"""Health, documentation, and what is missing in the set-up."""

import re
from typing import Any

import httpx
import pytest

from tests.api.shim import ANSWER_SECONDS, Environment, settings_of, shim_thread


async def test_health_answers_ok(http: httpx.AsyncClient) -> None:
    answer = await http.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_readiness_names_every_dependency_with_its_latency(http: httpx.AsyncClient) -> None:
    answer = await http.get("/health/ready")
    told = answer.json()
    assert (answer.status_code, told["status"]) == (200, "ready")
    assert set(told["dependencies"]) == {"prefect", "deployment", "redis", "bucket", "runpod"}
    for name in ("prefect", "deployment", "redis", "bucket"):
        assert told["dependencies"][name]["ok"] is True
        assert told["dependencies"][name]["latency_ms"] >= 0


@pytest.mark.parametrize(
    ("missing", "change", "code"),
    [
        (["RUNPOD_API_KEY"], {}, "runpod_not_configured"),
        (["RUNPOD_WAV2LIP_ENDPOINT"], {}, "runpod_not_configured"),
        (["RUNPOD_WAV2LIP_ENDPOINT", "RUNPOD_FACEFUSION_ENDPOINT"], {}, "runpod_not_configured"),
        (["RUNPOD_FACEFUSION_ENDPOINT"], {"source_keys": ["uploads/source/s.png"]}, "facefusion_not_configured"),
    ],
)
def test_without_runpod_a_run_is_refused_with_503_and_what_to_set(
    environment: Environment, body: dict[str, Any], missing: list[str], change: dict[str, Any], code: str
) -> None:
    left = {name: value for name, value in environment.items() if name not in missing}
    with shim_thread(settings_of(left)) as url:
        answer = httpx.post(f"{url}/run", json={**body, **change}, timeout=ANSWER_SECONDS)
    assert (answer.status_code, answer.json()["error"]) == (503, code)
    assert "RUNPOD_" in answer.json()["detail"]


def test_without_a_key_of_runpod_the_service_is_not_ready(environment: Environment) -> None:
    left = {name: value for name, value in environment.items() if name != "RUNPOD_API_KEY"}
    with shim_thread(settings_of(left)) as url:
        answer = httpx.get(f"{url}/health/ready", timeout=ANSWER_SECONDS)
    assert answer.status_code == 503
    assert "RUNPOD_API_KEY" in answer.json()["dependencies"]["runpod"]["reason"]


def test_where_the_draft_engine_is_switched_off_a_run_says_how_to_switch_it_on(
    environment: Environment, body: dict[str, Any]
) -> None:
    with shim_thread(settings_of({**environment, "LIPSWAP_ALLOW_DRAFT": "false"})) as url:
        answer = httpx.post(f"{url}/run", json={**body, "engine": "draft"}, timeout=ANSWER_SECONDS)
    assert (answer.status_code, answer.json()["error"]) == (422, "engine_unavailable")
    assert "LIPSWAP_ALLOW_DRAFT" in answer.json()["detail"]


def test_results_have_public_addresses_where_the_bucket_has_one(environment: Environment) -> None:
    with shim_thread(settings_of({**environment, "R2_PUBLIC_BASE_URL": "https://media.example.com/"})) as url:
        answer = httpx.post(
            f"{url}/storage/presign", json={"intent": "upload", "key": "uploads/video/a b.mp4"}, timeout=ANSWER_SECONDS
        )
    assert answer.json()["public_url"] == "https://media.example.com/uploads/video/a%20b.mp4"


async def test_the_documentation_asks_no_other_server(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    referred = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert "docs/page.js" in referred
    for name in referred:
        assert (await http.get(f"/{name}")).status_code == 200
    for text in (page.text, (await http.get("/docs/page.js")).text, (await http.get("/docs/page.css")).text):
        assert not re.search(r"(?:https?:)?//[a-z]", text)


async def test_the_documentation_page_may_only_talk_to_us(http: httpx.AsyncClient) -> None:
    policy = (await http.get("/docs")).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe-inline" not in policy
