"""A run in the audit chain: whose media it takes, before anything is paid for, and which signed files leave."""

import asyncio
from datetime import UTC, datetime

from blocks import record_changes
from blocks.audit import AuditLog
from blocks.patience import patiently
from blocks.provenance import ProvenancePolicy
from flows.footage import Footage
from flows.recording import RunRecord
from flows.request import PipelineRequest
from flows.signing import Published
from gpu_tasks.contract.audit import AuditEntry, AuditEvent, AuditFact
from gpu_tasks.contract.consent import DeclaredConsent, consent_to_record
from gpu_tasks.storage import ArtifactStore


class RunAudit:
    """What one run leaves in the audit chain, and in its record of it.

    Args:
        record: Of the run.
        store: The bucket with the chain.
        policy: Whether a declaration of consent is required.
        declared: The one that the door has taken; without it, what the request says is declared by the run itself.
    """

    def __init__(
        self, record: RunRecord, store: ArtifactStore, policy: ProvenancePolicy, declared: DeclaredConsent | None
    ) -> None:
        self._record = record
        self._log = AuditLog(store)
        self._policy = policy.consent
        self._declared = declared
        self.consent_id: str | None = None

    async def accept(self, request: PipelineRequest, footage: Footage) -> None:
        """Write down what the run is about to do with whose media.

        The inputs are named by the digests of the bytes that were handed in: their owner has no others.

        Raises:
            FaultError: CONSENT_REQUIRED when a declaration of consent is required and missing.
        """
        known = self._record.record.provenance
        # The door has declared it already; only a run that an operator started in Prefect brings it here.
        recorded = None if self._declared else consent_to_record(request.consent, self._policy)
        named = self._declared or recorded
        # A run that is taken up again has been accepted, under the id in its record.
        self.consent_id = known.get("consent_id") or (named.id if named else None)
        if known.get("accepted"):
            return
        entry = await self._append(
            AuditFact(
                event=AuditEvent.RUN_ACCEPTED,
                task_id=self._record.record.task_id,
                inputs=footage.handed_in.all,
                consent=recorded,
                consent_id=self.consent_id,
            )
        )
        declared_in = self._declared.entry if self._declared else (entry.key if recorded else None)
        noted = {"accepted": entry.key, "consent_id": self.consent_id, "consent_entry": declared_in}
        await self._record.change(lambda record: record_changes.noted(record, now=datetime.now(UTC), provenance=noted))

    async def sign(self, published: Published) -> None:
        """Write down, and tell readers, that a signed file leaves.

        A file that an earlier try has put there is written down now, unless that try came so far.
        """
        artifact = published.artifact
        if artifact.key in self._record.record.provenance.get("signed", {}):
            return
        entry = await self._append(
            AuditFact(event=AuditEvent.OUTPUT_SIGNED, task_id=self._record.record.task_id, outputs=(artifact.sha256,))
        )
        report = published.report.model_dump(mode="json") if published.report else {}
        told = {"audit": entry.key, "sha256": artifact.sha256, **report}
        # Result and intermediate are signed side by side: each adds to what is there by then.
        await self._record.change(
            lambda record: record_changes.noted(
                record,
                now=datetime.now(UTC),
                provenance={"signed": {**record.provenance.get("signed", {}), artifact.key: told}},
            )
        )

    async def _append(self, fact: AuditFact) -> AuditEntry:
        return await patiently(lambda: asyncio.to_thread(self._log.append, fact))
