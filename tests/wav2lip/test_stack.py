"""`engine=neural` through the whole local stack, as a client of the API asks for it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from api_shim.client import ApiError, Client
from deployments.local.services import ServiceName
from flows.request import PipelineRequest
from gpu_tasks.acknowledgements import acknowledge
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import EngineChoice, FaceFusionOptions, Wav2LipOptions
from gpu_tasks.contract.records import Status
from gpu_tasks.media.audio import audio_seconds
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from tests.facefusion.standins import write_standins
from tests.servers import RunningStack, running_stack
from tests.wav2lip.sounds import babble, write_wav

SAMPLES = Path(__file__).parents[2] / "samples"
RUN_SECONDS = 200.0


@pytest.fixture(scope="module")
def stack(checkpoint: Path) -> Iterator[RunningStack]:
    """A stack whose data directory holds a checkpoint."""
    # Not pytest's own folder: root's Postgres runs under an account that cannot enter it.
    data = Path(tempfile.mkdtemp(prefix="lipswap-neural-"))
    (data / "weights").mkdir()
    shutil.copyfile(checkpoint, data / "weights" / checkpoint.name)
    write_standins(data / "weights")
    # Its digest is published, and nobody chose it.
    (data / "weights" / "yoloface_8n.onnx").unlink()
    for licence in manifest().licences:
        acknowledge(data / "weights", licence)
    with running_stack(ServiceName.API, ServiceName.ORCHESTRATOR, data_directory=data, discard=True) as running:
        yield running


@pytest.fixture(scope="module")
def client(stack: RunningStack) -> Iterator[Client]:
    with Client(stack.addresses.api_url, secret=stack.addresses.api_secret) as client:
        yield client


def test_a_checkpoint_in_the_weights_folder_makes_a_run(client: Client, tmp_path: Path) -> None:
    write_wav(tmp_path / "voice.wav", babble(1.2))
    with (
        VideoReader(SAMPLES / "target.mp4", stop_frame=20) as reader,
        VideoWriter(
            tmp_path / "target.mp4", width=reader.info.width, height=reader.info.height, fps=reader.info.fps
        ) as writer,
    ):
        shown = [frame.pixels for frame in reader]
        for frame in shown:
            writer.write(frame)
    request = PipelineRequest(
        target_key=client.upload(tmp_path / "target.mp4", kind="video").key,
        audio_key=client.upload(tmp_path / "voice.wav", kind="audio").key,
        engine=EngineChoice.NEURAL,
        wav2lip=Wav2LipOptions(lip_syncer_model="wav2lip_custom", enhancer="none", pingpong=True),
    )

    summary = client.run(request)
    record = client.wait(summary.task_id, timeout=RUN_SECONDS)

    assert record.status is Status.COMPLETED, record.error
    assert record.result is not None
    assert record.details["engine"] == "neural"
    client.download(record.result.output_key, tmp_path / "result.mp4")
    made = probe(tmp_path / "result.mp4")
    assert made.video is not None
    assert made.audio is not None
    assert abs(made.video.duration_seconds - audio_seconds(tmp_path / "voice.wav")) <= float(1 / made.video.fps)
    with VideoReader(tmp_path / "result.mp4") as result:
        frames = [frame.pixels for frame in result]
    # There and back: frame 22 shows frame 16 of the target, in which only the lower face differs.
    top = slice(0, shown[0].shape[0] // 5)
    likeness = [float(np.abs(frames[22][top].astype(int) - frame[top]).mean()) for frame in shown]
    assert int(np.argmin(likeness)) == 16
    assert np.abs(frames[22].astype(int) - shown[16]).max() > 60


def test_lip_sync_and_face_swap_by_networks_follow_each_other(client: Client, tmp_path: Path) -> None:
    write_wav(tmp_path / "voice.wav", babble(1.0))
    request = PipelineRequest(
        target_key=client.upload(SAMPLES / "target.mp4", kind="video").key,
        audio_key=client.upload(tmp_path / "voice.wav", kind="audio").key,
        source_keys=(client.upload(SAMPLES / "source.jpg", kind="source").key,),
        engine=EngineChoice.NEURAL,
        wav2lip=Wav2LipOptions(lip_syncer_model="wav2lip_custom", enhancer="none"),
        facefusion=FaceFusionOptions(face_swapper_model="uniface_256", face_enhancer_model="restoreformer_plus_plus"),
    )

    record = client.wait(client.run(request).task_id, timeout=RUN_SECONDS)

    assert record.status is Status.COMPLETED, record.error
    assert record.result is not None
    for stage in ("wav2lip", "facefusion"):
        assert record.provenance[stage]["engine"] == "neural"
        assert record.provenance[stage]["faces"]["frames_with_face"] > 0
    client.download(record.result.output_key, tmp_path / "result.mp4")
    made = probe(tmp_path / "result.mp4")
    assert made.audio is not None
    client.download(record.intermediate["wav2lip"].output_key, tmp_path / "synced.mp4")
    with VideoReader(tmp_path / "result.mp4") as result, VideoReader(tmp_path / "synced.mp4") as synced:
        swapped = [np.abs(a.pixels.astype(int) - b.pixels).max() for a, b in zip(result, synced, strict=True)]
    assert min(swapped) > 40


def test_a_model_that_is_not_installed_is_said_at_the_door(client: Client, tmp_path: Path) -> None:
    write_wav(tmp_path / "voice.wav", babble(1.0))
    request = PipelineRequest(
        target_key=client.upload(SAMPLES / "target.mp4", kind="video").key,
        audio_key=client.upload(tmp_path / "voice.wav", kind="audio").key,
        engine=EngineChoice.NEURAL,
    )

    with pytest.raises(ApiError, match="edtalk_256") as caught:
        client.run(request)

    assert caught.value.fault.code == "model_missing"
