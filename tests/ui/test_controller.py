"""What happens at the page, without a browser, before the real API."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.looks import Estimate
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.contract.records import ErrorRecord, RecordStage, Status, TaskRecord
from gpu_tasks.contract.sentences import Language
from tests.servers import RunningStack
from tests.ui.older import older_api
from tests.ui.pages import at_the_page
from tests.waiting import await_until
from ui_panel import views_compose, views_frame, views_task
from ui_panel.composing import compose, result_seconds
from ui_panel.controller import Controller
from ui_panel.media import Media, Slot, Span
from ui_panel.server import services_of
from ui_panel.settings import PageSettings
from ui_panel.state import PageState, Place, Preset, Route
from ui_panel.text import advice, language_of, words
from ui_panel.watching import Sight

VOICE = Media(key="uploads/audio/a.wav", name="a.wav", seconds=7.5)
VIDEO = Media(key="uploads/video/t.mp4", name="t.mp4", seconds=4.0)
FACE = Media(key="uploads/source/s.png", name="s.png")
ESTIMATE = Estimate(
    duration_sec=7.5, frame_count=188, fps=25, width=640, height=360, stages=(), gpu_seconds=1, wall_seconds=1
)


async def test_an_example_becomes_a_result(stack: RunningStack) -> None:
    async with at_the_page(stack.addresses.api_url) as (state, controller, _):
        await controller.start()
        await controller.hear({"type": "example", "name": "both"})
        await controller.hear({"type": "chosen", "basis": "own_likeness", "declared_by": "Hanako"})
        await controller.hear({"type": "run"})
        assert state.place is Place.TASK
        assert state.trouble is None
        record = await await_until(
            lambda: state.sight.record if state.sight.is_over else None, seconds=180, what="the task has ended"
        )
        assert record.status == "completed"
        assert record.request["labels"]["name"] == "target.mp4"
        # What was declared is for the audit chain alone.
        assert "Hanako" not in record.model_dump_json()


async def test_an_older_api_leaves_out_what_it_lacks() -> None:
    with older_api() as url:
        async with at_the_page(url) as (state, controller, _):
            state.param.update(voice=VOICE, video=VIDEO, faces=(FACE,))
            await controller.start()
            assert state.lacks >= {Route.FACES, Route.ESTIMATE, Route.PREVIEW, Route.TASKS, Route.RERUN, Route.DELETE}
            shown = views_compose.choices(state)
            assert shown["cast"]["is_missing"]
            assert shown["preview"]["is_missing"]
            assert not shown["tells_costs"]
            await controller.hear({"type": "show", "place": "history"})
            assert views_frame.history(state)["is_missing"]
            assert state.trouble is None


async def test_what_a_browser_says_in_another_form_is_not_listened_to() -> None:
    async with at_the_page("http://127.0.0.1:1") as (state, controller, _):
        for said in (
            None,
            "run",
            {"type": "sudo"},
            {"type": "stored", "slot": "voice", "media": {"key": "audit/2026/1.json"}},
            {"type": "show", "place": "task", "task_id": "../../etc"},
            {"type": "chosen", "span": {"start": -1}},
        ):
            await controller.hear(said)
        assert (state.voice, state.task_id, state.span) == (None, None, Span())


async def test_an_api_that_is_away_is_told_and_what_was_entered_stays() -> None:
    async with at_the_page("http://127.0.0.1:1") as (state, controller, _):
        state.param.update(voice=VOICE, video=VIDEO, basis="licence", declared_by="x")
        await controller.hear({"type": "run"})
        assert state.trouble
        assert state.trouble.code is FaultCode.ORCHESTRATOR_UNAVAILABLE
        assert (state.voice, state.video, state.place) == (VOICE, VIDEO, Place.COMPOSE)


def test_the_request_is_what_is_on_the_page() -> None:
    state = PageState(language=Language.JAPANESE)
    state.param.update(
        voice=VOICE,
        video=VIDEO,
        faces=(FACE, FACE),
        span=Span(start=1.0, end=3.0),
        sync_mode=SyncMode.REMAP,
        preset=Preset.FINE,
        cast={1: 0},
        basis="licence",
        declared_by=" 花子 ",
    )
    request = compose(state)
    assert (request.audio_key, request.target_key, request.source_keys) == (VOICE.key, VIDEO.key, (FACE.key, FACE.key))
    assert request.trim is not None
    assert (request.trim.start, request.trim.end, request.sync_mode, request.engine) == (1.0, 3.0, "remap", "neural")
    assert [(entry.position, entry.source_index) for entry in request.face_map] == [(1, 0)]
    assert request.facefusion.face_swapper_pixel_boost == 512
    assert request.consent is not None
    assert request.consent.declared_by == "花子"
    assert "ライセンス" in request.consent.statement


def test_a_source_that_goes_takes_its_casting_with_it() -> None:
    state = PageState()
    state.param.update(video=VIDEO, faces=(FACE, FACE, FACE), cast={0: 0, 1: 1, 2: 2})
    services = services_of(PageSettings(api_base_url="http://127.0.0.1:1"))
    controller = Controller(
        state, services.door, services.watchers, services.examples, services.offers, spawn=lambda work: work.close()
    )
    controller.remove(Slot.FACES, 1)
    assert state.cast == {0: 0, 2: 1}
    assert len(state.faces) == 2


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [("loop", 7.5), ("bounce", 7.5), ("cut_off", 4.0), ("silence", 7.5), ("remap", 7.5)],
)
def test_the_length_of_the_result_is_told_beforehand(mode: str, seconds: float) -> None:
    assert result_seconds(SyncMode(mode), 7.5, 4.0) == seconds
    assert result_seconds(SyncMode(mode), None, 4.0) == 4.0


@pytest.mark.parametrize("language", Language)
def test_a_length_is_announced_only_where_it_stands(language: Language) -> None:
    state, said = PageState(language=language), words(language)
    state.param.update(voice=VOICE, video=VIDEO.model_copy(update={"seconds": None}))
    refused: dict[Preset, Estimate | Fault] = {state.preset: Fault(code=FaultCode.MEDIA_UNSUPPORTED, detail="")}
    for answers in ({}, refused):
        state.estimates = answers
        sync = views_compose.choices(state)["sync"]
        assert (sync["unknown"], {mode["length"] for mode in sync["modes"]}) == (said["sync.unknown"], {""})
    state.estimates = {state.preset: ESTIMATE}
    sync = views_compose.choices(state)["sync"]
    assert sync["unknown"] == said["sync.unknown_told"]
    assert [mode["value"] for mode in sync["modes"] if mode["length"]] == [state.sync_mode]


def record_of(request: dict[str, Any], detail: str) -> TaskRecord:
    now = datetime.now(UTC)
    return TaskRecord(
        task_id="t",
        status=Status.FAILED,
        stage=RecordStage.INGEST,
        created_at=now,
        updated_at=now,
        request=request,
        error=ErrorRecord(error=FaultCode.MEDIA_UNREADABLE, detail=detail),
    )


@pytest.mark.parametrize(
    ("given", "detail", "blamed"),
    [
        ({"target_key": "uploads/video/1", "audio_key": "uploads/video/10"}, "uploads/video/10: broken", "Voice"),
        ({"target_key": "uploads/video/10", "audio_key": "uploads/video/1"}, "uploads/video/10: broken", "Video"),
        ({"target_key": "uploads/video/10", "audio_key": "uploads/video/1"}, "uploads/video/1: broken", "Voice"),
        ({"target_key": "uploads/video/1", "audio_key": "uploads/video/1"}, "uploads/video/1: broken", "Video, Voice"),
        ({"target_key": "uploads/video/1", "source_keys": ["a/1", "a/2"]}, "a/2: broken", "Face 2"),
        ({"target_key": "uploads/video/1"}, "Something else is broken.", None),
    ],
)
def test_a_fault_blames_the_file_that_it_names(given: dict[str, Any], detail: str, blamed: str | None) -> None:
    state = PageState(language=Language.ENGLISH)
    state.param.update(place=Place.TASK, task_id="t", sight=Sight(record_of(given, detail), is_over=True))
    sentence = views_task.task(state, "http://127.0.0.1:1")["error"]["sentence"]
    plain = advice(Fault(code=FaultCode.MEDIA_UNREADABLE, detail=detail), Language.ENGLISH)
    assert sentence == (f"{blamed}: {plain}" if blamed else plain)


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        ("ja", "en-US", Language.JAPANESE),
        ("", "ja,en;q=0.8", Language.JAPANESE),
        ("xx", "fr-FR,ja;q=0.5", Language.JAPANESE),
        ("", "", Language.ENGLISH),
    ],
)
def test_a_page_speaks_the_language_of_its_reader(asked: str, accepted: str, language: Language) -> None:
    assert language_of(asked, accepted) is language
