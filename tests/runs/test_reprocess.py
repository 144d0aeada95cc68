"""Outputs made anew after the engine has changed: what it would cost, a canary, a comparison, and somebody's word."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

from flows.batches import decide, known
from flows.reprocessing import worse
from gpu_tasks.contract.lineage import Batch, BatchState, ItemState, Lineage, lineage_key
from gpu_tasks.contract.quality import Faces, Lengths, LipSync, QualityReport, Verdict
from gpu_tasks.contract.records import Status, TaskRecord
from gpu_tasks.storage import ArtifactStore
from tests.runs.long_footage import Identities, upload_footage
from tests.runs.orchestra import LEAN, Orchestra, Worker, deploy, edited, worker_process
from tests.runs.workers.next_release import RELEASE
from tests.waiting import await_until

ROOT = Path(__file__).parents[2]
NEXT = ROOT / "tests" / "runs" / "workers" / "next_release.py"

# The next release is a worker of our own type with other code in it.
pytestmark = pytest.mark.inprocess


@pytest.fixture(scope="module")
def variables(environment: dict[str, str], identities: Identities) -> dict[str, str]:
    return environment | identities.environment() | LEAN


@dataclass(frozen=True)
class Operator:
    """Somebody at the command line of the next release, and its orchestrator worker."""

    variables: dict[str, str]
    folder: Path
    workers: list[Worker] = field(default_factory=list)

    def starts_worker(self) -> None:
        command = [sys.executable, str(NEXT), "flows.worker:main"]
        self.workers.append(Worker.start(self.variables, self.folder, command))

    async def types(self, *words: str) -> Batch:
        """Run `lipswap reprocess` and return the batch that it shows."""
        command = [sys.executable, str(NEXT), "deployments.cli:main", "reprocess", *words, "--json"]
        done = await asyncio.to_thread(
            subprocess.run, command, env=self.variables, cwd=self.folder, capture_output=True, timeout=240, check=False
        )
        assert done.stdout, done.stderr.decode()
        return Batch.model_validate(json.loads(done.stdout))


@pytest.fixture(scope="module")
async def made(  # noqa: PLR0913, PLR0917  # a whole deployment
    orchestra: Orchestra,
    store: ArtifactStore,
    variables: dict[str, str],
    keys: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    alone: None,  # noqa: ARG001  # takes no run from it
) -> list[TaskRecord]:
    """Outputs of this release; its worker is gone."""
    deploy(variables)
    footage = upload_footage(store, tmp_path_factory.mktemp("clip"), seconds=3)
    requests = [
        {"source_keys": keys["source_keys"], "labels": {"set": name}, "facefusion": {"face_enhancer_blend": blend}}
        for blend, name in ((61, "both"), (62, "both"), (63, "spoiled"), (64, "killed"))
    ]
    with worker_process(variables, tmp_path_factory.mktemp("worker"), "flows.worker"):
        records = await asyncio.gather(*(orchestra.run(footage | request) for request in requests))
    assert [record.status for record in records] == [Status.COMPLETED] * len(requests)
    return list(records)


@pytest.fixture(scope="module")
def old(made: list[TaskRecord]) -> list[TaskRecord]:
    """Two outputs that carry the same label."""
    return made[:2]


@pytest.fixture(scope="module")
def operator(
    made: list[TaskRecord],  # noqa: ARG001  # before
    variables: dict[str, str],
    identities: Identities,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operator]:
    """The next release: orchestrator, GPU workers and command line."""
    operator = Operator(variables, tmp_path_factory.mktemp("next"))
    identities.follow(release=RELEASE)
    operator.starts_worker()
    yield operator
    operator.workers[-1].stop()
    identities.follow()


def digest_under(store: ArtifactStore, key: str) -> str | None:
    head = store.head(key)
    return head.metadata["sha256"] if head else None


def of(batch: Batch, records: list[TaskRecord]) -> dict[str, ItemState]:
    """The states of these runs' outputs; other tests have left some of their own."""
    ours = {record.task_id for record in records}
    return {item.task_id: item.state for item in batch.items if item.task_id in ours}


def test_an_output_tells_what_it_was_made_of_without_its_run(old: list[TaskRecord], store: ArtifactStore) -> None:
    lineage = store.read_json(lineage_key(old[0].task_id), Lineage)
    assert lineage is not None
    assert old[0].result is not None
    assert (lineage.output.key, lineage.output.sha256) == (old[0].result.output_key, old[0].result.sha256)
    assert [stage.stage for stage in lineage.stages] == ["wav2lip", "facefusion"]
    assert all(stage.model_revisions and stage.fingerprints for stage in lineage.stages)
    assert lineage.request["facefusion"]["face_enhancer_blend"] == 61
    assert lineage.inputs.audio is not None
    assert len(lineage.inputs.sources) == 1


async def test_a_dry_run_tells_what_is_stale_why_and_the_cost_and_does_nothing(
    old: list[TaskRecord], operator: Operator, store: ArtifactStore, prefect: PrefectClient
) -> None:
    batch = await operator.types("--only", "stale", "--dry-run")
    assert set(of(batch, old).values()) == {ItemState.PLANNED}
    ours = [item for item in batch.items if item.task_id in of(batch, old)]
    assert len(ours) == 2
    assert all(RELEASE in item.why and (item.gpu_seconds or 0) > 0 for item in ours)
    assert not list(store.keys("lineage/batches/"))
    assert not await prefect.read_flow_runs(
        flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=["lipswap.reprocess"]))
    )


async def test_a_canary_that_fails_holds_the_rest(
    old: list[TaskRecord], operator: Operator, identities: Identities, prefect: PrefectClient
) -> None:
    identities.follow(release=RELEASE, refuse=["facefusion:0"])
    async with edited(prefect, reprocessing={"canary": 1}):
        batch = await operator.types("--only", "label=set:both", "--batch", "held")
    identities.follow(release=RELEASE)
    assert batch.state is BatchState.HELD
    assert sorted(of(batch, old).values()) == [ItemState.FAILED, ItemState.PLANNED]


async def test_a_candidate_that_came_out_worse_is_taken_only_by_name(
    made: list[TaskRecord], operator: Operator, identities: Identities, store: ArtifactStore
) -> None:
    spoiled = made[2]
    assert spoiled.result is not None
    identities.follow(release=RELEASE, spoil=["facefusion:0"])
    batch = await operator.types("--only", "label=set:spoiled", "--batch", "spoiled")
    identities.follow(release=RELEASE)
    assert batch.state is BatchState.DONE
    assert of(batch, [spoiled]) == {spoiled.task_id: ItemState.WORSE}
    (item,) = batch.items
    assert any(finding.startswith("faces.coverage") for finding in item.findings), item.findings

    untouched = await asyncio.to_thread(decide, store, "spoiled", accept=True)
    assert of(untouched, [spoiled]) == {spoiled.task_id: ItemState.WORSE}
    assert digest_under(store, spoiled.result.output_key) == spoiled.result.sha256
    taken = await asyncio.to_thread(decide, store, "spoiled", accept=True, task_ids=[spoiled.task_id])
    assert of(taken, [spoiled]) == {spoiled.task_id: ItemState.ACCEPTED}
    assert digest_under(store, spoiled.result.output_key) != spoiled.result.sha256


async def until_begun(store: ArtifactStore, name: str) -> str:
    """Return the run of the first candidate of a batch that is at work."""

    async def look() -> str | None:
        batch = await asyncio.to_thread(known, store, name)
        items = batch.items if batch else ()
        return next((item.run_id for item in items if item.state is ItemState.RUNNING), None)

    return await await_until(look, seconds=120, what="a candidate is at work")


async def test_a_real_run_makes_candidates_and_keeps_the_old_outputs_until_somebody_decides(
    old: list[TaskRecord], operator: Operator, identities: Identities, store: ArtifactStore, prefect: PrefectClient
) -> None:
    identities.follow(release=RELEASE, hold=["facefusion:0"])
    async with edited(prefect, reprocessing={"at_once": 1}):
        asking = asyncio.create_task(operator.types("--only", "label=set:both", "--batch", "both"))
        await until_begun(store, "both")
    async with edited(prefect, reprocessing={"paused": True}):
        identities.follow(release=RELEASE)
        paused = await asking
    # What was at work has ended, and nothing more was begun.
    assert paused.state is BatchState.PAUSED
    assert sorted(of(paused, old).values()) == [ItemState.PLANNED, ItemState.WAITING]

    batch = await operator.types("--only", "label=set:both", "--batch", "both")
    assert batch.state is BatchState.DONE
    assert set(of(batch, old).values()) == {ItemState.WAITING}
    taken, kept = old
    assert taken.result is not None
    assert kept.result is not None
    assert digest_under(store, taken.result.output_key) == taken.result.sha256
    candidates = {item.task_id: store.read_json(lineage_key(item.run_id or ""), Lineage) for item in batch.items}
    candidate = candidates[taken.task_id]
    assert candidate is not None
    assert candidate.stages[0].model_revisions["draft-wav2lip"] == RELEASE

    accepted = await operator.types("--accept", "both", "--task", taken.task_id)
    assert of(accepted, old) == {taken.task_id: ItemState.ACCEPTED, kept.task_id: ItemState.WAITING}
    assert digest_under(store, taken.result.output_key) == candidate.output.sha256
    rejected = await asyncio.to_thread(decide, store, "both", accept=False)
    assert of(rejected, old) == {taken.task_id: ItemState.ACCEPTED, kept.task_id: ItemState.REJECTED}
    assert digest_under(store, kept.result.output_key) == kept.result.sha256
    assert not list(store.keys("outputs/reprocessed/both/"))
    # Neither is proposed again: one is of this release, of the other somebody has said no.
    assert not of(await operator.types("--only", "stale", "--dry-run"), old)


@pytest.mark.crash
async def test_a_batch_whose_orchestrator_was_killed_goes_on_with_the_candidate_that_was_at_work(
    made: list[TaskRecord], operator: Operator, identities: Identities, store: ArtifactStore
) -> None:
    identities.follow(release=RELEASE, hold=["facefusion:0"])
    asking = asyncio.create_task(operator.types("--only", "label=set:killed", "--batch", "killed"))
    run_id = await until_begun(store, "killed")
    operator.workers[-1].process.kill()
    operator.workers[-1].process.wait(60)
    operator.starts_worker()
    identities.follow(release=RELEASE)
    batch = await asking
    assert batch.state is BatchState.DONE
    assert of(batch, made) == {made[3].task_id: ItemState.WAITING}
    assert [item.run_id for item in batch.items] == [run_id]


def report(**figures: Any) -> QualityReport:  # noqa: ANN401  # of the lips
    lips = {
        "correlation": 0.8,
        "best_lag_frames": 0,
        "best_lag_ms": 0.0,
        "control_mean": 0.0,
        "control_worst": 0.2,
        "chance": 0.0,
        "shuffles": 100,
        "drift_ms": None,
        "own_correlation": None,
        "max_opening": 0.2,
        "pause_opening": 0.1,
        "pause_seconds": 1.0,
    }
    return QualityReport(
        verdict=figures.pop("verdict", Verdict.GOOD),
        reasons=(),
        lengths=Lengths(fps=25, frames=50, video_seconds=2, sound_seconds=2),
        faces=Faces(frames_looked_at=50, frames_with_face=50),
        lip_sync=LipSync.model_validate(lips | figures),
        identity=None,
        flicker=None,
        outside=None,
    )


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (report(), ()),
        (report(correlation=0.77), ()),
        (report(correlation=0.9, pause_opening=0.0), ()),
        (report(correlation=0.7), ("lip_sync.correlation 0.800 is now 0.700",)),
        (report(pause_opening=0.3), ("lip_sync.pause_opening 0.100 is now 0.300",)),
        (report(verdict=Verdict.DOUBTFUL), ("verdict good is now doubtful",)),
        (None, ("it could not be measured",)),
    ],
)
def test_a_candidate_is_worse_by_its_figures(new: QualityReport | None, found: tuple[str, ...]) -> None:
    assert worse(report(), new) == found
