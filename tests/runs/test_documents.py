"""Blocks that many runs read together from a real Prefect, each run with a client of its own."""

import asyncio

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.context import AsyncClientContext
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.connections import close_shared
from flows.documents import Blocks
from tests.runs.orchestra import edited

pytestmark = pytest.mark.usefixtures("worker")


class Reader:
    """Reads blocks as a run does: with a client of its own, which is closed when it ends."""

    def __init__(self) -> None:
        self._is_open, self._may_ask = asyncio.Event(), asyncio.Event()
        self.run = asyncio.create_task(self._run())

    async def _run(self) -> Blocks:
        async with AsyncClientContext.get_or_create():
            self._is_open.set()
            await self._may_ask.wait()
            return await Blocks.load()

    async def open(self) -> None:
        await self._is_open.wait()

    async def ask(self) -> None:
        self._may_ask.set()
        # It asks at its next step, and what it asks begins at the one after: no answer is there so soon.
        for _ in range(2):
            await asyncio.sleep(0)
        assert not self.run.done()


async def test_a_run_that_ends_while_it_waits_for_blocks_takes_nobody_along(prefect: PrefectClient) -> None:
    with temporary_settings({PREFECT_API_URL: str(prefect.api_url)}):
        try:
            async with asyncio.timeout(30):
                first, leaving, staying = readers = [Reader() for _ in range(3)]
                for reader in readers:
                    await reader.open()
                # The first one's read is under way; the next will be that of the second, which leaves before it begins.
                for reader in readers:
                    await reader.ask()
                leaving.run.cancel()
                await asyncio.wait([leaving.run])
                assert not first.run.done()
                assert await staying.run == await first.run
        finally:
            await close_shared()


async def test_blocks_are_the_same_until_somebody_edits_them(prefect: PrefectClient) -> None:
    with temporary_settings({PREFECT_API_URL: str(prefect.api_url)}):
        try:
            before = await Blocks.load()
            assert await Blocks.load() is before
            async with edited(prefect, queue_alert_seconds=before.policy.queue_alert_seconds + 1):
                now = await Blocks.load()
            assert now.policy.queue_alert_seconds == before.policy.queue_alert_seconds + 1
            assert now.media == before.media
        finally:
            await close_shared()
