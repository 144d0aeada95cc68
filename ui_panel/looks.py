"""What a person may want to see before a run: faces, a preview, what it would take."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pydantic import ValidationError

from api_shim.calls import ClientError
from flows.request import PreviewKind
from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.looks import Estimate
from ui_panel.composing import compose, has_media
from ui_panel.door import Door
from ui_panel.state import PageState, Preset, Route, Work

# A person who is dragging a handle is not asked for every step.
_SETTLED_SECONDS = 0.7


class Looks:
    """Asks anew whenever the page has changed, and drops answers about what is not on it any more."""

    def __init__(self, state: PageState, door: Door, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._state = state
        self._door = door
        self._spawn = spawn
        self._asked_at = 0
        self._is_closed = False

    def close(self) -> None:
        self._is_closed = True

    def refresh(self) -> None:
        """What is on the page has changed: earlier answers are out of date."""
        self._asked_at += 1
        self._state.param.update(estimates={}, preview=None, looks_fault=None)
        if has_media(self._state) and self._state.offers(Route.ESTIMATE):
            self._spawn(self._estimate(self._asked_at))
        video = self._state.video
        if video and self._state.found is None and self._state.faces and Work.FACES not in self._state.busy:
            self._spawn(self.find_faces())

    async def find_faces(self) -> None:
        """Show the faces of the video, so that one can be clicked."""
        video = self._state.video
        if video is None or not self._state.offers(Route.FACES) or Work.FACES in self._state.busy:
            return
        self._state.busy |= {Work.FACES}
        try:
            found = await self._door.find_faces(video.key)
        except ClientError as error:
            self._state.looks_fault = error.fault
        else:
            if self._state.video and self._state.video.key == video.key:
                self._state.found = found
        finally:
            self._state.busy -= {Work.FACES}

    async def preview(self, kind: PreviewKind, at_seconds: float) -> None:
        """Make a frame or three seconds of what the result would look like."""
        if not has_media(self._state) or Work.PREVIEW in self._state.busy:
            return
        asked_at = self._asked_at
        self._state.param.update(
            busy=self._state.busy | {Work.PREVIEW}, preview=None, preview_kind=kind, looks_fault=None
        )
        try:
            made = await self._door.preview(compose(self._state, Preset.QUICK), kind, at_seconds)
            if asked_at == self._asked_at:
                self._state.preview = made
        except ClientError as error:
            self._state.looks_fault = error.fault
        finally:
            self._state.busy -= {Work.PREVIEW}

    async def _estimate(self, asked_at: int) -> None:
        await asyncio.sleep(_SETTLED_SECONDS)
        if asked_at != self._asked_at or self._is_closed:
            return
        # The chosen one first: a service under load answers what is looked at.
        for preset in sorted(Preset, key=lambda preset: preset is not self._state.preset):
            answer = await self._estimate_of(preset)
            if asked_at != self._asked_at or self._is_closed:
                return
            self._state.estimates = {**self._state.estimates, preset: answer}

    async def _estimate_of(self, preset: Preset) -> Estimate | Fault:
        try:
            return await self._door.estimate(compose(self._state, preset))
        except ClientError as error:
            return error.fault
        except ValidationError as error:
            return Fault(code=FaultCode.REQUEST_INVALID, detail=str(error.errors()[0]["msg"]))
