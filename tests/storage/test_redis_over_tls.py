"""rediss:// against a real TLS endpoint: a private authority that is named is believed, everything else is refused."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr

from blocks import record_changes
from blocks.connections import close_shared
from blocks.job_store import JobStore, JobStoreError
from blocks.record_feed import heard_within
from deployments.local.addresses import StackAddresses
from gpu_tasks.contract.jobs import Stage
from tests.servers import valkey_server
from tests.storage.authority import PrivateAuthority, tls_before
from tests.waiting import PATIENCE_SECONDS, await_until

__all__ = ["valkey_server"]


@pytest.fixture
def authority(tmp_path: Path) -> PrivateAuthority:
    return PrivateAuthority(tmp_path, "our-own")


@pytest.fixture
async def encrypted(valkey_server: StackAddresses, authority: PrivateAuthority) -> AsyncIterator[tuple[str, int]]:
    """The password of a Valkey, and a port where it speaks TLS under the name localhost."""
    plain = urlsplit(valkey_server.redis_url.get_secret_value())
    async with tls_before(plain.port or 0, authority.server_context("localhost")) as port:
        yield plain.password or "", port
        # The connections go before their server.
        await close_shared()


def _store(
    encrypted: tuple[str, int], *, host: str = "localhost", authority: Path | None = None, **options: str
) -> JobStore:
    """Return a store at this address; options are those of redis-py, which read them from the address."""
    password, port = encrypted
    query = urlencode(options | ({"ssl_ca_certs": str(authority)} if authority else {}))
    return JobStore(redis_url=SecretStr(f"rediss://:{quote(password)}@{host}:{port}/0?{query}"), ttl_seconds=100)


async def test_with_the_private_authority_records_are_written_read_and_pushed(
    encrypted: tuple[str, int], authority: PrivateAuthority
) -> None:
    store, task_id, now = _store(encrypted, authority=authority.path), str(uuid4()), datetime.now(UTC)
    feed = store.feed()
    running = asyncio.create_task(feed.run())
    with feed.hearing(task_id) as news:
        assert await await_until(lambda: feed.is_live, what="the feed listens")
        first = await store.change(task_id, lambda _: record_changes.queued(task_id, {}, now=now))
        assert first is not None
        stored = await store.read(task_id)
        assert stored is not None
        assert (stored.revision, stored.status) == (first.revision, first.status)
        await heard_within(news, PATIENCE_SECONDS)
        changing = store.change(task_id, lambda _: record_changes.entered(first, Stage.INGEST, now=now))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(news.wait(), changing)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_authority_of_the_system_variable_is_believed_too(
    encrypted: tuple[str, int], authority: PrivateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    await _store(encrypted).ping()


async def test_an_authority_that_nobody_named_is_refused(encrypted: tuple[str, int]) -> None:
    with pytest.raises(JobStoreError) as refused:
        await _store(encrypted).ping()
    assert "CERTIFICATE_VERIFY_FAILED" in str(refused.value.__cause__)


async def test_another_authority_is_refused(encrypted: tuple[str, int], tmp_path: Path) -> None:
    other = PrivateAuthority(tmp_path, "somebody-else")
    with pytest.raises(JobStoreError) as refused:
        await _store(encrypted, authority=other.path).ping()
    assert "CERTIFICATE_VERIFY_FAILED" in str(refused.value.__cause__)


async def test_a_certificate_for_another_host_name_is_refused(
    encrypted: tuple[str, int], authority: PrivateAuthority
) -> None:
    with pytest.raises(JobStoreError) as refused:
        await _store(encrypted, host="127.0.0.1", authority=authority.path).ping()
    assert "IP address mismatch" in str(refused.value.__cause__)


async def test_what_speaks_no_tls_is_refused(valkey_server: StackAddresses, authority: PrivateAuthority) -> None:
    plain = urlsplit(valkey_server.redis_url.get_secret_value())
    address = plain.password or "", plain.port or 0
    # It waits for the rest of what it takes for a command: nothing but our patience ends this.
    with pytest.raises(JobStoreError):
        await _store(address, authority=authority.path, socket_connect_timeout="0.5").ping()
    await close_shared()
