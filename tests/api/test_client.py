"""The Python client, synchronous and asynchronous, against the real shim."""

import asyncio
import pickle
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest
from pydantic import SecretStr

from api_shim.client import ApiError, ApiUnreachableError, AsyncClient, Client, NotEndedError
from api_shim.wire import Intent, PresignRequest
from flows.request import PipelineRequest
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import Status
from tests.api.orchestra import PlayedFlow
from tests.api.shim import NOBODY, Environment, settings_of, shim_thread


@pytest.fixture
def request_model(keys: dict[str, str]) -> PipelineRequest:
    return PipelineRequest(audio_key=keys["audio_key"], target_key=keys["target_key"])


async def test_the_asynchronous_client_runs_follows_and_downloads(
    shim: tuple[str, Path], flow: PlayedFlow, tmp_path: Path, request_model: PipelineRequest
) -> None:
    media = tmp_path / "voice.wav"
    media.write_bytes(b"some sound")
    async with AsyncClient(shim[0]) as client:
        uploaded = await client.upload(media, kind="audio")
        assert uploaded.key.startswith("uploads/audio/")
        task = await client.run(request_model.model_copy(update={"audio_key": uploaded.key}))

        async def play() -> None:
            await flow.enter(task.task_id, Stage.WAV2LIP)
            await flow.complete(task.task_id)

        stages = []
        async for record in client.follow(task.task_id, timeout=60):
            stages.append(record.stage)
            if len(stages) == 1:
                await play()
        assert stages[0] == "queued"
        assert stages[-1] == "completed"
        assert record.result is not None
        await client.download(uploaded.key, tmp_path / "back.wav")
    assert _contents(tmp_path) == {"back.wav": b"some sound", "voice.wav": b"some sound"}


def test_the_synchronous_client_runs_waits_and_cancels(shim: tuple[str, Path], request_model: PipelineRequest) -> None:
    with Client(shim[0]) as client:
        task = client.run(request_model, idempotency_key="once-only")
        assert client.run(request_model, idempotency_key="once-only") == task
        with pytest.raises(NotEndedError) as not_ended:
            client.wait(task.task_id, timeout=0.3)
        assert not_ended.value.record is not None
        assert not_ended.value.record.status is Status.PENDING
        assert client.cancel(task.task_id).status is Status.CANCELLED
        assert client.wait(task.task_id, timeout=60).status is Status.CANCELLED
        assert [record.status for record in client.follow(task.task_id, timeout=60)] == [Status.CANCELLED]
        assert client.ready().status == "ready"


def test_the_synchronous_client_follows_until_the_end(shim: tuple[str, Path], request_model: PipelineRequest) -> None:
    with Client(shim[0]) as client, Client(shim[0]) as other:
        task = client.run(request_model)
        timer = Timer(0.1, other.cancel, (task.task_id,))
        timer.start()
        records = list(client.follow(task.task_id, timeout=60))
        timer.join()
    assert records[-1].status is Status.CANCELLED


def test_the_synchronous_client_uploads_and_downloads(shim: tuple[str, Path], tmp_path: Path) -> None:
    (tmp_path / "t.mp4").write_bytes(b"a video")
    with Client(shim[0]) as client:
        uploaded = client.upload(tmp_path / "t.mp4", kind="video")
        client.download(uploaded.key, tmp_path / "back.mp4")
        assert client.presign(PresignRequest(intent=Intent.DOWNLOAD, key=uploaded.key)).key == uploaded.key
    assert (tmp_path / "back.mp4").read_bytes() == b"a video"


def test_an_error_carries_the_fault_and_survives_pickling(
    shim: tuple[str, Path], request_model: PipelineRequest
) -> None:
    missing = request_model.model_copy(update={"target_key": "uploads/video/nowhere.mp4"})
    with Client(shim[0]) as client, pytest.raises(ApiError) as refused:
        client.run(missing)
    assert refused.value.status == 422
    assert refused.value.fault.code is FaultCode.OBJECT_MISSING
    assert "nowhere.mp4" in str(refused.value)
    again = pickle.loads(pickle.dumps(refused.value))  # noqa: S301  # our own bytes
    assert (type(again), again.fault, again.status) == (ApiError, refused.value.fault, 422)


async def test_a_service_that_is_not_there_is_an_error_that_names_the_address(tmp_path: Path) -> None:
    with Client(f"http://{NOBODY}") as client, pytest.raises(ApiUnreachableError, match=NOBODY):
        client.status("x")
    async with AsyncClient(f"http://{NOBODY}") as client:
        with pytest.raises(ApiUnreachableError, match=NOBODY):
            await client.download("outputs/x.mp4", tmp_path / "x.mp4")
    assert _contents(tmp_path) == {}


def test_the_secret_is_sent_to_the_service(environment: Environment, secret: SecretStr) -> None:
    with shim_thread(settings_of({**environment, "FF_API_SECRET": secret.get_secret_value()})) as url:
        with Client(url, secret=secret) as client, pytest.raises(ApiError) as unknown:
            client.status("x")
        with Client(url) as client, pytest.raises(ApiError) as unauthorized:
            client.status("x")
    assert (unknown.value.status, unauthorized.value.status) == (404, 401)


def test_the_address_of_something_else_is_an_error_and_no_traceback(environment: Environment) -> None:
    with Client(environment["R2_ENDPOINT"]) as client, pytest.raises(ApiError) as foreign:
        client.status("x")
    assert foreign.value.fault.code is FaultCode.INTERNAL


async def test_two_clients_wait_for_one_task_and_both_are_told(
    shim: tuple[str, Path], flow: PlayedFlow, request_model: PipelineRequest
) -> None:
    async with AsyncClient(shim[0]) as client:
        task = await client.run(request_model)
        waiting = asyncio.gather(*(client.wait(task.task_id, timeout=60) for _ in range(2)))
        await flow.complete(task.task_id)
        assert [record.status for record in await waiting] == [Status.COMPLETED] * 2


def test_the_client_needs_neither_prefect_nor_fastapi() -> None:
    script = "import sys, api_shim.client; print({'prefect', 'fastapi', 'botocore', 'redis'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "set()"


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
