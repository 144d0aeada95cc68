"""`kill -9` of the orchestrator between two steps, for each step: another worker goes on, and nothing is paid twice."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType

from blocks.job_store import parse_record
from flows.ledger import Cause
from gpu_tasks.contract.answers import RECORD_ARTIFACT
from gpu_tasks.contract.artifacts import WORK
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.receipts import Claim
from gpu_tasks.contract.records import Status
from gpu_tasks.storage import ArtifactStore
from tests.runpod.plane import RunningPlane
from tests.runs.boundaries import Boundary
from tests.runs.orchestra import Orchestra, Worker, deploy
from tests.simulation.options import own_options
from tests.waiting import await_until

pytestmark = [pytest.mark.crash, pytest.mark.usefixtures("alone")]
_MORTAL = Path(__file__).parent / "workers" / "mortal.py"
_DEATH_SECONDS = 60.0


@pytest.fixture(scope="module")
def mortal(
    simulated_plane: tuple[RunningPlane, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Mortal"]:
    _, environment = simulated_plane
    deploy(environment)
    mortal = Mortal(environment | {"PYTHONPATH": str(Path(__file__).parents[2])}, tmp_path_factory.mktemp("mortal"))
    yield mortal
    mortal.worker.stop()


class Mortal:
    """A worker that dies where it is told, and the one that comes after it."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._file = folder / "boundary"
        self.worker = self._start()

    def doom(self, boundary: Boundary) -> None:
        self._file.write_text(boundary, encoding="utf-8")

    async def succeed(self) -> None:
        """Wait until it has died where it was told to, and start the next."""
        await await_until(self.worker.has_ended, seconds=_DEATH_SECONDS, what="the worker dies at its boundary")
        assert not self._file.exists(), "it ended elsewhere"
        self.worker = self._start()

    def _start(self) -> Worker:
        return Worker.start(self._environment, self._folder, [sys.executable, str(_MORTAL), str(self._file)])


@pytest.mark.parametrize("boundary", Boundary)
async def test_a_run_whose_worker_dies_between_two_steps_is_completed_by_the_next(
    boundary: Boundary, mortal: Mortal, orchestra: Orchestra, keys: dict[str, Any], store: ArtifactStore
) -> None:
    mortal.doom(boundary)
    task_id = await orchestra.send(keys | own_options())
    await mortal.succeed()
    record = await orchestra.final(task_id)
    assert record.status is Status.COMPLETED, record.error
    assert record.result is not None
    assert (await orchestra.ended(task_id)).run_count == 2
    for stage in (Stage.WAV2LIP, Stage.FACEFUSION):
        claims = _claims(store, stage, task_id)
        assert [claim.attempt for claim in claims] == [*range(1, len(claims) + 1)]
        assert [claim.cause for claim in claims[:1]] == [Cause.FIRST]
        # A job whose id nobody wrote down cannot be joined, but its receipt is found; every other one is joined.
        blind = {Boundary.CLAIMED, Boundary.SUBMITTED} if stage is Stage.WAV2LIP else set()
        assert [claim.cause for claim in claims[1:]] == [Cause.INTENT_WITHOUT_JOB] * (len(claims) - 1)
        assert len(claims) == 1 or boundary in blind


async def test_a_result_that_was_told_is_not_withdrawn_by_the_next_worker(
    mortal: Mortal, orchestra: Orchestra, keys: dict[str, Any]
) -> None:
    mortal.doom(Boundary.RECORDED)
    task_id = await orchestra.send(keys | own_options())
    told = await orchestra.final(task_id)
    await mortal.succeed()
    assert (await orchestra.ended(task_id)).run_count == 2
    again = await orchestra.job_store.read(task_id)
    assert again is not None
    assert again.attempts == 2
    assert (again.status, again.result, again.progress) == (told.status, told.result, told.progress)
    kept = await orchestra.prefect.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(task_id)]), type=ArtifactFilterType(any_=[RECORD_ARTIFACT])
        )
    )
    assert kept
    assert parse_record(str(kept[-1].data)).result == told.result


def _claims(store: ArtifactStore, stage: Stage, task_id: str) -> list[Claim]:
    found = [store.read_json(key, Claim) for key in sorted(store.keys(f"{WORK}{stage}/")) if "/claim-" in key]
    return [claim for claim in found if claim is not None and claim.task_id == task_id]
