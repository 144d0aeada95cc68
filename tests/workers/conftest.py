import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from deployments.local.control_plane.settings import EndpointConfig
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore
from tests.bucket import bucket, object_store, store
from tests.runpod.plane import API_KEY, QUICK_TIMINGS, EndpointClient, RunningPlane, plane_config, running_plane
from tests.workers.jobs import SAMPLES, Uploads

__all__ = ["bucket", "object_store", "store"]

TARGET_FRAMES = 36


@pytest.fixture(scope="package")
def uploads(store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> Uploads:
    """The first second and a half of the sample target, the whole voice, the source picture."""
    path = tmp_path_factory.mktemp("clips") / "target.mp4"
    with (
        VideoReader(SAMPLES / "target.mp4", stop_frame=TARGET_FRAMES) as reader,
        VideoWriter(path, width=reader.info.width, height=reader.info.height, fps=reader.info.fps) as writer,
    ):
        for frame in reader:
            writer.write(frame.pixels)
    with VideoReader(path) as reader:
        info = reader.info
    return Uploads(
        target=store.put_file(path, "uploads/video/target.mp4", "video/mp4"),
        target_video=info,
        voice=store.put_file(SAMPLES / "speech.wav", "uploads/audio/speech.wav", "audio/wav"),
        source=store.put_file(SAMPLES / "source.jpg", "uploads/source/face.jpg", "image/jpeg"),
    )


@pytest.fixture(scope="package")
def scratch_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="package")
def plane(bucket: R2Settings, scratch_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    """A control plane with one warm worker for each stage."""
    environment = {
        "R2_ENDPOINT": bucket.endpoint,
        "R2_BUCKET": bucket.bucket,
        "R2_ACCESS_KEY_ID": bucket.access_key_id,
        "R2_SECRET_ACCESS_KEY": bucket.secret_access_key.get_secret_value(),
        "LIPSWAP_SCRATCH_ROOT": str(scratch_root),
    }
    endpoints = tuple(
        EndpointConfig(
            id=stage,
            command=(sys.executable, "-m", f"gpu_tasks.{stage}.worker"),
            env=environment,
            min_workers=1,
            max_workers=1,
        )
        for stage in ("wav2lip", "facefusion")
    )
    # A worker that is slow to stop a job is not killed for it.
    timings = QUICK_TIMINGS.model_copy(update={"kill_grace_seconds": 30.0, "cleanup_grace_seconds": 60.0})
    with running_plane(plane_config(tmp_path_factory.mktemp("plane"), *endpoints, timings=timings)) as plane:
        yield plane


@pytest.fixture(scope="package")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=120)) as session:
        yield session


@pytest.fixture(scope="package")
def lip_sync(http: aiohttp.ClientSession, plane: RunningPlane) -> EndpointClient:
    return EndpointClient(http, plane.base_url, "wav2lip")


@pytest.fixture(scope="package")
def face_swap(http: aiohttp.ClientSession, plane: RunningPlane) -> EndpointClient:
    return EndpointClient(http, plane.base_url, "facefusion")
