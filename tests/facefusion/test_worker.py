"""The endpoint's own program on a control plane, with stand-ins for models whose digests nobody published."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from deployments.local.control_plane.settings import EndpointConfig
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Engine, Stage
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import FaceFusionOptions
from gpu_tasks.media.probe import probe
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore
from tests.bucket import bucket, object_store, store
from tests.facefusion.clips import FRAMES, Clip, footage, write_clip
from tests.facefusion.clips import TARGET as TARGET_NAME
from tests.facefusion.clips import TRACKS as TRACKS_NAME
from tests.facefusion.standins import write_standins
from tests.runpod.plane import API_KEY, EndpointClient, RunningPlane, plane_config, running_plane
from tests.workers.jobs import SAMPLES, Uploads, as_input, markers_of, receipt_of, reply_of

__all__ = ["bucket", "object_store", "store"]

# Neither swapper nor enhancer nor content model has a published digest: stand-ins pass for them.
OPTIONS = FaceFusionOptions(
    face_swapper_model="uniface_256", face_enhancer_model="restoreformer_plus_plus", output_video_preset="ultrafast"
)
NEURAL = {
    "engine": Engine.NEURAL,
    "model_revisions": manifest().revisions(Engine.NEURAL, Stage.FACEFUSION),
    "options": OPTIONS,
}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return write_clip(tmp_path_factory.mktemp("local"), footage(FRAMES))


@pytest.fixture(scope="module")
def uploads(store: ArtifactStore, local: Clip) -> Uploads:
    path = local.bench.path_of(TARGET_NAME)
    info = probe(path).video
    assert info is not None
    return Uploads(
        target=store.put_file(path, "uploads/video/neural.mp4", "video/mp4"),
        target_video=info,
        voice=store.put_file(SAMPLES / "speech.wav", "uploads/audio/neural.wav", "audio/wav"),
        source=store.put_file(SAMPLES / "source.jpg", "uploads/source/neural.jpg", "image/jpeg"),
    )


@pytest.fixture(scope="module")
def plane(bucket: R2Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """A control plane with one warm face swap worker."""
    weights: Path = tmp_path_factory.mktemp("weights")
    write_standins(weights)
    # Its digest is published, and nobody chose it.
    (weights / "yoloface_8n.onnx").unlink()
    environment = {
        "R2_ENDPOINT": bucket.endpoint,
        "R2_BUCKET": bucket.bucket,
        "R2_ACCESS_KEY_ID": bucket.access_key_id,
        "R2_SECRET_ACCESS_KEY": bucket.secret_access_key.get_secret_value(),
        "LIPSWAP_SCRATCH_ROOT": str(tmp_path_factory.mktemp("scratch")),
        "LIPSWAP_WEIGHTS": str(weights),
        "LIPSWAP_ACKNOWLEDGED_LICENCES": ",".join(manifest().licences),
    }
    command = (sys.executable, "-m", "gpu_tasks.facefusion.worker")
    endpoint = EndpointConfig(id="facefusion", command=command, env=environment, min_workers=1, max_workers=1)
    with running_plane(plane_config(tmp_path_factory.mktemp("plane"), endpoint)) as plane:
        yield plane


@pytest.fixture
async def face_swap(plane: RunningPlane) -> AsyncIterator[EndpointClient]:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=120)) as http:
        yield EndpointClient(http, plane.base_url, "facefusion")


async def test_a_neural_job_goes_through_the_worker_and_is_answered_from_its_receipt(
    face_swap: EndpointClient, store: ArtifactStore, uploads: Uploads, local: Clip
) -> None:
    tracks = store.put_file(local.bench.path_of(TRACKS_NAME), "work/neural-tracks", "application/octet-stream")
    job = uploads.face_swap(FRAMES, **NEURAL, tracks=tracks)

    receipt = receipt_of(await face_swap.until(await face_swap.run(as_input(job)), "COMPLETED"))

    assert receipt.engine is Engine.NEURAL
    assert receipt.video.frame_count == FRAMES
    assert receipt.faces.ratio == 1
    assert [note.partition(" is")[0] for note in receipt.notes] == ["face_detector_model yolo_face"]
    assert markers_of(store, job) == ["started-1.json"]
    again = receipt_of(await face_swap.until(await face_swap.run(as_input(job)), "COMPLETED"))
    assert again == receipt


async def test_an_option_that_is_not_done_starts_nothing(
    face_swap: EndpointClient, store: ArtifactStore, uploads: Uploads
) -> None:
    options = OPTIONS.model_copy(update={"face_swapper_weight": 0.1})
    job = uploads.face_swap(5, **{**NEURAL, "options": options})
    fault = reply_of(await face_swap.until(await face_swap.run(as_input(job)), "COMPLETED")).fault
    assert fault is not None
    assert fault.code is FaultCode.OPTION_UNSUPPORTED
    assert "face_swapper_weight" in fault.detail
    assert markers_of(store, job) == []


async def test_a_model_that_is_not_the_published_one_is_a_fault_and_the_worker_lives_on(
    face_swap: EndpointClient, uploads: Uploads
) -> None:
    (worker,) = await face_swap.until_waiting()
    options = OPTIONS.model_copy(update={"face_swapper_model": "hyperswap_1a_256"})
    job = uploads.face_swap(5, **{**NEURAL, "options": options})
    fault = reply_of(await face_swap.until(await face_swap.run(as_input(job)), "COMPLETED")).fault
    assert fault is not None
    assert fault.code is FaultCode.MODEL_CORRUPT
    assert (fault.stage, "sha256" in fault.detail) == ("facefusion", True)
    assert [one["pid"] for one in await face_swap.workers()] == [worker["pid"]]


async def test_the_draft_engine_still_swaps(face_swap: EndpointClient, uploads: Uploads) -> None:
    job = uploads.face_swap(5)
    receipt = receipt_of(await face_swap.until(await face_swap.run(as_input(job)), "COMPLETED"))
    assert receipt.engine is Engine.DRAFT
