"""From a finished run to the lineage of its output."""

from collections.abc import Sequence
from datetime import UTC, datetime

from flows.footage import Footage
from flows.parts import Part
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.lineage import Lineage, StageLineage
from gpu_tasks.contract.quality import QualityReport
from gpu_tasks.contract.receipts import Receipt
from gpu_tasks.contract.records import ResultRecord, TaskRecord


def lineage_of(record: TaskRecord, footage: Footage, parts: Sequence[Part], result: ResultRecord) -> Lineage:
    """Return what the run's output was made of and by what.

    Args:
        record: As it is when the output has been published and measured.
        footage: The inputs.
        parts: What the GPU stages made, one per segment.
        result: The output.
    """
    quality = dict(record.details.get("quality", {}))
    return Lineage(
        task_id=record.task_id,
        made_by=record.task_id,
        created_at=datetime.now(UTC),
        output=Artifact(
            key=result.output_key, sha256=result.sha256, size_bytes=result.bytes_uploaded, media_type="video/mp4"
        ),
        request=record.request,
        consent_id=record.provenance.get("consent_id"),
        consent_entry=record.provenance.get("consent_entry"),
        inputs=footage.handed_in,
        stages=tuple(
            stage
            for made in ([part.synced for part in parts], [part.swapped for part in parts])
            if (stage := _stage([done.receipt for done in made if done is not None])) is not None
        ),
        quality=QualityReport.model_validate(quality) if quality.pop("measured", False) else None,
    )


def _stage(receipts: Sequence[Receipt]) -> StageLineage | None:
    if not receipts:
        return None
    first = receipts[0]
    return StageLineage(
        stage=Stage(first.stage),
        engine=first.engine,
        model_revisions=first.model_revisions,
        fingerprints=tuple(receipt.fingerprint for receipt in receipts),
        gpu_seconds=round(sum(receipt.work_seconds for receipt in receipts), 3),
    )
