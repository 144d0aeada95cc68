"""What one run works with: the blocks as they are now, and its record."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.runtime import flow_run

from blocks import record_changes
from blocks.job_store import JobStoreError
from blocks.key_refusal import note_key_refused
from blocks.patience import patiently
from blocks.runpod import RunPodEndpoint
from flows.accounts import JobAccount, Spent
from flows.alerts import QueueWatch
from flows.announcing import announce
from flows.auditing import RunAudit
from flows.board import Board
from flows.budget import Budget
from flows.documents import Blocks, signing_of
from flows.errors import JobError, PipelineError
from flows.following import JobNews
from flows.footage import Footage
from flows.lineage import lineage_of
from flows.order import Order
from flows.parts import Lanes, Part
from flows.progress import Course
from flows.recording import RunRecord
from flows.remote import JobDone
from flows.request import PipelineRequest
from flows.standing import Standing
from gpu_tasks.contract.consent import DeclaredConsent
from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Stage, Wav2LipJob
from gpu_tasks.contract.lineage import lineage_key
from gpu_tasks.contract.manifest import resolve_engine
from gpu_tasks.contract.records import ErrorRecord, ResultRecord, Status


class Run:
    """One run: its request, its blocks, its record. A plain object, so that Prefect passes it to tasks untouched."""

    def __init__(
        self, task_id: str, request: PipelineRequest, blocks: Blocks, consent: DeclaredConsent | None = None
    ) -> None:
        self.task_id = task_id
        self.request = request
        self.media = blocks.media
        self.store = blocks.media.store()
        self.jobs = blocks.jobs
        self.policy = blocks.policy
        self.signing = signing_of(blocks.provenance)
        self._endpoints = {Stage.WAV2LIP: blocks.wav2lip, Stage.FACEFUSION: blocks.facefusion}
        self.budget = Budget(blocks.policy, blocks.jobs, self.store, task_id)
        self._paid: dict[tuple[str, str], Spent] = {}
        self._course = Course.of(request)
        self.lanes = Lanes(blocks.policy.max_segments_per_endpoint)
        self._standing = Standing(task_id, request.gpu_stages)
        self._begun: set[Stage] = set()
        self._queue = QueueWatch(task_id, blocks.policy.queue_alert_seconds)
        first = record_changes.queued(task_id, request.model_dump(mode="json"), now=datetime.now(UTC))
        self.record = RunRecord(blocks.jobs, first, blocks.media.public_url)
        self.audit = RunAudit(self.record, self.store, blocks.provenance, consent)
        self.board = Board(task_id, request, flow_run.tags)

    def engine(self) -> Engine:
        """Resolve the engine that the request asks for, before anything is fingerprinted.

        Raises:
            FaultError: ENGINE_UNAVAILABLE.
        """
        return resolve_engine(
            self.request.engine,
            draft_allowed=self.policy.draft_allowed,
            neural_ready=self.policy.neural_ready,
            stages=self.request.gpu_stages,
        )

    def endpoint(self, stage: Stage) -> RunPodEndpoint:
        """Return where jobs of a stage go.

        Raises:
            PipelineError: RUNPOD_NOT_CONFIGURED or FACEFUSION_NOT_CONFIGURED.
        """
        endpoint = self._endpoints[stage]
        if endpoint.is_configured:
            return endpoint
        has_key = bool(endpoint.api_key.get_secret_value())
        is_swap = has_key and stage is Stage.FACEFUSION
        raise PipelineError(
            FaultCode.FACEFUSION_NOT_CONFIGURED if is_swap else FaultCode.RUNPOD_NOT_CONFIGURED, stage=stage
        )

    @property
    def order(self) -> Order:
        """Before whom, and until when; the time counts from when the request was taken."""
        seconds = self.request.deadline_seconds
        deadline = None if seconds is None else self.record.record.created_at + timedelta(seconds=seconds)
        return Order(priority=self.request.priority, deadline=deadline)

    async def enter(self, stage: Stage, message: str = "") -> None:
        """Tell readers that the run now works on `stage`.

        Raises:
            PipelineError: DEADLINE_EXCEEDED.
        """
        if (left := self.order.left_seconds) is not None and left <= 0:
            raise PipelineError(FaultCode.DEADLINE_EXCEEDED, stage=stage)
        self.board.begin(stage)
        percent = self._course.percent(stage, 0.0)
        await self.record.change(
            lambda record: record_changes.entered(
                record, stage, now=datetime.now(UTC), message=message, percent=percent
            )
        )
        if stage is Stage.INGEST:
            await announce(self.record.record)

    async def note(
        self,
        *,
        details: Mapping[str, Any] | None = None,
        media: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell readers facts about the run."""
        await self.record.change(
            lambda record: record_changes.noted(
                record, now=datetime.now(UTC), details=details, media=media, provenance=provenance
            )
        )

    def cut(self, footage: Footage) -> None:
        """Know from here on in which segments the footage is computed."""
        self._standing = Standing(self.task_id, self.request.gpu_stages, footage.segments)

    async def begin(self, job: Wav2LipJob | FaceFusionJob) -> None:
        """Tell readers that a GPU stage has begun, unless an earlier one still has segments to do."""
        if self._standing.focus is job.stage:
            await self._enter_focus()

    async def hear(self, job: Wav2LipJob | FaceFusionJob, news: JobNews) -> None:
        """Tell readers how a stage's GPU job stands."""
        standing = self._standing
        standing.hear(job.stage, job.segment, news)
        await self.note(details=standing.details(job.stage))
        self._queue.hear(job.stage, news)
        if (progress := news.progress) is None:
            return
        message = progress.message or f"{progress.done} of {progress.total}"
        await self._progressed(standing.message(standing.focus) if standing.segments else message)

    async def settle(self, job: Wav2LipJob | FaceFusionJob, done: JobDone) -> None:
        """Tell readers what came out of a GPU job, and what this run has paid for the stage so far."""
        stage, standing = job.stage, self._standing
        standing.settle(stage, job.segment, done)
        is_over = standing.is_over(stage)
        await self.note(
            details=standing.details(stage), provenance={stage.value: standing.provenance(stage)} if is_over else None
        )
        # What other runs have paid for it is theirs.
        spent, fingerprint = done.spent.get(self.task_id, Spent()), done.receipt.fingerprint
        self.budget.remember(stage, fingerprint, spent)
        await self._paid_for(stage, fingerprint, spent)
        if standing.segments:
            await self._progressed(standing.message(standing.focus))
        if is_over:
            # Segments that were quicker are in the next stage already; from now on it is what the run waits for.
            await self._enter_focus()

    async def _enter_focus(self) -> None:
        focus = self._standing.focus
        if focus not in self._begun:
            self._begun.add(focus)
            await self.enter(focus)

    async def _progressed(self, message: str) -> None:
        at = self._standing.focus
        for stage in self._standing.stages:
            if fraction := self._standing.fraction(stage):
                self.board.show(stage, fraction, self._standing.message(stage) if self._standing.segments else message)
        later = self._standing.stages[self._standing.stages.index(at) + 1 :]
        ahead = {stage: self._standing.fraction(stage) for stage in later}
        percent = self._course.percent(at, self._standing.fraction(at), ahead=ahead)
        await self.record.change(
            lambda record: record_changes.progressed(record, at, percent, message, now=datetime.now(UTC))
        )

    async def charge(self, account: JobAccount) -> None:
        """Tell readers what this run has paid for one GPU job so far, also when nothing has come of it."""
        await self._paid_for(Stage(account.stage), account.fingerprint, account.spent(self.task_id))

    async def _paid_for(self, stage: Stage, fingerprint: str, spent: Spent) -> None:
        self._paid[stage.value, fingerprint] = spent
        whole = sum((paid for (where, _), paid in self._paid.items() if where == stage.value), Spent())
        await self.record.change(
            lambda record: record_changes.charged(record, stage, whole.gpu_seconds, whole.usd, now=datetime.now(UTC))
        )

    async def trace(self, footage: Footage, parts: Sequence[Part], result: ResultRecord) -> None:
        """Leave beside the outputs what this one was made of and by what; a later try of this run writes it again."""
        lineage = lineage_of(self.record.record, footage, parts, result)
        key = lineage_key(self.task_id)
        await patiently(lambda: asyncio.to_thread(self.store.put_json, key, lineage, if_absent=False))

    @property
    def has_told_its_result(self) -> bool:
        """Tell whether an earlier start came so far; its worker ended before Prefect knew."""
        return self.record.record.status is Status.COMPLETED

    async def tell_again(self) -> None:
        """Leave with Prefect and webhooks what the earlier start may not have left there."""
        await self.record.finish(lambda record: record)

    async def complete(self, result: ResultRecord) -> None:
        """Close the record with a result."""
        self.board.fill()
        await self.record.finish(lambda record: record_changes.completed(record, result, now=datetime.now(UTC)))

    async def fail(self, fault: Fault, log_tail: tuple[str, ...] = ()) -> None:
        """Close the record with the reason why there is no result."""
        if fault.code is FaultCode.RUNPOD_KEY_REFUSED:
            # The door then says so at once, instead of taking in what is going to fail.
            with suppress(JobStoreError):
                await note_key_refused(self.jobs)
        error = ErrorRecord(error=fault.code, detail=fault.detail, stage=fault.stage, retryable=fault.is_retryable)
        details = {"log_tail": list(log_tail)} if log_tail else {}
        await self.record.finish(
            lambda record: record_changes.failed(
                record,
                error.model_copy(update={"stage": error.stage or record.stage.value}),
                now=datetime.now(UTC),
                details=details,
            )
        )


@asynccontextmanager
async def opened(request: PipelineRequest, consent: DeclaredConsent | None = None) -> AsyncIterator[Run]:
    """Load the blocks for the current flow run, and close its record if it fails.

    A run that is cancelled or whose worker stops leaves by CancelledError: the first is recorded by the flow's hook,
    the second goes on elsewhere.
    """
    run = Run(str(flow_run.id), request, await Blocks.load(), consent)
    await run.record.begin(attempts=flow_run.run_count)
    await run.note(details={"flow_run_id": run.task_id, "flow_run_url": flow_run.ui_url})
    async with run.board.kept(attempts=flow_run.run_count):
        try:
            yield run
        except FaultError as error:
            await run.fail(error.fault, error.log_tail if isinstance(error, JobError) else ())
            raise
        except Exception:
            # The log has the traceback; the caller gets a sentence.
            await run.fail(FaultError(FaultCode.INTERNAL).fault)
            raise
