"""Whose a task is: a key sees only its own, and hears of no other that it exists."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Final

from fastapi import Depends, Request

from api_shim.callers import Caller, caller_of
from api_shim.runs import Runs, RunsError, owner_of, parse_task_id
from blocks.job_store import JobStore, JobStoreError
from gpu_tasks.contract.artifacts import OUTPUTS
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.ownership import OutputOwner, marker_of
from gpu_tasks.storage import ArtifactStore

_MOST_KNOWN: Final = 50_000
# What Redis holds for a task that belongs to no key.
_NOBODY: Final = "-"


class Owners:
    """Knows which key started a task; that never changes, so it is asked once."""

    def __init__(self, store: JobStore, runs: Runs, bucket: ArtifactStore) -> None:
        self._store = store
        self._runs = runs
        self._bucket = bucket
        self._known: OrderedDict[str, str | None] = OrderedDict()

    async def note(self, task_id: str, owner: str | None) -> None:
        """Remember whose a new task is. Prefect has been told before; here it is for speed."""
        self._keep(task_id, owner)
        with suppress(JobStoreError):
            async with self._store.commands() as redis:
                await redis.set(self._name(task_id), owner or _NOBODY, ex=self._store.ttl_seconds)

    async def forget(self, task_id: str) -> None:
        """Forget whose a task was that is no more."""
        self._known.pop(task_id, None)
        with suppress(JobStoreError):
            async with self._store.commands() as redis:
                await redis.delete(self._name(task_id))

    async def check(self, caller: Caller, task_id: str) -> None:
        """Let a caller pass to its own tasks.

        Raises:
            FaultError: TASK_UNKNOWN for everybody else's, ORCHESTRATOR_UNAVAILABLE when nobody can tell.
        """
        if not caller.sees_all and await self._owner(task_id) != caller.key_id:
            raise FaultError(FaultCode.TASK_UNKNOWN)

    async def check_inputs(self, caller: Caller, inputs: Mapping[str, str]) -> None:
        """Let a caller read results of its own tasks; an upload is for whoever knows its key.

        Args:
            caller: Who asks.
            inputs: The keys that are asked for, by field.

        Raises:
            FaultError: OBJECT_MISSING for somebody else's result, STORAGE_UNAVAILABLE, ORCHESTRATOR_UNAVAILABLE.
        """
        if caller.sees_all:
            return
        for field, key in inputs.items():
            if key.startswith(OUTPUTS) and not await self._is_own_output(caller, key):
                raise FaultError(FaultCode.OBJECT_MISSING, f"{field}: {key}.", field=field)

    async def _is_own_output(self, caller: Caller, key: str) -> bool:
        marker = await asyncio.to_thread(self._bucket.read_json, marker_of(key), OutputOwner)
        # Lifecycle takes markers away; unless somebody chose the key, the task stands in it.
        task_id = marker.task_id if marker is not None else key.split("/")[1]
        try:
            return await self._owner(task_id) == caller.key_id
        except RunsError as error:
            if error.fault.code is FaultCode.TASK_UNKNOWN:
                return False
            raise

    async def _owner(self, task_id: str) -> str | None:
        parse_task_id(task_id)
        if task_id in self._known:
            return self._known[task_id]
        kept = None
        with suppress(JobStoreError):
            async with self._store.commands() as redis:
                kept = await redis.get(self._name(task_id))
        told = str(kept, "utf-8") if isinstance(kept, bytes) else owner_of(await self._runs.find(task_id)) or _NOBODY
        owner = None if told == _NOBODY else told
        self._keep(task_id, owner)
        return owner

    def _name(self, task_id: str) -> str:
        return f"{self._store.prefix}:owner:{task_id}"

    def _keep(self, task_id: str, owner: str | None) -> None:
        self._known[task_id] = owner
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)


# One dependency and none below it: FastAPI works each out for every request.
async def _own(request: Request, task_id: str) -> str:
    owners: Owners = request.app.state.services.owners
    await owners.check(await caller_of(request), task_id)
    return task_id


# The task in the path of a route, once it is known to be the caller's to see.
OwnTask = Annotated[str, Depends(_own)]
