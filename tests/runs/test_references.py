"""Faces that are chosen by pictures of them: through the gate, to the worker by digest, and into the pixels."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deployments.local.control_plane.settings import EndpointConfig
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.records import Status, TaskRecord
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.storage import ArtifactStore
from tests.facefusion.clips import LEFT_PERSON, OTHER, RIGHT_PERSON, TARGET, Clip, artifact, two_people
from tests.facefusion.standins import write_standins
from tests.runpod.plane import API_KEY, plane_config, running_plane
from tests.runs.orchestra import Orchestra, SharedWorker, deploy
from tests.servers import to_the_bucket

ROOT = Path(__file__).parents[2]
# Where the left one of two people ends.
MIDDLE = 528
SWAP = {
    "processors": ["face_swapper"],
    "face_swapper_model": "uniface_256",
    "face_detector_model": "face_detection_short_range",
}


@pytest.fixture(scope="module", autouse=True)
def recognising(
    environment: dict[str, str], shared_worker: SharedWorker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Runs go to a face swap worker that has stand-ins for all models."""
    folder = tmp_path_factory.mktemp("recognising")
    weights = folder / "weights"
    weights.mkdir()
    write_standins(weights)
    endpoint = EndpointConfig(
        id="recognising",
        command=(sys.executable, "-m", "tests.runs.workers.recognising"),
        cwd=ROOT,
        env=to_the_bucket(environment)
        | {"LIPSWAP_WEIGHTS": str(weights), "LIPSWAP_SCRATCH_ROOT": str(folder / "scratch")},
        min_workers=1,
        max_workers=1,
        idle_seconds=600,
    )
    with running_plane(plane_config(folder, endpoint)) as plane:
        at = {"RUNPOD_API_BASE": f"{plane.base_url}/v2", "RUNPOD_API_KEY": API_KEY}
        deploy(environment, **at, RUNPOD_FACEFUSION_ENDPOINT="recognising")
        shared_worker.at_work()
        yield


@pytest.fixture(scope="module")
def people(store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two people, and a picture of each, as a client would have uploaded them."""
    clip = two_people(tmp_path_factory.mktemp("people"))
    store.put_file(clip.bench.path_of(TARGET), "uploads/video/two.mp4", "video/mp4")
    for picture in (LEFT_PERSON, RIGHT_PERSON, OTHER, artifact("group.png")):
        store.put_file(clip.bench.path_of(picture), picture.key, "image/png")
    return clip


def asked(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - of the request
    return {
        "target_key": "uploads/video/two.mp4",
        "source_keys": [RIGHT_PERSON.key],
        "engine": "neural",
        "facefusion": SWAP,
        **fields,
    }


def by_picture(key: str) -> dict[str, str]:
    return {"mode": "reference", "reference_key": key}


def sides_changed(record: TaskRecord, store: ArtifactStore, clip: Clip, folder: Path) -> tuple[bool, bool]:
    """Whether the left and the right person look otherwise in every frame of a result than in the target."""
    assert record.status is Status.COMPLETED, record.error
    assert record.result is not None
    store.fetch_key(record.result.output_key, folder / "result.mp4", max_bytes=10**8)
    with VideoReader(folder / "result.mp4") as made, VideoReader(clip.bench.path_of(TARGET)) as target:
        differences = [np.abs(a.pixels.astype(int) - b.pixels).max(axis=2) for a, b in zip(made, target, strict=True)]
    # A face is far more than a hundredth of a half; what encoding does to the rest of it is a third of this (measured).
    left, right = (
        bool(min(np.percentile(part, 99) for part in parts) > 18)
        for parts in zip(*map(halves, differences), strict=True)
    )
    return left, right


def halves(picture: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return picture[:, :MIDDLE], picture[:, MIDDLE:]


async def test_a_reference_chooses_whom_it_shows_whatever_it_is_called(
    orchestra: Orchestra, store: ArtifactStore, people: Clip, tmp_path: Path
) -> None:
    first = await orchestra.run(asked(face_selection=by_picture(LEFT_PERSON.key)))
    assert sides_changed(first, store, people, tmp_path) == (True, False)
    assert first.media["changes"]["references"] == [[]]

    other_name = store.put_file(people.bench.path_of(LEFT_PERSON), "uploads/source/same.png", "image/png").key
    again = await orchestra.run(asked(face_selection=by_picture(other_name)))
    assert again.status is Status.COMPLETED
    assert again.provenance["facefusion"]["artifact"] == first.provenance["facefusion"]["artifact"]
    assert again.cost.gpu_seconds == 0

    # The same name, and another person under it.
    store.put_file(people.bench.path_of(RIGHT_PERSON), LEFT_PERSON.key, "image/png")
    other = await orchestra.run(asked(face_selection=by_picture(LEFT_PERSON.key)))
    assert sides_changed(other, store, people, tmp_path) == (False, True)
    store.put_file(people.bench.path_of(LEFT_PERSON), LEFT_PERSON.key, "image/png")


async def test_a_map_gives_each_of_two_people_a_source_by_their_pictures(
    orchestra: Orchestra, store: ArtifactStore, people: Clip, tmp_path: Path
) -> None:
    face_map = [
        {"source_index": 1, "reference_key": LEFT_PERSON.key},
        {"source_index": 0, "reference_key": RIGHT_PERSON.key},
    ]
    record = await orchestra.run(asked(source_keys=[OTHER.key, RIGHT_PERSON.key], face_map=face_map))
    assert sides_changed(record, store, people, tmp_path) == (True, True)


async def test_a_picture_that_cannot_tell_who_is_meant_is_named_before_a_gpu_is_paid(
    orchestra: Orchestra, store: ArtifactStore, people: Clip, tmp_path: Path
) -> None:
    assert people.frame_count > 0
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
    wall = store.put_file(tmp_path / "wall.png", "uploads/source/empty-wall.png", "image/png").key
    expected = {wall: FaultCode.NO_FACE_IN_REFERENCE, artifact("group.png").key: FaultCode.SEVERAL_FACES_IN_REFERENCE}
    for key, code in expected.items():
        record = await orchestra.run(asked(face_selection=by_picture(key)))
        assert record.error is not None
        assert (record.error.error, record.error.stage) == (code, "ingest")
        assert f"Reference 1 of 1, {key}" in record.error.detail


async def test_the_draft_engine_refuses_a_reference_by_its_field(orchestra: Orchestra, people: Clip) -> None:
    assert people.frame_count > 0
    record = await orchestra.run(asked(engine="draft", facefusion={}, face_selection=by_picture(LEFT_PERSON.key)))
    assert record.error is not None
    assert (record.error.error, record.error.stage) == (FaultCode.OPTION_UNSUPPORTED, "ingest")
    assert "face_selection.mode" in record.error.detail
