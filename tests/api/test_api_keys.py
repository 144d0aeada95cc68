"""API keys: what each may do, whose tasks it sees, how often and how much at once."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.states import Completed
from pydantic import SecretStr
from redis.asyncio import Redis
from starlette.datastructures import Headers

from api_shim.api_keys import DEFAULT_SCOPES, ApiKey, Created, KeyRing, Scope, parse
from api_shim.callers import Callers
from gpu_tasks.contract.artifacts import KEYS
from gpu_tasks.contract.ownership import OutputOwner, marker_of
from gpu_tasks.storage import ArtifactStore
from tests.api.orchestra import PlayedFlow
from tests.api.shim import ANSWER_SECONDS, NOBODY, PREFIX, Environment, settings_of, shim_thread
from tests.waiting import PATIENCE_SECONDS, await_until

Body = dict[str, Any]


@pytest.fixture(scope="module")
def ring(bucket: ArtifactStore) -> KeyRing:
    return KeyRing(bucket)


@pytest.fixture(scope="module")
def guarded(environment: Environment, secret: SecretStr) -> Iterator[str]:
    """A shim with the shared secret; API keys are let in beside it."""
    settings = {**environment, "FF_API_SECRET": secret.get_secret_value(), "LIPSWAP_API_MAX_TASKS_PER_KEY": "3"}
    with shim_thread(settings_of(settings)) as url:
        yield url


@pytest.fixture
async def door(guarded: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=guarded, timeout=ANSWER_SECONDS) as client:
        yield client


def bearing(made: Created) -> dict[str, str]:
    return {"Authorization": f"Bearer {made.text.get_secret_value()}"}


async def test_a_key_sees_its_own_tasks_and_hears_of_no_other(
    door: httpx.AsyncClient, ring: KeyRing, body: Body, secret: SecretStr
) -> None:
    mine, yours = ring.create("mine"), ring.create("yours")
    task_id = (await door.post("/run", json=body, headers=bearing(mine))).json()["task_id"]
    for method, path in (
        ("GET", f"/status/{task_id}"),
        ("GET", f"/status/{task_id}?wait=true&timeout=5"),
        ("POST", f"/cancel/{task_id}"),
        ("POST", f"/tasks/{task_id}/rerun"),
        ("DELETE", f"/tasks/{task_id}"),
    ):
        answer = await door.request(method, path, headers=bearing(yours))
        assert (answer.status_code, answer.json()["error"]) == (404, "task_unknown"), path
    assert (await door.get(f"/status/{task_id}", headers=bearing(mine))).status_code == 200
    # The shared secret of the original service sees everything.
    assert (await door.get(f"/status/{task_id}", headers={"X-Api-Key": secret.get_secret_value()})).status_code == 200

    label = f"test:{body['labels']['test']}"
    for made, seen in ((mine, [task_id]), (yours, [])):
        page = (await door.get("/tasks", params={"label": label}, headers=bearing(made))).json()
        assert [task["task_id"] for task in page["tasks"]] == seen


async def test_a_key_reads_the_results_of_its_own_tasks_only(
    door: httpx.AsyncClient, ring: KeyRing, body: Body, bucket: ArtifactStore
) -> None:
    mine, yours = ring.create("mine"), ring.create("yours")
    task_id = (await door.post("/run", json=body, headers=bearing(mine))).json()["task_id"]
    usual, chosen = f"outputs/{task_id}/result.mp4", f"outputs/{uuid4().hex}.mp4"
    for key in (usual, chosen):
        bucket.put_stream(BytesIO(b"video"), key, "video/mp4")
    bucket.put_json(marker_of(chosen), OutputOwner(output_key=chosen, task_id=task_id), if_absent=True)
    for key in (usual, chosen):
        asked: tuple[tuple[str, Body], ...] = (
            ("/storage/presign", {"intent": "download", "key": key}),
            ("/run", {**body, "target_key": key}),
        )
        for path, question in asked:
            foreign = await door.post(path, json=question, headers=bearing(yours))
            assert (foreign.status_code, foreign.json()["error"]) == (422, "object_missing"), path
            assert (await door.post(path, json=question, headers=bearing(mine))).is_success
        for path, question in (("/verify", {"key": key}), ("/faces", {"target_key": key})):
            assert (await door.post(path, json=question, headers=bearing(yours))).json()["error"] == "object_missing"


async def test_whose_a_task_is_outlives_redis(
    door: httpx.AsyncClient, environment: Environment, ring: KeyRing, body: Body, redis: Redis
) -> None:
    mine, yours = ring.create("mine"), ring.create("yours")
    task_id = (await door.post("/run", json=body, headers=bearing(mine))).json()["task_id"]
    await redis.delete(f"{PREFIX}:{task_id}", f"{PREFIX}:owner:{task_id}")
    # Another shim, which has not seen the task come in, and has no Redis at all.
    lonely = {**environment, "FF_API_SECRET": "s", "JOBSTORE_REDIS_URL": f"redis://{NOBODY}/0"}
    with shim_thread(settings_of(lonely)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as other:
            assert (await other.get(f"/status/{task_id}", headers=bearing(yours))).status_code == 404
            assert (await other.get(f"/status/{task_id}", headers=bearing(mine))).status_code == 200


async def test_the_idempotency_keys_of_two_callers_are_apart(
    door: httpx.AsyncClient, ring: KeyRing, body: Body
) -> None:
    made = [ring.create("one"), ring.create("two")]
    answers = [
        await door.post("/run", json=body, headers={**bearing(key), "Idempotency-Key": "the-same"}) for key in made
    ]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 2


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        (Scope.READ, "GET", "/status/x"),
        (Scope.READ, "GET", "/tasks"),
        (Scope.READ, "GET", "/events/x"),
        (Scope.READ, "GET", "/webhooks/x"),
        (Scope.RUN, "POST", "/webhooks/x/00000000-0000-0000-0000-000000000000/replay"),
        (Scope.RUN, "POST", "/run"),
        (Scope.RUN, "POST", "/cancel/x"),
        (Scope.RUN, "POST", "/tasks/x/rerun"),
        (Scope.RUN, "DELETE", "/tasks/x"),
        (Scope.STORAGE, "POST", "/storage/presign"),
        (Scope.STORAGE, "POST", "/storage/upload"),
        (Scope.LOOK, "POST", "/faces"),
        (Scope.LOOK, "POST", "/verify"),
        (Scope.ADMIN, "GET", "/metrics"),
    ],
)
async def test_a_key_without_the_scope_is_refused(
    door: httpx.AsyncClient, ring: KeyRing, scope: Scope, method: str, path: str
) -> None:
    others = tuple(each for each in Scope if each is not scope)
    answer = await door.request(method, path, headers=bearing(ring.create("all but one", scopes=others)))
    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
    assert scope.value in answer.json()["detail"]
    allowed = await door.request(method, path, headers=bearing(ring.create("one", scopes=(scope,))))
    assert allowed.status_code in {200, 404, 422}


async def test_a_wrong_key_is_refused_like_none(door: httpx.AsyncClient, ring: KeyRing) -> None:
    text = ring.create("right").text.get_secret_value()
    for wrong in (text[:-1] + ("A" if text[-1] != "A" else "B"), "lsk_" + "0" * 16 + text[20:], text + "x", ""):
        answer = await door.get("/status/x", headers={"X-Api-Key": wrong})
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


async def test_where_a_key_is_required_nobody_comes_without(environment: Environment, ring: KeyRing) -> None:
    with shim_thread(settings_of({**environment, "LIPSWAP_API_REQUIRE_KEY": "true"})) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as client:
            assert (await client.get("/status/x")).status_code == 401
            assert (await client.get("/status/x", headers=bearing(ring.create("someone")))).status_code == 404


async def test_a_wrong_key_is_refused_where_everybody_is_let_in(http: httpx.AsyncClient, ring: KeyRing) -> None:
    revoked = ring.create("revoked")
    ring.revoke(revoked.key.id)
    assert (await http.get("/tasks", headers=bearing(revoked))).status_code == 401
    assert (await http.get("/tasks")).status_code == 200


async def test_a_key_that_is_revoked_hears_no_more(
    environment: Environment, ring: KeyRing, body: Body, flow: PlayedFlow
) -> None:
    revoked, stays = (ring.create(name, scopes=tuple(Scope)) for name in ("revoked", "stays"))
    with shim_thread(settings_of({**environment, "LIPSWAP_API_HEARTBEAT_SECONDS": "0.3"})) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as client:
            task_id = (await client.post("/run", json=body, headers=bearing(revoked))).json()["task_id"]
            heard: dict[str, list[str]] = {made.key.name: [] for made in (revoked, stays)}

            async def listen(made: Created) -> None:
                async with client.stream("GET", f"/events/{task_id}", headers=bearing(made)) as answer:
                    async for line in answer.aiter_lines():
                        heard[made.key.name].append(line)

            waiting = asyncio.create_task(
                client.get(f"/status/{task_id}", params={"wait": "true"}, headers=bearing(revoked))
            )
            cut_off, listening = (asyncio.create_task(listen(made)) for made in (revoked, stays))
            await await_until(lambda: all(heard.values()), what="both listen")
            ring.revoke(revoked.key.id)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await cut_off
                # The task goes on: it is the key's end that ends the waiting.
                assert (await waiting).status_code == 401
            assert not listening.done()
            await flow.complete(task_id)
            async with asyncio.timeout(PATIENCE_SECONDS):
                await listening
            assert "event: end" in heard["stays"]
            assert "event: end" not in heard["revoked"]
            assert (await client.get(f"/events/{task_id}", headers=bearing(revoked))).status_code == 401


class ReadTogether(KeyRing):
    """Each read waits for another one."""

    def __init__(self, store: ArtifactStore, readers: int) -> None:
        super().__init__(store)
        self._readers = threading.Barrier(readers, timeout=PATIENCE_SECONDS)

    def find(self, key_id: str) -> ApiKey | None:
        self._readers.wait()
        return super().find(key_id)


async def test_the_keys_of_those_who_stay_are_read_side_by_side_and_however_lately_they_were_read(
    ring: KeyRing, bucket: ArtifactStore
) -> None:
    made = [ring.create(name) for name in ("revoked", "stays")]
    callers = Callers(ReadTogether(bucket, len(made)), secret=None, needs_key=True, look_seconds=60.0)
    revoked, stays = await asyncio.gather(*(callers.identify(Headers(bearing(each))) for each in made))
    with callers.staying(revoked) as is_over, callers.staying(stays) as goes_on:
        ring.revoke(made[0].key.id)
        await callers.look()
        assert (is_over.is_set(), goes_on.is_set()) == (True, False)
        assert (callers.is_revoked(revoked), callers.is_revoked(stays)) == (True, False)
    await callers.close()


async def test_the_bucket_holds_no_secret_and_when_a_key_was_used(
    door: httpx.AsyncClient, ring: KeyRing, bucket: ArtifactStore
) -> None:
    made = ring.create("kept", max_tasks=5)
    told = parse(made.text.get_secret_value())
    assert told is not None
    await door.get("/tasks", headers=bearing(made))

    def used() -> bool:
        return any(key.id == made.key.id and last is not None for key, last in ring.list())

    await await_until(used, what="the use is written down")
    head = bucket.head(f"{KEYS}{made.key.id}.json")
    assert head is not None
    stored = ring.find(made.key.id)
    assert stored is not None
    assert stored.model_dump(mode="json") == made.key.model_dump(mode="json")
    assert stored.scopes == DEFAULT_SCOPES
    assert told.secret.get_secret_value() not in stored.model_dump_json()
    assert made.text.get_secret_value() not in repr(made)


@pytest.mark.parametrize("redis_at", ["there", "away"])
async def test_a_key_that_asks_too_often_is_told_to_wait(
    environment: Environment, ring: KeyRing, redis_at: str
) -> None:
    # So few that what comes in again while they are asked for is less than a few, however long that takes.
    made = ring.create("busy", requests_per_minute=24)
    away = {"JOBSTORE_REDIS_URL": f"redis://{NOBODY}/0"} if redis_at == "away" else {}
    with shim_thread(settings_of({**environment, "FF_API_SECRET": "s", **away})) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as client:
            answers = [await client.get("/status/x", headers=bearing(made)) for _ in range(16)]
    statuses = [answer.status_code for answer in answers]
    # A quarter of a minute's requests at once, half of them while this shim counts alone, and what comes in meanwhile.
    least = 6 if redis_at == "there" else 3
    assert least <= statuses.count(404) < 16, statuses
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"] == "rate_limited"
    assert int(refused.headers["Retry-After"]) >= 1


async def test_a_key_has_only_so_many_tasks_at_once(
    door: httpx.AsyncClient, ring: KeyRing, body: Body, flow: PlayedFlow, redis: Redis
) -> None:
    made = ring.create("three at once")
    answers = await asyncio.gather(*(door.post("/run", json=body, headers=bearing(made)) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [202, 202, 202, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"] == "quota_exceeded"
    assert "Retry-After" in refused.headers
    running = [answer.json()["task_id"] for answer in answers if answer.status_code == 202]

    # What Redis forgets is found in Prefect.
    await redis.delete(f"{PREFIX}:active:{made.key.id}")
    assert (await door.post("/run", json=body, headers=bearing(made))).status_code == 429
    await flow.complete(running[0])
    await flow.set_state(running[0], Completed())
    assert (await door.post("/run", json=body, headers=bearing(made))).status_code == 202
    assert (await door.post("/run", json=body, headers=bearing(made))).status_code == 429
    # A request that is refused for another reason takes no place.
    await flow.complete(running[1])
    await flow.set_state(running[1], Completed())
    for _ in range(3):
        wrong = {**body, "target_key": "uploads/video/nowhere.mp4"}
        assert (await door.post("/run", json=wrong, headers=bearing(made))).status_code == 422
    assert (await door.post("/run", json=body, headers=bearing(made))).status_code == 202


async def test_without_redis_tasks_are_counted_in_prefect(environment: Environment, ring: KeyRing, body: Body) -> None:
    made = ring.create("two at once", max_tasks=2)
    away = {**environment, "FF_API_SECRET": "s", "JOBSTORE_REDIS_URL": f"redis://{NOBODY}/0"}
    with shim_thread(settings_of(away)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as client:
            answers = await asyncio.gather(*(client.post("/run", json=body, headers=bearing(made)) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 202, 429, 429]
