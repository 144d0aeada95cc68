"""Who gets in, what browsers are told, what the log keeps to itself."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from api_shim.settings import ShimSettings
from tests.api.shim import ANSWER_SECONDS, Environment, settings_of, shim_thread
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def protected(environment: Environment, secret: SecretStr) -> Iterator[str]:
    with shim_thread(settings_of({**environment, "FF_API_SECRET": secret.get_secret_value()})) as url:
        yield url


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/run"), ("GET", "/status/x"), ("POST", "/cancel/x"), ("POST", "/storage/presign"), ("GET", "/nowhere")],
)
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"X-Api-Key": "wrong"}, {"Authorization": "Basic dGVzdA=="}]
)
def test_without_the_secret_nothing_is_told(protected: str, method: str, path: str, headers: dict[str, str]) -> None:
    answer = httpx.request(method, f"{protected}{path}", headers=headers, timeout=ANSWER_SECONDS)
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_secret_is_taken_as_bearer_and_as_x_api_key(protected: str, secret: SecretStr) -> None:
    told = secret.get_secret_value()
    for headers in ({"Authorization": f"Bearer {told}"}, {"authorization": f"bearer {told}"}, {"X-Api-Key": told}):
        assert httpx.get(f"{protected}/status/x", headers=headers, timeout=ANSWER_SECONDS).status_code == 404


def test_a_secret_that_is_no_ascii_is_refused_like_any_wrong_one(protected: str) -> None:
    assert (
        httpx.get(
            f"{protected}/status/x", headers=[(b"X-Api-Key", "schlüssel".encode())], timeout=ANSWER_SECONDS
        ).status_code
        == 401
    )


def test_an_unauthorized_upload_is_refused_before_its_body_is_read(protected: str) -> None:
    answer = httpx.post(
        f"{protected}/storage/upload", files={"file": ("a.wav", b"", "audio/wav")}, timeout=ANSWER_SECONDS
    )
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/health", "/docs", "/docs/page.js", "/openapi.json"])
def test_health_and_documentation_need_no_secret(protected: str, path: str) -> None:
    assert httpx.get(f"{protected}{path}", timeout=ANSWER_SECONDS).status_code == 200


async def test_every_answer_carries_the_security_headers(http: httpx.AsyncClient) -> None:
    for answer in (await http.get("/health"), await http.get("/nowhere"), await http.post("/run", content=b"{")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_log_has_the_path_of_a_request_but_not_its_query(shim: tuple[str, Path]) -> None:
    url, log_path = shim
    httpx.get(f"{url}/status/a-task-to-find", params={"secret": "in-the-query"}, timeout=ANSWER_SECONDS)
    wait_until(lambda: "a-task-to-find" in log_path.read_text(), what="the request is logged")
    assert "in-the-query" not in log_path.read_text()


def test_the_log_has_no_credential_and_no_signature(shim: tuple[str, Path], environment: Environment) -> None:
    httpx.post(f"{shim[0]}/storage/presign", json={"intent": "upload"}, timeout=ANSWER_SECONDS)
    log = shim[1].read_text()
    assert "X-Amz-Signature" not in log
    for name in ("R2_SECRET_ACCESS_KEY", "RUNPOD_API_KEY", "JOBSTORE_REDIS_URL"):
        assert environment[name] not in log


def test_only_pages_on_the_list_may_ask(environment: Environment, secret: SecretStr) -> None:
    allowed = {"LIPSWAP_API_CORS_ORIGINS": "https://app.example.com, http://localhost:7860"}
    settings = settings_of({**environment, **allowed, "FF_API_SECRET": secret.get_secret_value()})
    with shim_thread(settings) as url:
        for origin, is_allowed in (("https://app.example.com", True), ("https://evil.example.com", False)):
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            wanted = {**asked, "Access-Control-Request-Headers": "authorization, content-type, idempotency-key"}
            preflight = httpx.options(f"{url}/run", headers=wanted, timeout=ANSWER_SECONDS)
            assert preflight.is_success == is_allowed
            # An answer that a page may not read, an error included, tells it nothing.
            answer = httpx.get(f"{url}/status/x", headers={"Origin": origin}, timeout=ANSWER_SECONDS)
            assert answer.status_code == 401
            assert answer.headers.get("Access-Control-Allow-Origin") == (origin if is_allowed else None)


def test_a_body_that_does_not_come_is_not_waited_for(environment: Environment) -> None:
    with shim_thread(settings_of({**environment, "LIPSWAP_API_BODY_SECONDS": "0.5"})) as url:
        for path, kind, begun in (
            ("/run", "application/json", "{"),
            ("/storage/upload", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data;"),
        ):
            with closing(connected(url)) as connection:
                lines = (
                    f"POST {path} HTTP/1.1",
                    "Host: x",
                    f"Content-Type: {kind}",
                    "Content-Length: 99",
                    "",
                    begun,
                )
                connection.sendall("\r\n".join(lines).encode())
                answer = connection.recv(65536).decode()
                assert answer.startswith("HTTP/1.1 408"), path
                assert "request_too_slow" in answer or "request_too_slow" in connection.recv(65536).decode()
        assert httpx.get(f"{url}/health", timeout=ANSWER_SECONDS).status_code == 200


def test_a_head_that_never_ends_is_not_waited_for(environment: Environment) -> None:
    # Time enough for a head that does end, on a machine that is busy with other tests.
    with shim_thread(settings_of({**environment, "LIPSWAP_API_HEAD_SECONDS": "3"})) as url:
        heads = (b"", b"GET /health HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000)
        with ExitStack() as open_ones:
            connections = [open_ones.enter_context(closing(connected(url))) for _ in heads]
            for connection, head in zip(connections, heads, strict=True):
                with suppress(ConnectionError):
                    connection.sendall(head)
            for connection in connections:
                with suppress(ConnectionError):
                    assert connection.recv(65536) == b""
        # Whoever asks properly, twice over one connection, notices nothing.
        with httpx.Client(base_url=url, timeout=ANSWER_SECONDS) as client:
            assert [client.get("/health").status_code for _ in range(2)] == [200, 200]


def connected(url: str) -> socket.socket:
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port or 80), timeout=ANSWER_SECONDS)


@pytest.mark.parametrize(
    ("variable", "value", "advice"),
    [
        ("JOBSTORE_REDIS_URL", "redis://:pw@example.com:6379/0", "rediss://"),
        ("JOBSTORE_REDIS_URL", "rediss://:pw@example.com/0?ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("PREFECT_API_URL", "", "prefect_api_url"),
        ("LIPSWAP_API_PORT", "90000", "port"),
        ("LIPSWAP_API_HEARTBEAT_SECONDS", "20", "less than or equal to 15"),
        ("LIPSWAP_API_CORS_ORIGINS", "*", "origins such as"),
        ("LIPSWAP_API_CORS_ORIGINS", "https://app.example.com/page", "without a path"),
    ],
)
def test_a_setting_that_is_not_safe_is_refused_with_advice(
    environment: Environment, variable: str, value: str, advice: str
) -> None:
    with pytest.raises(ValidationError, match="(?i)" + advice):
        settings_of({**environment, variable: value})


def test_the_defaults_are_those_of_the_contract(monkeypatch: pytest.MonkeyPatch, environment: Environment) -> None:
    for name in ("PREFECT_API_URL", "JOBSTORE_REDIS_URL", "R2_ENDPOINT", "R2_BUCKET"):
        monkeypatch.setenv(name, environment[name])
    for name in ("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, environment[name])
    settings = ShimSettings()
    assert (settings.port, settings.runpod_api_base) == (8000, "https://api.runpod.ai/v2")
    assert (settings.runpod_poll_interval, settings.runpod_job_timeout) == (5, 1800)
    assert (settings.jobstore_prefix, settings.jobstore_ttl) == ("ff:task", 604800)
    assert (settings.r2.region, settings.r2.presign_expiry) == ("auto", 900)
    assert settings.api_secret is None
    assert settings.allow_draft is False
