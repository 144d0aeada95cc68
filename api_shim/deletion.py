"""Deleting a task: its record, its outputs, and the uploads that nobody else needs.

What lies under `work/` belongs to no task and goes by lifecycle. The order is such that a deletion that was cut off is
done again by asking again: the run in Prefect, by which all is found, goes last.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from api_shim.callers import Caller
from api_shim.inputs import inputs_in
from api_shim.owners import Owners
from api_shim.records import Records
from api_shim.run_lists import RunLists
from api_shim.runs import Runs
from api_shim.wire import Deleted, Kept, KeptReason
from blocks.audit import AuditLog
from blocks.job_store import JobStore
from gpu_tasks.contract.artifacts import OUTPUTS, UPLOADS
from gpu_tasks.contract.audit import ANONYMOUS, AuditEvent, AuditFact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.lineage import lineage_key
from gpu_tasks.contract.options import Wav2LipOptions
from gpu_tasks.contract.ownership import OutputOwner, marker_of
from gpu_tasks.contract.records import TaskRecord
from gpu_tasks.storage import ArtifactStore


class Deletion:
    """Deletes tasks that have ended."""

    def __init__(  # noqa: PLR0913  # all who know a task
        self,
        *,
        runs: Runs,
        lists: RunLists,
        records: Records,
        store: JobStore,
        bucket: ArtifactStore,
        owners: Owners,
    ) -> None:
        self._runs = runs
        self._lists = lists
        self._records = records
        self._store = store
        self._bucket = bucket
        self._owners = owners

    async def delete(self, task_id: str, caller: Caller) -> Deleted:
        """Delete a task and say what went and what stays.

        Raises:
            FaultError: TASK_UNKNOWN, TASK_NOT_ENDED, STORAGE_UNAVAILABLE or ORCHESTRATOR_UNAVAILABLE; then nothing, or
                only a part, has gone, and it can be asked for again.
        """
        run = await self._runs.find(task_id)
        record = await self._records.rebuild(task_id)
        if run.state is None or not run.state.is_final() or not record.status.is_final:
            raise FaultError(FaultCode.TASK_NOT_ENDED)
        # Redis has to forget as well: a record that came back with it would be one of a task that is not there. Asked
        # before anything is removed.
        await self._store.ping()
        request = run.parameters["request"]

        outputs = await asyncio.to_thread(self._outputs, record, request)
        wanted = await self._lists.used_by_others(outputs, run.id, only_unfinished=True)
        uploads = [key for key in dict.fromkeys(inputs_in(request).values()) if key.startswith(UPLOADS)]
        shared = await self._lists.used_by_others(uploads, run.id)

        gone = [key for key, is_ours in outputs.items() if is_ours and key not in wanted]
        free = [key for key in uploads if key not in shared]
        await asyncio.to_thread(self._remove, task_id, gone, free, caller.key_id or ANONYMOUS)
        # Buried before the run goes: whoever looks at it now cannot put its record back afterwards.
        await self._store.bury(task_id)
        await self._lists.remove(run.id)
        await self._owners.forget(task_id)
        kept = [Kept(key=key, reason=KeptReason.IN_USE) for key in (*wanted, *shared)]
        kept += [Kept(key=key, reason=KeptReason.NOT_OURS) for key, ours in outputs.items() if not ours]
        return Deleted(task_id=task_id, outputs=tuple(gone), uploads=tuple(free), kept=tuple(kept))

    def _outputs(self, record: TaskRecord, request: Mapping[str, Any]) -> dict[str, bool]:
        """Return the objects that lie where this task's results go, each with whether this task has put it there."""
        result = record.result
        told = (
            [result.output_key, *(entry.output_key for entry in (result.intermediate or {}).values())] if result else []
        )
        told += [entry.output_key for entry in record.intermediate.values()]
        asked = [request.get("output_key"), request.get("wav2lip_output_key")]
        # A task that failed while it published has told nothing. What a request once held may be null.
        prefix = (request.get("wav2lip") or {}).get("output_prefix") or Wav2LipOptions().output_prefix
        made = [f"{OUTPUTS}{record.task_id}/result.mp4", f"{prefix}/{record.task_id}.mp4"]
        found = {}
        for key in dict.fromkeys(key for key in (*told, *asked, *made) if key is not None and key.startswith(OUTPUTS)):
            if self._bucket.head(key) is None:
                continue
            owner = self._bucket.read_json(marker_of(key), OutputOwner)
            # Lifecycle takes markers away; the record then says the same.
            found[key] = owner.task_id == record.task_id if owner is not None else key in told
        return found

    def _remove(self, task_id: str, outputs: list[str], uploads: list[str], actor: str) -> None:
        digests = [head.metadata.get("sha256") for key in outputs if (head := self._bucket.head(key)) is not None]
        known = tuple(digest for digest in digests if digest)
        if known:
            # Said first: what is said twice is harmless, what nobody knows of is not.
            fact = AuditFact(event=AuditEvent.OUTPUT_DELETED, actor=actor, task_id=task_id, outputs=known)
            AuditLog(self._bucket).append(fact)
        for key in outputs:
            self._bucket.delete(key)
            # After the object: a key without a marker is free for others.
            self._bucket.delete(marker_of(key))
        for key in uploads:
            self._bucket.delete(key)
        self._bucket.delete(lineage_key(task_id))
