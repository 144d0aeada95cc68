"""What happens when a person does something: the API is asked, the state is changed. No browser is needed to run it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from api_shim.calls import ClientError
from gpu_tasks.contract.faults import Fault, FaultCode
from ui_panel import messages as said
from ui_panel.composing import compose, missing
from ui_panel.door import Door
from ui_panel.examples import Examples
from ui_panel.history import History
from ui_panel.looks import Looks
from ui_panel.media import Media, Slot, Span
from ui_panel.offers import Offers
from ui_panel.recall import recall
from ui_panel.sightings import seen, sign_anew
from ui_panel.state import PageState, Place, Route, Work
from ui_panel.watching import Sight, Watchers

_AGAIN_SECONDS = 3.0


class Controller:
    """One per open page. `spawn` runs a coroutine beside the page's events."""

    def __init__(  # noqa: PLR0913  # the page's parts, each of them once
        self,
        state: PageState,
        door: Door,
        watchers: Watchers,
        examples: Examples,
        offers: Offers,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.state = state
        self._door = door
        self._watchers = watchers
        self._examples = examples
        self._offers = offers
        self._spawn = spawn
        self._looks = Looks(state, door, spawn)
        self._history = History(state, door)
        self._leave: dict[str, Callable[[], None]] = {}
        self._is_closed = False
        self._is_blind = offers.bucket_origin is None

    async def start(self) -> None:
        """Learn what the API offers; while it is away, ask again until it answers."""
        while not self._is_closed:
            try:
                routes = await self._offers.routes()
            except ClientError as error:
                self.state.param.update(is_api_away=True, trouble=error.fault)
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            # The browser reads and writes the bucket only where the page's policy named it from the start.
            must_reload = self._is_blind and await self._offers.learn_bucket() is not None
            trouble = None if self.state.is_api_away else self.state.trouble
            self.state.param.update(routes=routes, is_api_away=False, trouble=trouble, must_reload=must_reload)
            self._looks.refresh()
            if self.state.place is Place.HISTORY:
                await self.show(Place.HISTORY)
            return

    def close(self) -> None:
        """The page was closed: nothing is watched for it any more."""
        self._is_closed = True
        self._looks.close()
        for leave in self._leave.values():
            leave()
        self._leave.clear()

    async def hear(self, data: object) -> None:  # noqa: C901  # one line for each thing that can be said
        """Do what a browser asks for; what it says in another form is ignored."""
        try:
            message = said.MESSAGES.validate_python(data)
        except ValidationError:
            return
        match message:
            case said.Kept():
                await self._restore(message)
            case said.Stored():
                self.put(message.slot, message.media)
            case said.Removed():
                self.remove(message.slot, message.place)
            case said.Chosen():
                self.choose(message)
            case said.Cast():
                others = {place: source for place, source in self.state.cast.items() if place != message.position}
                self.state.cast = others if message.source is None else {**others, message.position: message.source}
                self._looks.refresh()
            case said.Example():
                await self._asking(Work.EXAMPLE, self._take_example(message.name))
            case said.Preview():
                await self._looks.preview(message.kind, message.at_seconds)
            case said.Show():
                await self.show(message.place, message.task_id)
            case said.Filtered():
                self.state.wanted_status = message.status
                await self._asking(Work.HISTORY, self._history.load())
            case said.OnTask():
                await self._on_task(message)
            case said.Plain():
                await self._plain(message)

    def put(self, slot: Slot, media: Media) -> None:
        """A stored file takes its place; a voice and a video replace the one before."""
        match slot:
            case Slot.VOICE:
                self.state.voice = media
            case Slot.VIDEO if self.state.video and self.state.video.key == media.key:
                # The same file, of which the browser has found out how long it is.
                self.state.video = media
            case Slot.VIDEO:
                self.state.param.update(video=media, span=Span(), found=None, cast={}, preview=None)
            case Slot.FACES:
                self.state.faces = (*self.state.faces, media)
        self._looks.refresh()

    def remove(self, slot: Slot, place: int) -> None:
        match slot:
            case Slot.VOICE:
                self.state.voice = None
            case Slot.VIDEO:
                self.state.param.update(video=None, span=Span(), found=None, cast={}, preview=None)
            case Slot.FACES:
                left = tuple(face for at, face in enumerate(self.state.faces) if at != place)
                # Sources behind the one that goes move up by one.
                cast = {
                    position: source - (source > place)
                    for position, source in self.state.cast.items()
                    if source != place
                }
                self.state.param.update(faces=left, cast=cast)
        self._looks.refresh()

    def choose(self, chosen: said.Chosen) -> None:
        """Set what is named in `chosen`."""
        given = {name: getattr(chosen, name) for name in chosen.model_fields_set - {"type"}}
        changes = {name: value for name, value in given.items() if value is not None}
        if "basis" in changes:
            changes["basis"] = str(changes["basis"])
        self.state.param.update(**changes)
        if changes.keys() - {"basis", "declared_by", "preset"}:
            self._looks.refresh()

    async def run(self) -> None:
        """Send what is on the page; afterwards the page shows the task."""
        if missing(self.state):
            return
        summary = await self._door.run(compose(self.state))
        self._remember(summary.task_id)
        await self.show(Place.TASK, summary.task_id)

    async def show(self, place: Place, task_id: str | None = None) -> None:
        """Go to a place of the page."""
        if place is Place.TASK and task_id is None:
            return
        self.state.param.update(place=place, trouble=None if not self.state.is_api_away else self.state.trouble)
        if place is Place.TASK and task_id:
            self.state.ended = {name: seen for name, seen in self.state.ended.items() if name != task_id}
            if task_id != self.state.task_id:
                self.state.param.update(
                    task_id=task_id, sight=self.state.running.get(task_id, Sight()), target_url=None, verdict=None
                )
            self.watch(task_id)
        if place is Place.HISTORY:
            await self._asking(Work.HISTORY, self._history.load())
            for line in self.state.lines:
                if not line.status.is_final:
                    self.watch(line.task_id)

    def watch(self, task_id: str) -> None:
        """Follow a task, together with everybody else who does."""
        # An answer of the API may come after the page was closed, and nobody would leave again.
        if self._is_closed:
            return
        if (leave := self._leave.pop(task_id, None)) is not None:
            leave()
        self._leave[task_id] = self._watchers.subscribe(task_id, lambda sight: self._saw(task_id, sight))

    def _saw(self, task_id: str, sight: Sight) -> None:
        record = sight.record
        if record and not record.status.is_final:
            self.state.running = {**self.state.running, task_id: sight}
        elif task_id in self.state.running:
            self.state.running = {name: seen for name, seen in self.state.running.items() if name != task_id}
            is_seen = self.state.place is Place.TASK and task_id == self.state.task_id
            if record and task_id in self.state.mine and not is_seen:
                self.state.ended = {**self.state.ended, task_id: sight}
        if task_id == self.state.task_id:
            self.state.sight = sight
            if record and self.state.target_url is None:
                self._spawn(self._sign_target(task_id, str(record.request.get("target_key") or "")))

    async def _sign_target(self, task_id: str, key: str) -> None:
        # Beside the result for comparison only; a target that was deleted since is no trouble.
        if not key:
            return
        try:
            url = await self._door.look_up(key)
        except ClientError:
            return
        if task_id == self.state.task_id:
            self.state.target_url = url

    async def _restore(self, kept: said.Kept) -> None:
        """Put back what a tab had kept: URLs are signed anew, and what is gone from the bucket is left out."""
        files = (kept.voice, kept.video, *kept.faces)
        voice, video, *faces = await asyncio.gather(*(seen(media, self._door) for media in files))
        # What a person has put on the page meanwhile stays where it is.
        here = {face.key for face in self.state.faces}
        self.state.param.update(
            voice=self.state.voice or voice,
            video=self.state.video or video,
            faces=(*self.state.faces, *(face for face in faces if face and face.key not in here)),
            span=kept.span if video and not self.state.video else self.state.span,
            sync_mode=kept.sync_mode,
            preset=kept.preset,
            basis=str(kept.basis),
            declared_by=kept.declared_by or self.state.user,
            mine=kept.mine,
            is_restored=True,
        )
        self._looks.refresh()
        for task_id in kept.mine[:5]:
            if task_id not in self._leave:
                self.watch(task_id)

    async def _on_task(self, message: said.OnTask) -> None:
        task_id = message.task_id
        match message.type:
            case "cancel":
                await self._asking(Work.SENDING, self._cancel(task_id))
            case "again":
                await self._asking(Work.SENDING, self._again(task_id))
            case "change":
                await self._asking(Work.EXAMPLE, self._change(task_id))
            case "delete":
                await self._asking(Work.DELETE, self._delete(task_id))
            case "verify":
                await self._asking(Work.VERIFY, self._verify())
            case "look":
                # What was signed may have run out.
                self.state.target_url = None
                self.watch(task_id)

    async def _plain(self, message: said.Plain) -> None:
        match message.type:
            case "run" if Work.SENDING not in self.state.busy:
                await self._asking(Work.SENDING, self.run())
            case "more":
                await self._asking(Work.HISTORY, self._history.load(more=True))
            case "dismiss":
                self.state.param.update(trouble=None, looks_fault=None)
            case "sign":
                await sign_anew(self.state, self._door)
            case "find_faces":
                await self._looks.find_faces()
            case "afresh":
                self.state.param.update(place=Place.COMPOSE, trouble=None)

    async def _take_example(self, name: str) -> None:
        try:
            found = await self._examples.media(name)
        except KeyError:
            return
        signed = {slot: media.seen_at(await self._door.look_up(media.key)) for slot, media in found.items()}
        faces = (signed[Slot.FACES],) if Slot.FACES in signed else ()
        self.state.param.update(
            voice=signed.get(Slot.VOICE),
            video=signed.get(Slot.VIDEO),
            faces=faces,
            span=Span(),
            found=None,
            cast={},
            preview=None,
            extra={},
        )
        self._looks.refresh()

    async def _cancel(self, task_id: str) -> None:
        await self._door.cancel(task_id)
        self.watch(task_id)

    async def _again(self, task_id: str) -> None:
        if self.state.offers(Route.RERUN):
            summary = await self._door.rerun(task_id, {})
            self._remember(summary.task_id)
            await self.show(Place.TASK, summary.task_id)
        else:
            await self._change(task_id)

    async def _change(self, task_id: str) -> None:
        record = await self._door.status(task_id)
        await recall(self.state, record.request, self._door)
        self._looks.refresh()

    async def _delete(self, task_id: str) -> None:
        await self._door.delete(task_id)
        if (leave := self._leave.pop(task_id, None)) is not None:
            leave()
        mine = tuple(name for name in self.state.mine if name != task_id)
        self.state.param.update(mine=mine, task_id=None, sight=Sight())
        await self.show(Place.HISTORY)

    async def _verify(self) -> None:
        record = self.state.sight.record
        if record and record.result:
            self.state.verdict = await self._door.verify(record.result.output_key)

    def _remember(self, task_id: str) -> None:
        self.state.mine = (task_id, *(name for name in self.state.mine if name != task_id))[:50]

    async def _asking(self, work: Work, asked: Coroutine[Any, Any, None]) -> None:
        """Wait for an answer of the API; an error is shown, and what was entered stays."""
        with self._busy(work):
            try:
                await asked
            except ClientError as error:
                self.state.trouble = error.fault
            except ValidationError as error:
                detail = f"The request does not have the documented form. {error.errors()[0]['msg']}"
                self.state.trouble = Fault(code=FaultCode.REQUEST_INVALID, detail=detail)
            else:
                if work is not Work.HISTORY:
                    self.state.trouble = None

    @contextmanager
    def _busy(self, work: Work) -> Iterator[None]:
        self.state.busy |= {work}
        try:
            yield
        finally:
            self.state.busy -= {work}
