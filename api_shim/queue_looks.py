"""What waits and works, asked of Prefect when Prometheus reads, at most every few seconds."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from api_shim.metrics import Metrics
from api_shim.runs import RunsError, answered
from blocks.deliveries import DELIVERY_DEPLOYMENT
from flows.request import DEPLOYMENT

_FRESH_SECONDS: Final = 5.0
_WAITING: Final = (StateType.SCHEDULED, StateType.PENDING)
_UNFINISHED: Final[Mapping[str, tuple[StateType, ...]]] = MappingProxyType(
    {"pending": _WAITING, "running": (StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED)}
)
_DELIVERIES: Final[Mapping[str, tuple[StateType, ...]]] = MappingProxyType(
    {
        "pending": (*_WAITING, StateType.RUNNING),
        "delivered": (StateType.COMPLETED,),
        "failed": (StateType.FAILED, StateType.CRASHED),
    }
)


class QueueLooks:
    """Brings the gauges that Prefect knows up to date."""

    def __init__(self, client: PrefectClient, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics
        self._looked_at = -_FRESH_SECONDS
        self._turn = asyncio.Lock()

    async def look(self) -> None:
        """Ask Prefect, unless that was done a moment ago; without it the numbers stay as they were."""
        async with self._turn:
            if time.monotonic() - self._looked_at < _FRESH_SECONDS:
                return
            self._looked_at = time.monotonic()
            try:
                async with answered():
                    await self._ask()
            except RunsError:
                self._metrics.prefect_up.set(0)
            else:
                self._metrics.prefect_up.set(1)

    async def _ask(self) -> None:
        client = self._client
        for status, states in _UNFINISHED.items():
            self._metrics.tasks.labels(status).set(await _count(client, DEPLOYMENT, states))
        for status, states in _DELIVERIES.items():
            self._metrics.deliveries.labels(status).set(await _count(client, DELIVERY_DEPLOYMENT, states))
        oldest = await client.read_flow_runs(
            flow_filter=_flow(DEPLOYMENT),
            flow_run_filter=_in(_WAITING),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=1,
        )
        waited = (datetime.now(UTC) - oldest[0].created).total_seconds() if oldest and oldest[0].created else 0.0
        self._metrics.oldest_seconds.set(max(0.0, waited))


async def _count(client: PrefectClient, deployment: str, states: tuple[StateType, ...]) -> int:
    return await client.count_flow_runs(flow_filter=_flow(deployment), flow_run_filter=_in(states))


def _flow(deployment: str) -> FlowFilter:
    return FlowFilter(name=FlowFilterName(any_=[deployment.partition("/")[0]]))


def _in(states: tuple[StateType, ...]) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))))
