"""The handler in this process, with the real store and pipelines made for one behaviour each."""

import asyncio
import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage, Wav2LipJob, keys_of
from gpu_tasks.contract.media import FaceCoverage
from gpu_tasks.contract.receipts import JobReply, Progress
from gpu_tasks.runtime.execution import Workshop
from gpu_tasks.runtime.handler import Handler
from gpu_tasks.runtime.pipeline import Bench, Product
from gpu_tasks.runtime.scratch import Scratch
from gpu_tasks.storage import ArtifactStore
from tests.waiting import PATIENCE_SECONDS
from tests.workers.jobs import Uploads, as_input, markers_of


@dataclass
class Behaving:
    """A lip-sync pipeline whose work is a function."""

    work: Callable[[Bench], object]
    stage: Stage = Stage.WAV2LIP

    def check(self, job: Wav2LipJob) -> None:
        """Take any job."""

    def inputs(self, job: Wav2LipJob) -> tuple[Artifact, ...]:
        return (job.target,)

    def run(self, job: Wav2LipJob, bench: Bench) -> Product:
        self.work(bench)
        faces = FaceCoverage(frames_looked_at=1, frames_with_face=1)
        return Product(path=bench.path_of(job.target), faces=faces, encoder="none")


@dataclass
class Worker:
    """Handlers over one store, and what they left."""

    store: ArtifactStore
    home: Path
    reports: list[Progress] = field(default_factory=list)

    def handler(self, work: Callable[[Bench], object]) -> Handler[Wav2LipJob]:
        workshop = Workshop(pipeline=Behaving(work), store=self.store, scratch=Scratch(self.home), threads=1)
        return Handler(workshop, worker_id="here", send_progress=self._keep)

    def _keep(self, _wire: dict[str, Any], report: dict[str, Any]) -> None:
        self.reports.append(Progress.model_validate(report))


@pytest.fixture
def worker(store: ArtifactStore, tmp_path: Path) -> Worker:
    return Worker(store, tmp_path)


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return iter(range(1_000, 2_000))


@pytest.fixture
def job(uploads: Uploads, numbers: Iterator[int]) -> Wav2LipJob:
    """A job like no other."""
    return uploads.lip_sync(next(numbers))


def wire_of(job: Wav2LipJob, job_id: str = "job-1") -> dict[str, Any]:
    return {"id": job_id, "input": as_input(job)}


def raising(error: BaseException) -> Callable[[Bench], object]:
    def work(_bench: Bench) -> object:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), FaultCode.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "no space left", "/srv/secret/path"), FaultCode.DISK_FULL),
        (OSError(errno.ENOMEM, "no memory"), FaultCode.OUT_OF_MEMORY),
        (ZeroDivisionError("/srv/private/place"), FaultCode.INTERNAL),
        (KeyError("hunter2"), FaultCode.INTERNAL),
    ],
    ids=["memory", "disk", "enomem", "arithmetic", "key"],
)
async def test_any_error_is_a_fault_without_its_text(
    worker: Worker, job: Wav2LipJob, error: Exception, code: FaultCode
) -> None:
    wire = await worker.handler(raising(error)).handle(wire_of(job))
    replaced = wire.pop("refresh_worker", False)
    reply = JobReply.model_validate(wire)
    assert reply.fault is not None
    assert reply.fault.code is code
    assert "error" not in wire
    for secret in ("Traceback", "/srv/", "hunter2", str(worker.home)):
        assert secret not in str(wire)
    # A process that ran out of memory is replaced, others go on.
    assert replaced is (code is FaultCode.OUT_OF_MEMORY)
    assert list(worker.home.iterdir()) == []


async def test_a_receipt_names_an_object_with_that_digest(
    worker: Worker, store: ArtifactStore, job: Wav2LipJob, tmp_path: Path
) -> None:
    wire = await worker.handler(lambda _bench: None).handle(wire_of(job))
    receipt = JobReply.model_validate(wire).receipt
    assert receipt is not None
    store.fetch(receipt.artifact, tmp_path / "result")
    assert receipt.artifact.sha256 == job.target.sha256
    assert (receipt.job_id, receipt.worker_id) == ("job-1", "here")


async def test_the_same_job_started_again_is_a_second_execution(
    worker: Worker, store: ArtifactStore, job: Wav2LipJob
) -> None:
    await worker.handler(raising(MemoryError())).handle(wire_of(job))
    wire = await worker.handler(lambda _bench: None).handle(wire_of(job))
    receipt = JobReply.model_validate(wire).receipt
    assert receipt is not None
    assert receipt.execution == 2
    assert markers_of(store, job) == ["started-1.2.json", "started-1.json"]


async def test_of_two_that_finish_the_second_adopts_the_firsts_receipt(
    worker: Worker, store: ArtifactStore, job: Wav2LipJob
) -> None:
    rival = worker.handler(lambda _bench: None)

    def be_overtaken(_bench: Bench) -> None:
        asyncio.run(rival.handle(wire_of(job.as_attempt(2), "job-2")))

    wire = await worker.handler(be_overtaken).handle(wire_of(job))
    receipt = JobReply.model_validate(wire).receipt
    assert receipt is not None
    assert (receipt.attempt, receipt.job_id) == (2, "job-2")
    assert markers_of(store, job) == ["started-1.json", "started-2.json"]


async def test_a_receipt_whose_object_has_gone_is_no_result(
    worker: Worker, store: ArtifactStore, job: Wav2LipJob
) -> None:
    handler = worker.handler(lambda _bench: None)
    await handler.handle(wire_of(job))
    store.delete(keys_of(job).output(1, 1))
    wire = await handler.handle(wire_of(job.as_attempt(2), "job-2"))
    receipt = JobReply.model_validate(wire).receipt
    assert receipt is not None
    assert receipt.attempt == 2
    assert store.head(receipt.artifact.key) is not None
    third = await handler.handle(wire_of(job.as_attempt(3), "job-3"))
    assert JobReply.model_validate(third).receipt == receipt


async def test_the_loop_breathes_while_pixels_are_worked_on(worker: Worker, job: Wav2LipJob) -> None:
    def busy(_bench: Bench) -> None:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            sum(range(1000))

    handling = asyncio.create_task(worker.handler(busy).handle(wire_of(job)))
    longest = 0.0
    while not handling.done():
        before = time.monotonic()
        await asyncio.wait([handling], timeout=0.01)
        longest = max(longest, time.monotonic() - before)
    # On the loop it would be three seconds.
    assert longest < 2
    assert JobReply.model_validate(handling.result()).receipt is not None


async def test_repeated_stops_end_the_work_once_and_leave_nothing(worker: Worker, job: Wav2LipJob) -> None:
    working = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(bench: Bench) -> None:
        loop.call_soon_threadsafe(working.set)
        while True:
            bench.checkpoint()

    handling = asyncio.create_task(worker.handler(endless).handle(wire_of(job)))
    await asyncio.wait_for(working.wait(), PATIENCE_SECONDS)
    for _ in range(3):
        handling.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(handling, PATIENCE_SECONDS)
    assert list(worker.home.iterdir()) == []


async def test_progress_is_numbered_and_not_more_than_two_a_second(worker: Worker, job: Wav2LipJob) -> None:
    took = []

    def work(bench: Bench) -> None:
        began, done = time.monotonic(), 0
        # Until three have gone out beside the first, "fetching inputs".
        while len(worker.reports) < 4 and time.monotonic() < began + PATIENCE_SECONDS:
            bench.report(done, 1_000_000, "changing frames")
            done += 1
        took.append(time.monotonic() - began)

    await worker.handler(work).handle(wire_of(job))
    assert took[0] > 0.9
    assert [report.sequence for report in worker.reports] == list(range(len(worker.reports)))
    assert [report.message for report in worker.reports] == [
        "fetching inputs",
        *["changing frames"] * 3,
        "storing the result",
    ]
