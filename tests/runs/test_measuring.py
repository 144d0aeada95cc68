"""Measuring beside a run: what is told when it cannot be done, and that the run never minds."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient

from deployments.samples.catalogue import Sample, make_sample
from flows.footage import Whole
from flows.measuring import Inspected, inspect, told_of
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Timeline
from gpu_tasks.contract.quality import QualityPolicy, QualityReport
from gpu_tasks.contract.records import Status
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.one_pass import DraftOrder, render_draft
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.probe import probe
from gpu_tasks.settings import QualitySettings, R2Settings
from gpu_tasks.storage import ArtifactStore
from tests.runs.conftest import SAMPLES
from tests.runs.orchestra import Orchestra, edited


@pytest.fixture(scope="module")
def inspected(store: ArtifactStore) -> Inspected:
    """The sample against itself."""
    target = store.put_file(SAMPLES / "target.mp4", "work/ingest/target", "video/mp4")
    source = store.put_file(SAMPLES / "source.jpg", "work/ingest/source", "image/jpeg")
    video = Whole(artifact=target, media=probe(SAMPLES / "target.mp4")).media.video
    assert video is not None
    timeline = Timeline(fps=video.fps, frame_count=video.frame_count, target_frame_count=video.frame_count)
    return Inspected(
        result=target,
        target=target,
        audio=None,
        sources=(source, source),
        timeline=timeline,
        # Without a voice nobody is looked for in them.
        tracks=target,
        speaker=None,
        policy=QualityPolicy(most_frames=60),
    )


def test_files_of_the_bucket_are_measured_in_pieces(inspected: Inspected, r2: R2Settings) -> None:
    report = inspect(inspected, r2)
    assert report.faces.frames_looked_at == 60
    assert report.outside is not None
    assert report.outside.psnr_db == 99
    assert report.identity is not None
    assert report.identity.toward_source == 0


def test_lips_are_judged_in_the_face_that_speaks(store: ArtifactStore, r2: R2Settings, tmp_path: Path) -> None:
    made, tracks, result = (tmp_path / name for name in ("target.mp4", "tracks", "result.mp4"))
    make_sample(Sample.TWO_FACES, made, SAMPLES)
    models = face_models()
    track_faces(made, tracks, models.detector, models.mesh)
    video = probe(made).video
    assert video is not None
    timeline = Timeline(fps=video.fps, frame_count=video.frame_count, target_frame_count=video.frame_count)
    order = DraftOrder(target=made, timeline=timeline, tracks=tracks, driving_audio=SAMPLES / "speech.wav")
    render_draft(order, result, models)
    inspected = Inspected(
        result=store.put_file(result, "work/ingest/two-result", "video/mp4"),
        target=store.put_file(made, "work/ingest/two-target", "video/mp4"),
        audio=store.put_file(SAMPLES / "speech.wav", "work/ingest/two-voice", "audio/wav"),
        sources=(),
        timeline=timeline,
        tracks=store.put_file(tracks, "work/ingest/two-tracks", "application/octet-stream"),
        speaker=None,
        policy=QualityPolicy(),
    )
    followed = [
        report.lip_sync.correlation
        for speaker in (None, 0, 1)
        if (report := inspect(inspected.model_copy(update={"speaker": speaker}), r2)).lip_sync
    ]
    # The most prominent face was moved, which is one of the two; the other one follows nothing.
    assert len(followed) == 3
    assert followed[0] == max(followed) > 0.7
    assert min(followed) < 0.3
    # A third person is in no frame: nothing is measured in the two who are.
    nobody = inspect(inspected.model_copy(update={"speaker": 2}), r2)
    assert nobody.lip_sync is None
    assert nobody.faces.coverage == 1


async def told(inspected: Inspected, r2: R2Settings) -> dict[str, Any]:
    return await told_of(asyncio.to_thread(inspect, inspected, r2))


async def test_figures_are_told_as_they_were_measured(inspected: Inspected, r2: R2Settings) -> None:
    record = await told(inspected, r2)
    assert record.pop("measured") is True
    assert QualityReport.model_validate(record) == inspect(inspected, r2)


async def test_measuring_that_takes_too_long_is_given_up(inspected: Inspected, r2: R2Settings) -> None:
    hasty = inspected.model_copy(update={"policy": QualityPolicy(most_seconds=0.001)})
    record = await told(hasty, r2)
    assert (record["measured"], record["reason"]) == (False, FaultCode.DEADLINE_EXCEEDED.value)


async def test_a_file_that_is_gone_is_told(inspected: Inspected, r2: R2Settings) -> None:
    nowhere = Artifact(key="work/ingest/nowhere", sha256="0" * 64, size_bytes=1, media_type="video/mp4")
    record = await told(inspected.model_copy(update={"result": nowhere}), r2)
    assert record["measured"] is False
    assert record["reason"] == FaultCode.OBJECT_MISSING.value


async def test_an_error_of_our_own_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> QualityReport:
        raise ZeroDivisionError("secret")

    record = await told_of(broken())
    assert record == {"measured": False, "reason": FaultCode.INTERNAL.value, "detail": ""}
    assert "ZeroDivisionError" in caplog.text


async def test_a_cancelled_run_is_not_held_up() -> None:
    async def cancelled() -> QualityReport:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await told_of(cancelled())


def test_the_environment_says_what_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    assert QualityPolicy(**QualitySettings().model_dump()) == QualityPolicy()
    monkeypatch.setenv("LIPSWAP_QUALITY_ENABLED", "false")
    monkeypatch.setenv("LIPSWAP_QUALITY_OUTSIDE_GOOD_DB", "41")
    settings = QualitySettings()
    assert (settings.enabled, settings.outside_good_db) == (False, 41)


@pytest.mark.parametrize(
    ("policy", "quality"),
    [
        ({"most_seconds": 0.001}, {"measured": False, "reason": "deadline_exceeded"}),
        ({"enabled": False}, None),
    ],
)
@pytest.mark.usefixtures("worker")
async def test_a_run_completes_without_figures(
    orchestra: Orchestra,
    prefect: PrefectClient,
    keys: dict[str, Any],
    policy: dict[str, Any],
    quality: dict[str, Any] | None,
) -> None:
    async with edited(prefect, quality=policy):
        record = await orchestra.run({**keys, "sync_mode": "silence"})
    assert record.status is Status.COMPLETED, record.error
    told_quality = record.details.get("quality")
    assert (told_quality and {name: told_quality[name] for name in ("measured", "reason")}) == quality


def test_an_error_with_a_code_keeps_its_detail() -> None:
    async def refused() -> QualityReport:
        raise FaultError(FaultCode.MEDIA_UNREADABLE, "A frame is damaged.")

    record = asyncio.run(told_of(refused()))
    assert record["reason"] == "media_unreadable"
    assert "A frame is damaged." in record["detail"]
