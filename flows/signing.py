"""Publishing one file: signed as the very last step, under a key that is never another task's. In the CPU pool."""

from pydantic import BaseModel, ConfigDict

from flows.errors import PipelineError
from flows.workbench import scratch, store_of
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.ownership import OutputOwner, marker_of
from gpu_tasks.provenance.certificates import load_signatory
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.sign import SignReport, sign_file
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore

_MEDIA_TYPE = "video/mp4"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Publication(_Model):
    """Which file goes under which key, and what its credential says."""

    artifact: Artifact
    output_key: str
    task_id: str
    credential: Credential


class Published(_Model):
    """The signed file under its final key; `report` is None when an earlier try of this task had put it there."""

    artifact: Artifact
    report: SignReport | None


def publish(publication: Publication, signing: SigningSettings, r2: R2Settings) -> Published:
    """Sign a file and put it under its final key.

    A signature holds a random number, so signing again gives other bytes: what an earlier try of this task has put
    there stays.

    Raises:
        PipelineError: OUTPUT_EXISTS when the key belongs to another task.
        ProvenanceError: As `sign_file`.
        StorageError: The bucket is away or has lost the object.
    """
    store = store_of(r2)
    key = publication.output_key
    _claim(store, key, publication.task_id)
    if (head := store.head(key)) is not None:
        kept = Artifact(key=key, sha256=head.metadata["sha256"], size_bytes=head.size_bytes, media_type=head.media_type)
        return Published(artifact=kept, report=None)
    with scratch() as folder:
        unsigned, signed = folder / "unsigned.mp4", folder / "signed.mp4"
        store.fetch(publication.artifact, unsigned)
        report = sign_file(unsigned, signed, publication.credential, load_signatory(signing))
        return Published(artifact=store.put_file(signed, key, _MEDIA_TYPE), report=report)


def _claim(store: ArtifactStore, key: str, task_id: str) -> None:
    """Make the key this task's; once it is, what lies under it comes from this task.

    Raises:
        PipelineError: OUTPUT_EXISTS when it is another task's, or an object from before the markers lies there.
    """
    ours = OutputOwner(output_key=key, task_id=task_id)
    marker = marker_of(key)
    owner = store.read_json(marker, OutputOwner)
    if owner is None and store.head(key) is None:
        # The marker is put before the file: of two tasks that name one key, one writes and the other is refused.
        owner = ours if store.put_json(marker, ours, if_absent=True) else store.read_json(marker, OutputOwner)
    if owner != ours:
        raise PipelineError(FaultCode.OUTPUT_EXISTS, f"Key: {key}.", stage=Stage.PUBLISH)
