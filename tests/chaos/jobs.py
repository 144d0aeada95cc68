"""The jobs that are disturbed: requests through both stages, each computed for itself, and how they are sent."""

import wave
from pathlib import Path
from typing import Any

from prefect.client.orchestration import PrefectClient

from blocks.patience import patiently
from flows.request import DEPLOYMENT
from gpu_tasks.storage import ArtifactStore
from tests.simulation.options import options_of

_SAMPLES = Path(__file__).parents[2] / "samples"
_OUTAGE_SECONDS = 300.0


def upload(store: ArtifactStore, folder: Path) -> dict[str, Any]:
    """Put the sample into the bucket, its voice cut to a second; returns the keys for a request."""
    voice = folder / "voice.wav"
    with wave.open(str(_SAMPLES / "speech.wav")) as whole, wave.open(str(voice), "wb") as cut:
        cut.setparams(whole.getparams())
        cut.writeframes(whole.readframes(whole.getframerate()))
    store.put_file(voice, "uploads/audio/voice.wav", "audio/wav")
    store.put_file(_SAMPLES / "target.mp4", "uploads/video/target.mp4", "video/mp4")
    store.put_file(_SAMPLES / "source.jpg", "uploads/source/face.jpg", "image/jpeg")
    return {
        "audio_key": "uploads/audio/voice.wav",
        "target_key": "uploads/video/target.mp4",
        "source_keys": ["uploads/source/face.jpg"],
    }


def requests_of(keys: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return `count` requests with options of their own: no stage of one is a stage of another."""
    return [keys | options_of(number) for number in range(count)]


async def send(prefect: PrefectClient, request: dict[str, Any], key: str) -> str:
    """Create a run once, however often it has to be asked for; returns its task id."""

    async def create() -> str:
        deployment = await prefect.read_deployment_by_name(DEPLOYMENT)
        run = await prefect.create_flow_run_from_deployment(
            deployment.id, parameters={"request": request}, idempotency_key=key
        )
        return str(run.id)

    return await patiently(create, is_away=lambda _: True, seconds=_OUTAGE_SECONDS)
