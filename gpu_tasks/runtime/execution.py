"""One execution of one job, from start to receipt; blocking, run in a thread of its own."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import fingerprint
from gpu_tasks.contract.receipts import Receipt, StartMarker
from gpu_tasks.media.probe import probe
from gpu_tasks.runtime.cancellation import Cancellation
from gpu_tasks.runtime.ledger import Ledger
from gpu_tasks.runtime.pipeline import Bench, JobT, Pipeline, Product
from gpu_tasks.runtime.progress import ProgressReporter
from gpu_tasks.runtime.scratch import Scratch
from gpu_tasks.storage import ArtifactStore

_log = logging.getLogger(__name__)

_FETCHES_AT_ONCE = 4
_MEDIA_TYPE = "video/mp4"
# A bucket that is away is waited for as long as flows wait for it: another execution would cost a start, or all again.
_OUTAGE_SECONDS = 150.0
_PAUSE_SECONDS = 2.0

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Workshop(Generic[JobT]):
    """What all jobs of one worker share."""

    pipeline: Pipeline[JobT]
    store: ArtifactStore
    scratch: Scratch
    threads: int


@dataclass(frozen=True, slots=True)
class Execution(Generic[JobT]):
    """One job on this worker."""

    workshop: Workshop[JobT]
    job: JobT
    ledger: Ledger
    cancellation: Cancellation
    progress: ProgressReporter

    def perform(self) -> Receipt:
        """Return the job's receipt: the one that stands already, or that of the work done now.

        The order keeps the promise about money: the receipt is looked for before anything is paid for, the marker
        names this execution before models load, the object is stored before the receipt that names it.

        Raises:
            JobCancelledError: The platform wants the job to stop. Nothing is left on the disk.
            FaultError: Why there is no result.
        """
        if (receipt := self._patiently(self.ledger.receipt)) is not None:
            _log.info("answered from the receipt", extra={"facts": {"attempt": receipt.attempt}})
            return receipt
        self.cancellation.checkpoint()
        marker = self._patiently(self.ledger.start)
        started = time.monotonic()
        _log.info("started", extra={"facts": {"attempt": marker.attempt, "execution": marker.execution}})
        with self.workshop.scratch.job_folder() as folder:
            product = self._produce(folder)
            self.cancellation.checkpoint()
            receipt = self._deliver(product, marker, started)
        # Not cancellable any more: the work is paid for, the next caller shall find it.
        settled = _patiently(lambda: self.ledger.settle(receipt), checkpoint=_go_on)
        facts = {"work_seconds": round(receipt.work_seconds, 2), "was_first": settled == receipt}
        _log.info("finished", extra={"facts": facts})
        return settled

    def _produce(self, folder: Path) -> Product:
        pipeline, job = self.workshop.pipeline, self.job
        frame_count = job.frames.stop_frame - job.frames.start_frame
        self.progress.report(0, frame_count, "fetching inputs")
        inputs = self._fetch(pipeline.inputs(job), folder)
        bench = Bench(
            folder=folder,
            inputs=inputs,
            threads=self.workshop.threads,
            checkpoint=self.cancellation.checkpoint,
            report=self.progress.report,
        )
        started = time.monotonic()
        product = pipeline.run(job, bench)
        seconds = time.monotonic() - started
        _log.info("pixels done", extra={"facts": {"frames": frame_count, "seconds": round(seconds, 2)}})
        self.progress.report(frame_count, frame_count, "storing the result")
        return product

    def _fetch(self, artifacts: tuple[Artifact, ...], folder: Path) -> dict[str, Path]:
        """Fetch each object once, named by position: nothing that a caller named becomes a file name."""
        distinct = {artifact.key: artifact for artifact in artifacts}
        paths = {key: folder / f"input-{number}" for number, key in enumerate(distinct)}
        started = time.monotonic()

        def fetch(key: str) -> None:
            self._patiently(lambda: self.workshop.store.fetch(distinct[key], paths[key]))

        with ThreadPoolExecutor(_FETCHES_AT_ONCE, thread_name_prefix="fetch") as pool:
            list(pool.map(fetch, distinct))
        self.cancellation.checkpoint()
        size_bytes = sum(artifact.size_bytes for artifact in distinct.values())
        facts = {"count": len(paths), "bytes": size_bytes, "seconds": round(time.monotonic() - started, 2)}
        _log.info("inputs fetched", extra={"facts": facts})
        return paths

    def _deliver(self, product: Product, marker: StartMarker, started: float) -> Receipt:
        made = probe(product.path)
        if made.video is None:
            raise FaultError(FaultCode.RESULT_MISSING)
        key = self.ledger.keys.output(marker.attempt, marker.execution)
        put_file = self.workshop.store.put_file
        artifact = self._patiently(lambda: put_file(product.path, key, _MEDIA_TYPE, if_absent=True))
        return Receipt(
            fingerprint=fingerprint(self.job),
            stage=self.job.stage,
            attempt=marker.attempt,
            execution=marker.execution,
            artifact=artifact,
            video=made.video,
            has_audio=made.audio is not None,
            faces=product.faces,
            engine=self.job.engine,
            model_revisions=self.job.model_revisions,
            encoder=product.encoder,
            work_seconds=time.monotonic() - started,
            job_id=marker.job_id,
            worker_id=marker.worker_id,
            finished_at=datetime.now(UTC),
            notes=product.notes,
        )

    def _patiently(self, ask: Callable[[], R]) -> R:
        return _patiently(ask, checkpoint=self.cancellation.checkpoint)


def _go_on() -> None:
    """Heed no cancellation."""


def _patiently(ask: Callable[[], R], *, checkpoint: Callable[[], None]) -> R:
    """Return what `ask` returns, asked again while the bucket is away; after a while its error is raised.

    Raises:
        JobCancelledError: `checkpoint` says so, before each try.
        FaultError: STORAGE_UNAVAILABLE, or as `ask`.
    """
    deadline = time.monotonic() + _OUTAGE_SECONDS
    while True:
        checkpoint()
        try:
            return ask()
        except FaultError as error:
            if error.fault.code is not FaultCode.STORAGE_UNAVAILABLE or time.monotonic() > deadline:
                raise
        _log.info("waiting for the bucket")
        time.sleep(_PAUSE_SECONDS)
