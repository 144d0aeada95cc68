"""Odd inputs through the whole flow."""

import pytest

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.records import Status
from gpu_tasks.media.probe import probe
from tests.media.corpus.making import PLAIN, cut, patched
from tests.media.corpus.specimen import Maker, written
from tests.runs.desk import (
    FPS,
    FRAMES,
    HEIGHT,
    WIDTH,
    Desk,
    Pixels,
    desk,
    face,
    plain_key,
    source_key,
    turned,
    voice_key,
)
from tests.runs.orchestra import Orchestra

__all__ = ["desk", "face", "plain_key", "source_key", "voice_key"]


@pytest.mark.usefixtures("worker")
async def test_bounce_and_cut_off_through_the_whole_flow_last_as_documented(
    orchestra: Orchestra, plain_key: str, source_key: str, voice_key: str
) -> None:
    asked = {"target_key": plain_key, "audio_key": voice_key, "source_keys": [source_key]}
    for mode, seconds in (("bounce", 1.0), ("cut_off", 0.6)):
        record = await orchestra.run(asked | {"sync_mode": mode})
        assert record.status is Status.COMPLETED, record.error
        assert record.result is not None
        assert record.result.duration_sec == pytest.approx(seconds)
        assert record.result.audio_merge == "merged"
        assert record.media["faces"]["frames_looked_at"] == FRAMES
        assert record.provenance["facefusion"]["faces"]["frames_with_face"] == round(seconds * FPS)


@pytest.mark.usefixtures("worker")
async def test_a_silent_target_that_is_only_swapped_and_trimmed_gives_a_silent_result_on_purpose(
    orchestra: Orchestra, plain_key: str, source_key: str
) -> None:
    record = await orchestra.run(
        {"target_key": plain_key, "source_keys": [source_key], "trim": {"start": 0.2, "end": 0.4}}
    )
    assert record.status is Status.COMPLETED, record.error
    assert record.result is not None
    assert record.result.duration_sec == pytest.approx(0.2)
    assert record.result.audio_merge == "none"
    assert record.media["sound"]["from"] == "none"


@pytest.mark.usefixtures("worker")
async def test_a_turned_clip_of_a_phone_comes_out_upright_and_the_record_says_what_was_done(
    orchestra: Orchestra, desk: Desk, face: list[Pixels]
) -> None:
    turned(desk.file, face)
    record = await orchestra.run({"target_key": desk.sent(), "source_keys": [desk.source_key]})
    assert record.status is Status.COMPLETED, record.error
    assert [done["kind"] for done in record.media["changes"]["target"]] == ["turned"]
    assert "upright" in record.media["changes"]["target"][0]["sentence"]
    assert record.media["faces"]["percent_with_face"] == 100
    assert record.result is not None
    desk.store.fetch_key(record.result.output_key, desk.folder / "result.mp4", max_bytes=10**8)
    video = probe(desk.folder / "result.mp4").video
    assert video is not None
    assert (video.width, video.height, video.frame_count) == (WIDTH, HEIGHT, FRAMES)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (written(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), FaultCode.MEDIA_UNSUPPORTED),
        (patched(PLAIN, cut(0.3)), FaultCode.MEDIA_UNREADABLE),
    ],
)
async def test_a_hostile_file_fails_its_run_with_the_gates_code(
    orchestra: Orchestra, desk: Desk, make: Maker, code: FaultCode
) -> None:
    make(desk.file)
    before = await orchestra.started_jobs()
    record = await orchestra.run({"target_key": desk.sent(), "source_keys": [desk.source_key]})
    assert record.status is Status.FAILED
    assert record.error is not None
    assert (record.error.error, record.error.stage) == (code, "ingest")
    assert await orchestra.started_jobs() == before
