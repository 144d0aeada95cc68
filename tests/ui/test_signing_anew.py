"""Files of the page while the service is busy, or has some of them no more; no browser is needed."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.ui.pages import at_the_page
from tests.ui.small_servers import JsonHandler, serving
from tests.waiting import await_until
from ui_panel.media import Media, Slot
from ui_panel.sightings import sign_anew

VOICE = Media(key="uploads/audio/a.wav", name="a.wav", seconds=7.5)
VIDEO = Media(key="uploads/video/t.mp4", name="t.mp4", seconds=4.0)
ANNA, BEN, CLARA = (Media(key=f"uploads/source/{name}.png", name=name) for name in ("anna", "ben", "clara"))
BUSY, GONE = (503, "storage_unavailable"), (422, "object_missing")


@dataclass
class Service:
    """What the API is asked, and says: `faults` by key, `is_open` lets answers about files out."""

    faults: dict[str, tuple[int, str]] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    is_open: threading.Event = field(default_factory=threading.Event)
    status: str = "running"


class _Handler(JsonHandler):
    service: Service

    def get(self) -> None:
        self.service.asked.append(self.path)
        if self.path.startswith("/events/"):
            self.fail(503, "too_many_listeners")
        else:
            now = datetime.now(UTC).isoformat()
            told = {"task_id": "1", "status": self.service.status, "stage": "queued", "request": self.service.request}
            self.answer(200, {**told, "created_at": now, "updated_at": now})

    def post(self) -> None:
        key = json.loads(self.body())["key"]
        self.service.asked.append(key)
        self.service.is_open.wait(timeout=120)
        if key in self.service.faults:
            self.fail(*self.service.faults[key])
            return
        told = {"key": key, "url": f"http://bucket/{key}", "method": "GET", "headers": {}, "intent": "download"}
        self.answer(200, {**told, "expires_in": 60})

    def fail(self, status: int, code: str) -> None:
        self.answer(status, {"error": code, "detail": "So it is.", "stage": None, "retryable": status == BUSY[0]})


@contextmanager
def a_service(**given: Any) -> Iterator[tuple[Service, str]]:  # noqa: ANN401  # its fields
    service = Service(**given)
    service.is_open.set()
    with serving(type("_Serving", (_Handler,), {"service": service})) as url:
        yield service, url


def as_kept(media: Media) -> dict[str, Any]:
    return media.model_dump(exclude={"url"})


async def test_a_busy_service_loses_nobodys_inputs_at_a_reload() -> None:
    faults = {VOICE.key: BUSY, ANNA.key: (429, "rate_limited"), BEN.key: GONE, CLARA.key: (422, "key_not_allowed")}
    with a_service(faults=faults) as (_, url):
        async with at_the_page(url) as (state, controller, _):
            faces = [as_kept(face) for face in (ANNA, BEN, CLARA)]
            await controller.hear({"type": "kept", "voice": as_kept(VOICE), "video": as_kept(VIDEO), "faces": faces})
            assert (state.voice, state.faces) == (VOICE, (ANNA,))
            assert state.video == VIDEO.seen_at(f"http://bucket/{VIDEO.key}")


async def test_what_is_put_on_the_page_while_it_is_restored_stays() -> None:
    with a_service() as (service, url):
        async with at_the_page(url) as (state, controller, _):
            service.is_open.clear()
            said = {"type": "kept", "voice": as_kept(VOICE), "faces": [as_kept(ANNA)]}
            restoring = asyncio.create_task(controller.hear(said))
            await await_until(lambda: len(service.asked) == 2, what="addresses are asked for")
            newer = Media(key="uploads/audio/newer.wav", name="newer.wav")
            controller.put(Slot.VOICE, newer)
            controller.put(Slot.FACES, BEN)
            service.is_open.set()
            await restoring
            assert state.voice == newer
            assert [face.key for face in state.faces] == [BEN.key, ANNA.key]


async def test_an_address_comes_to_its_own_file_alone() -> None:
    with a_service(faults={ANNA.key: BUSY}) as (service, url):
        async with at_the_page(url) as (state, controller, services):
            anna = ANNA.seen_at("http://bucket/still-good")
            state.param.update(voice=VOICE, video=VIDEO, faces=(BEN, anna, CLARA))
            service.is_open.clear()
            signing = asyncio.create_task(sign_anew(state, services.door))
            await await_until(lambda: len(service.asked) == 5, what="addresses are asked for")
            newer = Media(key="uploads/audio/newer.wav", name="newer.wav")
            controller.put(Slot.VOICE, newer)
            controller.remove(Slot.VIDEO, 0)
            controller.remove(Slot.FACES, 0)
            service.is_open.set()
            await signing
            assert (state.voice, state.video) == (newer, None)
            assert state.faces == (anna, CLARA.seen_at(f"http://bucket/{CLARA.key}"))


async def test_a_source_that_is_gone_gives_its_casting_to_nobody() -> None:
    faces = (ANNA, BEN, CLARA)
    request = {
        "target_key": VIDEO.key,
        "source_keys": [face.key for face in faces],
        "face_map": [{"source_index": 2 - at, "position": at} for at in range(3)],
    }
    with a_service(request=request, faults={ANNA.key: GONE, CLARA.key: BUSY}) as (_, url):
        async with at_the_page(url) as (state, controller, _):
            await controller.hear({"type": "change", "task_id": "1"})
            assert state.trouble is None
            assert [face.key for face in state.faces] == [BEN.key, CLARA.key]
            assert state.cast == {0: 1, 1: 0}


async def test_a_task_is_asked_for_while_there_is_no_room_for_a_listener() -> None:
    with a_service() as (service, url):
        async with at_the_page(url) as (state, controller, _):
            await controller.hear({"type": "show", "place": "task", "task_id": "1"})
            await await_until(lambda: state.sight.record, what="the record is there")
            assert state.sight.trouble is None
            service.status = "completed"
            await await_until(lambda: state.sight.is_over, what="the end is seen")
            # A stream is tried again at every look.
            assert service.asked[-2:] == ["/events/1", "/status/1"]
            assert service.asked.count("/events/1") == service.asked.count("/status/1") >= 2
