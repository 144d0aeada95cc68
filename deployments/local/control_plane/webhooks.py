"""Tells a job's webhook that it is over: the body of /status, three tries, ten seconds apart.

Deliveries live in memory only and are as easily lost as the cloud's: a client has to sweep as well.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Self

import aiohttp

from deployments.local.control_plane.endpoint import Endpoint
from deployments.local.control_plane.jobs import Job
from deployments.local.control_plane.settings import Limits
from deployments.local.control_plane.store import Count

log = logging.getLogger(__name__)


class Webhooks:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._deliveries: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=self._limits.webhook_timeout_seconds)
        self._http = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        for delivery in self._deliveries:
            delivery.cancel()
        await self._http.close()

    def announce(self, endpoint: Endpoint, job: Job) -> None:
        """Start delivering, unless an injected fault drops this one."""
        url = job.submission.webhook
        if url is None:
            return
        if endpoint.faults.spend("dropped_webhooks"):
            endpoint.count(Count.FAULTS_INJECTED)
            return
        copies = 1
        if endpoint.faults.spend("doubled_webhooks"):
            endpoint.count(Count.FAULTS_INJECTED)
            copies = 2
        body = job.view().model_dump_json(exclude_none=True)
        for _ in range(copies):
            delivery = asyncio.create_task(self._deliver(endpoint, url, body))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)

    async def _deliver(self, endpoint: Endpoint, url: str, body: str) -> None:
        for attempt in range(self._limits.webhook_attempts):
            if attempt:
                await asyncio.sleep(self._limits.webhook_pause_seconds)
            if await self._post(url, body):
                endpoint.count(Count.WEBHOOKS_DELIVERED)
                return
        endpoint.count(Count.WEBHOOKS_LOST)

    async def _post(self, url: str, body: str) -> bool:
        headers = {"Content-Type": "application/json"}
        try:
            async with self._http.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                log.info("a webhook answered %s", answer.status)
                return answer.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            log.warning("a webhook could not be called: %s", type(error).__name__)
            return False
