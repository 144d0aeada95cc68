"""Who is killed when: a plan that a seed decides, carried out with -9 while runs are at work."""

import asyncio
import os
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import httpx

from deployments.local.services import ServiceName
from deployments.local.stack import Stack


class Victim(StrEnum):
    """Everything that may die at any moment."""

    ORCHESTRATOR = "orchestrator"
    GPU_WORKER = "gpu worker"
    CONTROL_PLANE = "control plane"
    REDIS = "redis"
    BUCKET = "bucket"
    POSTGRES = "postgres"
    PREFECT = "prefect server"


_SERVICES = {
    Victim.ORCHESTRATOR: ServiceName.ORCHESTRATOR,
    Victim.CONTROL_PLANE: ServiceName.CONTROL_PLANE,
    Victim.REDIS: ServiceName.VALKEY,
    Victim.BUCKET: ServiceName.OBJECT_STORE,
    Victim.POSTGRES: ServiceName.POSTGRES,
    Victim.PREFECT: ServiceName.PREFECT_SERVER,
}
# The supervisor takes more deaths in a minute for a service that cannot live.
_DEATHS_AT_MOST = 4
_WINDOW_SECONDS = 65.0
_PAUSE_SECONDS = (2.0, 7.0)
_LOOK_SECONDS = 0.2
_READY_SECONDS = 300.0
# So many kills do not wait until everything works again after the last one.
_SECOND_BLOWS = 1 / 3


@dataclass
class Killer:
    """Kills `kills` times, as the seed says.

    Attributes:
        stack: Where the victims live.
        is_at_work: Whether there is still a run to disturb; without one the killing ends.
    """

    stack: Stack
    kills: int
    seed: int
    is_at_work: Callable[[], bool]
    done: Counter[Victim] = field(default_factory=Counter)

    async def run(self) -> None:
        """Kill, one victim after the other."""
        chance = random.Random(self.seed)  # noqa: S311  # the same plan again is the point
        recent = {victim: deque[float]() for victim in Victim}
        # Each in turn, in a random order: no plan leaves one of them out.
        plan: list[Victim] = []
        while self.done.total() < self.kills and self.is_at_work():
            await asyncio.sleep(chance.uniform(*_PAUSE_SECONDS))
            if not plan:
                plan = chance.sample(list(Victim), len(Victim))
            victim = plan.pop()
            if chance.random() > _SECOND_BLOWS:
                await self._until_all_works()
            await self._until_it_may_die(victim, recent[victim])
            if await self._kill(victim, chance):
                recent[victim].append(time.monotonic())
                self.done[victim] += 1
                print(f"  kill {self.done.total():3}  {victim}", flush=True)  # noqa: T201  # what is watched

    async def _until_all_works(self) -> None:
        for service in _SERVICES.values():
            await self.stack.until_ready(service, seconds=_READY_SECONDS)

    def has_killed(self, times: int) -> bool:
        return self.done.total() >= times

    async def _until_it_may_die(self, victim: Victim, recent: deque[float]) -> None:
        while True:
            while recent and recent[0] < time.monotonic() - _WINDOW_SECONDS:
                recent.popleft()
            service = _SERVICES.get(victim, ServiceName.CONTROL_PLANE)
            if len(recent) < _DEATHS_AT_MOST and self.stack.is_ready(service):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _kill(self, victim: Victim, chance: random.Random) -> bool:
        if victim is not Victim.GPU_WORKER:
            await self.stack.kill(_SERVICES[victim])
            return True
        if not (pids := await self._gpu_pids()):
            return False
        try:
            os.kill(chance.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    async def _gpu_pids(self) -> list[int]:
        at = self.stack.addresses
        authorization = {"Authorization": f"Bearer {at.runpod_api_key.get_secret_value()}"}
        try:
            async with httpx.AsyncClient(headers=authorization) as http:
                answers = [
                    await http.get(f"{at.runpod_api_base.removesuffix('/v2')}/local/workers/{endpoint}")
                    for endpoint in (at.wav2lip_endpoint, at.facefusion_endpoint)
                ]
        except httpx.HTTPError:
            return []
        found = [worker["pid"] for answer in answers for worker in answer.raise_for_status().json()["workers"]]
        return sorted(pid for pid in found if pid)
