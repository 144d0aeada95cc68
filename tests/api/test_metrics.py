"""/metrics: what Prometheus reads is what happened."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prefect.states import Completed
from prometheus_client.parser import text_string_to_metric_families

from api_shim.metrics import stage_seconds
from blocks import record_changes
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import RecordStage
from tests.api.orchestra import RESULT, PlayedFlow
from tests.api.shim import ANSWER_SECONDS, NOBODY, Environment, settings_of, shim_thread
from tests.waiting import await_until

Numbers = dict[str, float]


@pytest.fixture(scope="module")
def counted(environment: Environment) -> Iterator[str]:
    """A shim of its own: its counters begin at zero."""
    with shim_thread(settings_of(environment)) as url:
        yield url


async def _numbers(http: httpx.AsyncClient) -> Numbers:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_requests_are_counted_by_route_and_never_by_the_callers_words(counted: str) -> None:
    async with httpx.AsyncClient(base_url=counted, timeout=ANSWER_SECONDS) as http:
        for path in ("/status/x", "/status/y", "/nowhere/1", "/nowhere/2"):
            await http.get(path)
        told = await _numbers(http)
    assert told["lipswap_http_requests_total['/status/{task_id}', '404', 'GET']"] == 2
    assert told["lipswap_http_requests_total['404', 'unmatched', 'unmatched']"] == 2
    assert told["lipswap_http_request_seconds_count['/status/{task_id}', 'GET']"] == 2
    assert "nowhere" not in str(told)


async def test_a_task_that_has_ended_is_counted_once_with_stages_and_cost(
    counted: str, body: dict[str, object], flow: PlayedFlow
) -> None:
    async with httpx.AsyncClient(base_url=counted, timeout=ANSWER_SECONDS) as http:
        task_id = (await http.post("/run", json=body)).json()["task_id"]
        # Prefect is asked every few seconds, and was asked a moment ago.
        await _until(http, lambda told: told["lipswap_tasks['pending']"] >= 1, "it is counted as waiting")
        await flow.start(task_id)
        await flow.enter(task_id, Stage.INGEST)
        await flow.enter(task_id, Stage.WAV2LIP)
        await flow.charge(task_id, Stage.WAV2LIP, 12.5)
        await flow.complete(task_id)
        await flow.set_state(task_id, Completed())
        told = await _until(http, lambda told: "lipswap_gpu_seconds_total['wav2lip']" in told, "its end is counted")
        settled = told["lipswap_mirror_lag_seconds_count[]"]
        # Prefect tells its end once more, as after a broken connection.
        await flow.set_state(task_id, Completed())
        told = await _until(http, lambda told: told["lipswap_mirror_lag_seconds_count[]"] > settled, "it is told again")
    # No other test pays for a GPU; ends of theirs may have been repeated to this shim.
    assert told["lipswap_gpu_seconds_total['wav2lip']"] == 12.5
    assert told["lipswap_stage_seconds_count['wav2lip']"] >= 1
    assert told["lipswap_tasks_ended_total['completed']"] >= 1
    assert told["lipswap_prefect_up[]"] == 1


async def _until(http: httpx.AsyncClient, is_there: Callable[[Numbers], bool], what: str) -> Numbers:
    async def looked() -> Numbers | None:
        told = await _numbers(http)
        return told if is_there(told) else None

    look: Callable[[], Awaitable[Numbers | None]] = looked
    found: Numbers = await await_until(look, what=what)
    return found


async def test_without_prefect_the_numbers_still_come(environment: Environment) -> None:
    with shim_thread(settings_of({**environment, "PREFECT_API_URL": f"http://{NOBODY}/api"})) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http:
            assert (await _numbers(http))["lipswap_prefect_up[]"] == 0


def test_the_numbers_are_for_those_who_know_the_secret(environment: Environment) -> None:
    with shim_thread(settings_of({**environment, "FF_API_SECRET": "secret"})) as url:
        assert httpx.get(f"{url}/metrics", timeout=ANSWER_SECONDS).status_code == 401
        assert (
            httpx.get(f"{url}/metrics", headers={"Authorization": "Bearer secret"}, timeout=ANSWER_SECONDS).status_code
            == 200
        )


def test_a_stage_lasts_until_the_next_one_says_something() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    record = record_changes.queued("x", {}, now=now)
    record = record_changes.entered(record, Stage.INGEST, now=now + timedelta(seconds=2))
    record = record_changes.entered(record, Stage.PUBLISH, now=now + timedelta(seconds=5))
    record = record_changes.completed(record, RESULT, now=now + timedelta(seconds=6))
    assert stage_seconds(record) == {RecordStage.QUEUED: 2.0, RecordStage.INGEST: 3.0, RecordStage.PUBLISH: 1.0}
