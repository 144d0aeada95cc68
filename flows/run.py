"""What one run works with: the blocks as they are now, and its record."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from prefect.runtime import flow_run

from blocks import record_changes, registry
from blocks.audit import AuditLog
from blocks.job_store import JobStore
from blocks.patience import patiently
from blocks.policy import PipelinePolicy
from blocks.provenance import ProvenancePolicy
from blocks.r2 import R2Bucket
from blocks.runpod import RunPodEndpoint
from flows.accounts import JobAccount, Spent
from flows.budget import Budget
from flows.errors import JobError, PipelineError
from flows.following import JobNews
from flows.footage import Footage
from flows.order import Order
from flows.progress import Course
from flows.recording import RunRecord
from flows.remote import JobDone
from flows.request import PipelineRequest
from flows.signing import Published
from gpu_tasks.contract.audit import AuditEvent, AuditFact
from gpu_tasks.contract.consent import DeclaredConsent, consent_to_record
from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, Stage
from gpu_tasks.contract.manifest import resolve_engine
from gpu_tasks.contract.records import ErrorRecord, ResultRecord
from gpu_tasks.provenance.settings import SigningSettings

_PROVENANCE = {"artifact", "engine", "model_revisions", "faces", "worker_id", "notes"}


class Blocks(NamedTuple):
    """The block documents as they are when the run begins; operators may have edited them a moment ago."""

    media: R2Bucket
    jobs: JobStore
    policy: PipelinePolicy
    wav2lip: RunPodEndpoint
    facefusion: RunPodEndpoint
    provenance: ProvenancePolicy

    @classmethod
    async def load(cls) -> "Blocks":
        """Read all documents at once."""
        return cls(
            *await asyncio.gather(
                R2Bucket.aload(registry.MEDIA),
                JobStore.aload(registry.JOBS),
                PipelinePolicy.aload(registry.POLICY),
                RunPodEndpoint.aload(registry.WAV2LIP),
                RunPodEndpoint.aload(registry.FACEFUSION),
                ProvenancePolicy.aload(registry.PROVENANCE),
            )
        )


class Run:
    """One run: its request, its blocks, its record. A plain object, so that Prefect passes it to tasks untouched."""

    def __init__(
        self, task_id: str, request: PipelineRequest, blocks: "Blocks", consent: DeclaredConsent | None = None
    ) -> None:
        self.task_id = task_id
        self.request = request
        self._declared = consent
        self.media = blocks.media
        self.store = blocks.media.store()
        self.jobs = blocks.jobs
        self.policy = blocks.policy
        self.signing = signing_of(blocks.provenance)
        self.consent_id: str | None = None
        self._consent_policy = blocks.provenance.consent
        self._audit = AuditLog(self.store)
        self._endpoints = {Stage.WAV2LIP: blocks.wav2lip, Stage.FACEFUSION: blocks.facefusion}
        self.budget = Budget(blocks.policy, blocks.jobs, self.store, task_id)
        self._paid: dict[tuple[str, str], Spent] = {}
        self._course = Course.of(request)
        first = record_changes.queued(task_id, request.model_dump(mode="json"), now=datetime.now(UTC))
        self.record = RunRecord(blocks.jobs, first)

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

    async def accept(self, footage: Footage) -> None:
        """Write into the audit chain what this run is about to do with whose media, before anything is paid for.

        The inputs are named by the digests of the bytes that were handed in: their owner has no others.

        Raises:
            FaultError: CONSENT_REQUIRED when a declaration of consent is required and missing.
        """
        known = self.record.record.provenance
        # The door has declared it already; only a run that an operator started in Prefect brings it here.
        recorded = None if self._declared else consent_to_record(self.request.consent, self._consent_policy)
        named = self._declared or recorded
        # A run that is taken up again has been accepted, under the id in its record.
        self.consent_id = known.get("consent_id") or (named.id if named else None)
        if known.get("accepted"):
            return
        fact = AuditFact(
            event=AuditEvent.RUN_ACCEPTED,
            task_id=self.task_id,
            inputs=footage.handed_in.all,
            consent=recorded,
            consent_id=self.consent_id,
        )
        entry = await patiently(lambda: asyncio.to_thread(self._audit.append, fact))
        declared_in = self._declared.entry if self._declared else (entry.key if recorded else None)
        consent = {"consent_id": self.consent_id, "consent_entry": declared_in}
        await self.note(provenance={"accepted": entry.key, **consent})

    async def sign(self, published: Published) -> None:
        """Write into the audit chain, and tell readers, that a signed file leaves.

        A file that an earlier try has put there is written down now, unless that try came so far.
        """
        artifact = published.artifact
        if artifact.key in self.record.record.provenance.get("signed", {}):
            return
        fact = AuditFact(event=AuditEvent.OUTPUT_SIGNED, task_id=self.task_id, outputs=(artifact.sha256,))
        entry = await patiently(lambda: asyncio.to_thread(self._audit.append, fact))
        report = published.report.model_dump(mode="json") if published.report else {}
        told = {"audit": entry.key, "sha256": artifact.sha256, **report}
        signed = {**self.record.record.provenance.get("signed", {}), artifact.key: told}
        await self.note(provenance={"signed": signed})

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
        percent = self._course.percent(stage, 0.0)
        await self.record.change(
            lambda record: record_changes.entered(
                record, stage, now=datetime.now(UTC), message=message, percent=percent
            )
        )

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

    async def hear(self, stage: Stage, news: JobNews) -> None:
        """Tell readers how a stage's GPU job stands."""
        stopped = {} if news.is_stopped is None else {f"{stage}_stopped": news.is_stopped}
        await self.note(
            details={
                f"{stage}_job_id": news.job_id,
                f"{stage}_status": news.status.value,
                f"{stage}_reused": not news.is_ours,
                f"{stage}_endpoint": news.claim.endpoint_id,
                f"{stage}_attempt": news.claim.attempt,
                f"{stage}_fingerprint": news.claim.fingerprint,
                **stopped,
            }
        )
        if (progress := news.progress) is None:
            return
        percent = self._course.percent(stage, progress.done / progress.total)
        message = progress.message or f"{progress.done} of {progress.total}"
        await self.record.change(
            lambda record: record_changes.progressed(record, stage, percent, message, now=datetime.now(UTC))
        )

    async def settle(self, stage: Stage, done: JobDone) -> None:
        """Tell readers what came out of a stage's GPU job, and what this run has paid for it."""
        receipt = done.receipt
        await self.note(
            details={
                f"{stage}_job_id": receipt.job_id,
                f"{stage}_status": "COMPLETED",
                f"{stage}_attempts": done.attempts,
                f"{stage}_reused": done.paid_by != self.task_id,
            },
            provenance={stage.value: receipt.model_dump(mode="json", include=_PROVENANCE)},
        )
        # What other runs have paid for it is theirs.
        await self._paid_for(stage, receipt.fingerprint, done.spent.get(self.task_id, Spent()))

    async def charge(self, account: JobAccount) -> None:
        """Tell readers what this run has paid for one GPU job so far, also when nothing has come of it."""
        await self._paid_for(Stage(account.stage), account.fingerprint, account.spent(self.task_id))

    async def _paid_for(self, stage: Stage, fingerprint: str, spent: Spent) -> None:
        self._paid[stage.value, fingerprint] = spent
        whole = sum((paid for (where, _), paid in self._paid.items() if where == stage.value), Spent())
        await self.record.change(
            lambda record: record_changes.charged(record, stage, whole.gpu_seconds, whole.usd, now=datetime.now(UTC))
        )

    async def complete(self, result: ResultRecord) -> None:
        """Close the record with a result."""
        await self.record.finish(lambda record: record_changes.completed(record, result, now=datetime.now(UTC)))

    async def fail(self, fault: Fault, log_tail: tuple[str, ...] = ()) -> None:
        """Close the record with the reason why there is no result."""
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


def signing_of(policy: ProvenancePolicy) -> SigningSettings:
    """Return a block's names of files as settings; every field is given, so that no environment is asked."""
    names = ("chain", "key", "trust_anchors", "tsa_url", "tsa_anchors", "development")
    return SigningSettings(**{name: getattr(policy, name) for name in names})


@asynccontextmanager
async def opened(request: PipelineRequest, consent: DeclaredConsent | None = None) -> AsyncIterator[Run]:
    """Load the blocks for the current flow run, and close its record if it fails.

    A run that is cancelled or whose worker stops leaves by CancelledError: the first is recorded by the flow's hook,
    the second goes on elsewhere.
    """
    run = Run(str(flow_run.id), request, await Blocks.load(), consent)
    await run.record.begin(attempts=flow_run.run_count)
    await run.note(details={"flow_run_id": run.task_id, "flow_run_url": flow_run.ui_url})
    try:
        yield run
    except FaultError as error:
        await run.fail(error.fault, error.log_tail if isinstance(error, JobError) else ())
        raise
    except Exception:
        # The log has the traceback; the caller gets a sentence.
        await run.fail(FaultError(FaultCode.INTERNAL).fault)
        raise
