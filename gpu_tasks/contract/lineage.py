"""What an output was made of and by what: kept beside the outputs, readable without the run that made them."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from gpu_tasks.contract.artifacts import LINEAGE, Artifact, Digest, ObjectKey
from gpu_tasks.contract.jobs import CONTRACT_VERSION, Engine, Stage
from gpu_tasks.contract.quality import QualityReport

# Outputs that are made to take the place of others, until somebody has accepted them.
CANDIDATES: Final = "outputs/reprocessed/"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageLineage(_Model):
    """One GPU stage. `gpu_seconds` is what computing it took, whoever paid; `fingerprints` has one per segment."""

    stage: Stage
    engine: Engine
    model_revisions: dict[str, str]
    fingerprints: tuple[Digest, ...]
    gpu_seconds: float = Field(ge=0)


class HandedIn(_Model):
    """The digests of the very bytes that were uploaded: the only ones that their owner can know."""

    target: Digest
    audio: Digest | None
    sources: tuple[Digest, ...]
    # Of runs before references there is none.
    references: tuple[Digest, ...] = ()

    @property
    def all(self) -> tuple[Digest, ...]:
        return (self.target, *((self.audio,) if self.audio else ()), *self.sources, *self.references)


class Lineage(_Model):
    """One output.

    Attributes:
        task_id: The run whose output it is; after an accepted reprocessing still the first one.
        made_by: The run that computed it.
        output: The object, as it was published.
        request: What was asked, every option with its value, without the declaration of consent.
        consent_id, consent_entry: Where that declaration lies.
        quality: The figures, where they were measured.
        declined: For what reason it was made anew in vain: somebody kept the old output.
    """

    task_id: str
    made_by: str
    created_at: datetime
    output: Artifact
    request: dict[str, Any]
    consent_id: Digest | None = None
    consent_entry: ObjectKey | None = None
    inputs: HandedIn
    contract_version: int = CONTRACT_VERSION
    stages: tuple[StageLineage, ...]
    quality: QualityReport | None = None
    declined: str | None = None

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.request.get("labels", {}))


class ItemState(StrEnum):
    """Where one output of a batch stands."""

    PLANNED = "planned"
    RUNNING = "running"
    WAITING = "waiting"  # for somebody to accept or reject it
    WORSE = "worse"
    FAILED = "failed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"

    @property
    def is_settled(self) -> bool:
        """Whether the batch has nothing more to compute for it."""
        return self not in {ItemState.PLANNED, ItemState.RUNNING}

    @property
    def is_decided(self) -> bool:
        return self in {ItemState.ACCEPTED, ItemState.REJECTED}


class Item(_Model):
    """One output of a batch.

    Attributes:
        task_id: Whose output is made anew.
        output_key: Where it lies, or would lie had the run not failed.
        why: In words.
        gpu_seconds, usd: Estimate of what is paid; None where nobody knows.
        run_id: The run that makes the candidate.
        findings: Why it is worse, or has failed.
    """

    task_id: str
    output_key: ObjectKey
    why: str
    request: dict[str, Any]
    consent_id: Digest | None = None
    consent_entry: ObjectKey | None = None
    gpu_seconds: float | None = None
    usd: float | None = None
    state: ItemState = ItemState.PLANNED
    run_id: str | None = None
    findings: tuple[str, ...] = ()


class BatchState(StrEnum):
    """How far a batch is. What is neither DONE nor HELD goes on when it is started again."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    HELD = "held"  # a canary was worse or has failed: somebody has to look
    DONE = "done"


class Batch(_Model):
    """What is made anew together. `left_out`: how many more there would be, beyond the bounds of the policy."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    only: str
    created_at: datetime
    items: tuple[Item, ...]
    left_out: int = 0
    state: BatchState = BatchState.PLANNED

    @property
    def gpu_seconds(self) -> float:
        return sum(item.gpu_seconds or 0.0 for item in self.items)

    @property
    def usd(self) -> float | None:
        """None where not all of it has a price."""
        known = [item.usd for item in self.items if item.usd is not None]
        return sum(known) if len(known) == len(self.items) else None


def lineage_key(task_id: str) -> str:
    """Return where the lineage of a run's output lies."""
    return f"{LINEAGE}outputs/{task_id}.json"


def batch_key(name: str) -> str:
    """Return where a batch lies."""
    return f"{LINEAGE}batches/{name}.json"
