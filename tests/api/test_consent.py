"""A declaration of consent: into the audit chain at the door, and nowhere else."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from redis.asyncio import Redis

from blocks.audit import AuditLog
from gpu_tasks.contract.audit import AuditEntry, AuditEvent
from gpu_tasks.contract.consent import Consent, ConsentBasis
from gpu_tasks.storage import ArtifactStore
from tests.api.shim import ANSWER_SECONDS, PREFIX, Environment, settings_of, shim_thread

GIVEN = Consent(basis=ConsentBasis.WRITTEN_CONSENT, statement="She agreed in May.", declared_by="A. Producer")


async def test_the_text_is_in_the_chain_and_only_its_name_goes_on(
    http: httpx.AsyncClient, prefect: PrefectClient, redis: Redis, bucket: ArtifactStore, body: dict[str, Any]
) -> None:
    answer = await http.post("/run", json={**body, "consent": GIVEN.model_dump(mode="json")})
    assert answer.status_code == 202, answer.text
    task_id = answer.json()["task_id"]
    run = await prefect.read_flow_run(UUID(task_id))
    entry = await asyncio.to_thread(bucket.read_json, run.parameters["consent"]["entry"], AuditEntry)
    assert entry is not None
    assert entry.event is AuditEvent.CONSENT_DECLARED
    assert entry.consent is not None
    assert entry.consent.declared == GIVEN
    assert entry.consent.id == run.parameters["consent"]["id"]

    stored = await redis.get(f"{PREFIX}:{task_id}")
    told = (await http.get(f"/status/{task_id}")).text
    assert isinstance(stored, bytes)
    for copy in (run.model_dump_json(), stored.decode(), told):
        assert GIVEN.statement not in copy
        assert GIVEN.declared_by not in copy

    log = AuditLog(bucket)
    assert await asyncio.to_thread(log.erase_consent, entry.key, actor="operator")
    erased = await asyncio.to_thread(bucket.read_json, entry.key, AuditEntry)
    assert erased is not None
    assert GIVEN.statement not in erased.model_dump_json()
    assert (await asyncio.to_thread(log.verify_chain)).is_whole


def test_where_it_is_required_a_request_without_it_is_refused(environment: Environment, body: dict[str, Any]) -> None:
    with shim_thread(settings_of({**environment, "LIPSWAP_CONSENT_POLICY": "required"})) as url:
        answer = httpx.post(f"{url}/run", json=body, timeout=ANSWER_SECONDS)
        given = httpx.post(
            f"{url}/run", json={**body, "consent": GIVEN.model_dump(mode="json")}, timeout=ANSWER_SECONDS
        )
    assert (answer.status_code, answer.json()["error"]) == (422, "consent_required")
    assert "declared_by" in answer.json()["detail"]
    assert given.status_code == 202


async def test_where_it_is_off_it_is_kept_nowhere(
    environment: Environment, prefect: PrefectClient, bucket: ArtifactStore, body: dict[str, Any]
) -> None:
    statement = "Nobody shall keep this."
    consent = {**GIVEN.model_dump(mode="json"), "statement": statement}
    with shim_thread(settings_of({**environment, "LIPSWAP_CONSENT_POLICY": "off"})) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http:
            task_id = (await http.post("/run", json={**body, "consent": consent})).json()["task_id"]
            told = (await http.get(f"/status/{task_id}")).text
    run = await prefect.read_flow_run(UUID(task_id))
    assert statement not in told + run.model_dump_json()
    keys = [key for key in await asyncio.to_thread(lambda: list(bucket.keys("audit/"))) if "tip" not in key]
    entries = [await asyncio.to_thread(bucket.read_json, key, AuditEntry) for key in keys]
    assert all(statement not in entry.model_dump_json() for entry in entries if entry)
