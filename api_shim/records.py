"""Records for readers: from the mirror in the normal case, from Prefect when the mirror is empty, late or away."""

import json
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.settings import get_current_settings
from prefect.utilities.urls import UI_URL_FORMATS
from pydantic import BaseModel, ConfigDict, ValidationError

from api_shim.rebuild import first_record, rebuilt
from api_shim.runs import Runs, RunsError
from api_shim.settings import ShimSettings
from api_shim.uploads import public_url
from blocks import record_changes
from blocks.job_store import JobStore, JobStoreError, parse_record
from blocks.logs import about_task
from gpu_tasks.contract.records import IntermediateResult, Status, TaskRecord
from gpu_tasks.storage import ArtifactStore

_logger = logging.getLogger(__name__)

# A running record that nobody has touched for so long is compared with Prefect before it is believed.
_STALE = timedelta(seconds=60)
_LINKS = frozenset({"flow_run_id", "flow_run_url"})


class Records:
    """Reads records, rebuilds them and signs their URLs."""

    def __init__(self, store: JobStore, runs: Runs, bucket: ArtifactStore, settings: ShimSettings) -> None:
        self._store = store
        self._runs = runs
        self._bucket = bucket
        self._settings = settings
        # Prefect's own way to a run's address looks everything up anew, which every reader would wait for.
        ui_url = get_current_settings().ui_url
        self._run_url = f"{ui_url.rstrip('/')}/{UI_URL_FORMATS['flow-run']}" if ui_url else None

    async def read(self, task_id: str) -> TaskRecord:
        """Return the newest record of a task.

        Raises:
            FaultError: TASK_UNKNOWN, or ORCHESTRATOR_UNAVAILABLE when neither Redis nor Prefect knows it.
        """
        return await self._newest(task_id, await self._stored(task_id))

    async def answer(self, task_id: str) -> bytes:
        """Return the newest record of a task as readers get it, in JSON.

        Raises:
            FaultError: As `read`.
        """
        stored = await self._stored(task_id)
        # Whoever polls mostly meets a run that works and has no URL to be signed: its record is passed on unread.
        if stored and is_told_as_it_stands(stored, now=datetime.now(UTC)):
            return stored
        return self.for_reader(await self._newest(task_id, stored)).model_dump_json().encode()

    async def rebuild(self, task_id: str, mirrored: TaskRecord | None = None) -> TaskRecord:
        """Return the record as Prefect knows it, and put a final one where the mirror has none.

        Raises:
            RunsError: TASK_UNKNOWN or ORCHESTRATOR_UNAVAILABLE.
        """
        run = await self._runs.find(task_id)
        known = await self._left_record(run)
        if known is None or (mirrored is not None and mirrored.revision > known.revision):
            known = mirrored
        has_begun = run.run_count > 0 and (known is None or not known.status.is_final)
        task_runs = await self._runs.task_runs(run.id) if has_begun else []
        record = rebuilt(run, task_runs, known, now=datetime.now(UTC))
        if record.status.is_final:
            # Only the end is written: while a run works, its flow knows more than its states tell.
            with suppress(JobStoreError):
                await self._store.change(task_id, lambda stored: _ended(stored, record))
        return record

    async def begin(self, run: FlowRun) -> TaskRecord:
        """Write the first record of a new run; when the flow was faster, its record stays.

        Without Redis the run is accepted all the same: the record is then read from Prefect.
        """
        about_task(str(run.id))
        links = self._links(str(run.id))
        record = first_record(run).model_copy(update={"details": links})

        def begun(stored: TaskRecord | None) -> TaskRecord:
            return record_changes.noted(stored, details=links, now=datetime.now(UTC)) if stored else record

        with suppress(JobStoreError):
            return await self._store.change(str(run.id), begun) or record
        _logger.warning("Redis did not take the record of %s", run.id)
        return record

    def for_reader(self, record: TaskRecord) -> TaskRecord:
        """Return the record with URLs signed now; what is stored has none."""
        changes: dict[str, object] = {
            "details": {**self._links(record.task_id), **record.details},
            "intermediate": {name: self._signed(entry) for name, entry in record.intermediate.items()},
        }
        if (result := record.result) is not None:
            presigned = self._presigned(result.output_key)
            public = public_url(self._settings, result.output_key)
            intermediate = result.intermediate
            changes["result"] = result.model_copy(
                update={
                    "presigned_url": presigned,
                    "public_url": public,
                    "output_url": public or presigned,
                    "intermediate": intermediate
                    and {name: self._signed(entry) for name, entry in intermediate.items()},
                }
            )
        return record.model_copy(update=changes)

    def url_of(self, key: str) -> str:
        """Return the address of a result, the public one where there is one."""
        return public_url(self._settings, key) or self._presigned(key)

    def signed_url(self, key: str) -> str:
        """Return an address of an object that is nobody else's to see."""
        return self._presigned(key)

    async def _stored(self, task_id: str) -> bytes | None:
        about_task(task_id)
        with suppress(JobStoreError):
            return await self._store.read_text(task_id)
        return None

    async def _newest(self, task_id: str, stored: bytes | None) -> TaskRecord:
        mirrored = None
        with suppress(JobStoreError):
            mirrored = parse_record(stored) if stored else None
        if mirrored is not None and (mirrored.status.is_final or not _is_stale(mirrored)):
            return mirrored
        try:
            return await self.rebuild(task_id, mirrored)
        except RunsError:
            if mirrored is not None:
                return mirrored
            raise

    def _links(self, task_id: str) -> dict[str, str | None]:
        """Return where the run behind a task is found, as `details` tells it."""
        return {"flow_run_id": task_id, "flow_run_url": self._run_url and self._run_url.format(obj_id=task_id)}

    async def _left_record(self, run: FlowRun) -> TaskRecord | None:
        left = await self._runs.record_artifact(run.id)
        if left is None:
            return None
        try:
            return parse_record(left if isinstance(left, str | bytes) else json.dumps(left))
        except JobStoreError:
            _logger.warning("the artifact of %s is no record", run.id)
            return None

    def _signed(self, entry: IntermediateResult) -> IntermediateResult:
        return entry.model_copy(update={"presigned_url": self._presigned(entry.output_key)})

    def _presigned(self, key: str) -> str:
        return self._bucket.presign_get(key, expires_seconds=self._settings.r2.presign_expiry)


class _Glance(BaseModel):
    """What has to be known of a record to pass it on as it is."""

    model_config = ConfigDict(extra="ignore")

    status: Status
    updated_at: datetime
    details: dict[str, Any]
    result: Any
    intermediate: dict[str, Any]


def is_told_as_it_stands(stored: bytes, *, now: datetime) -> bool:
    """Tell whether a stored record is what a reader gets, word for word."""
    try:
        seen = _Glance.model_validate_json(stored)
    except ValidationError:
        return False
    has_urls = seen.result is not None or seen.intermediate
    is_sure = not seen.status.is_final and now - seen.updated_at <= _STALE
    return is_sure and not has_urls and seen.details.keys() >= _LINKS


def _is_stale(record: TaskRecord) -> bool:
    return datetime.now(UTC) - record.updated_at > _STALE


def _ended(stored: TaskRecord | None, final: TaskRecord) -> TaskRecord:
    """Return what is to be stored: an end is never replaced, unless the same run was started again since."""
    if stored is None:
        return final
    if stored.status.is_final and stored.attempts >= final.attempts:
        return stored
    return final.model_copy(update={"revision": max(final.revision, stored.revision + 1)})
