"""One open page: its state, its controller, and what brings changes of the one to the browser."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.document import Document

from ui_panel import views_compose, views_frame, views_task
from ui_panel.assets import Assets
from ui_panel.controller import Controller
from ui_panel.door import Door
from ui_panel.examples import Examples
from ui_panel.islands import Island
from ui_panel.offers import Offers
from ui_panel.settings import PageSettings
from ui_panel.state import PageState
from ui_panel.text import of_groups
from ui_panel.views import page_of
from ui_panel.watching import Watchers


@dataclass(frozen=True)
class Services:
    """One of each per process."""

    settings: PageSettings
    door: Door
    watchers: Watchers
    examples: Examples
    offers: Offers
    assets: Assets


class Session:
    """Shows a state in the browser for as long as its page is open."""

    def __init__(self, state: PageState, services: Services, document: Document, *, is_dark: bool) -> None:
        self._state = state
        self._services = services
        self._document = document
        self._is_due = False
        self._work: set[asyncio.Task[None]] = set()
        self.controller = Controller(
            state, services.door, services.watchers, services.examples, services.offers, spawn=self._spawn
        )
        self._shows = self._shown_by()
        self.islands = {
            name: Island(
                self._hear,
                module=services.assets.path(f"{name.partition('-')[0]}.js"),
                texts=of_groups(state.language, *groups),
                shown=show(),
            )
            for name, (groups, show) in self._shows.items()
        }
        self.page: pmui.Page = page_of(self.islands, state, services.assets, is_dark=is_dark)
        self._watcher = state.param.watch(self._changed, list(PageState.param))

    def start(self) -> None:
        """Begin to work for this page; runs when the browser has it."""
        self._spawn(self.controller.start())

    def close(self) -> None:
        """The page was closed."""
        self._state.param.unwatch(self._watcher)
        self.controller.close()
        for task in self._work:
            task.cancel()

    async def _hear(self, data: object) -> None:
        if isinstance(data, Mapping) and data.get("type") == "theme":
            self.page.dark_theme = data.get("is_dark") is True
            return
        await self.controller.hear(data)

    def _shown_by(self) -> dict[str, tuple[tuple[str, ...], Callable[[], dict[str, Any]]]]:
        """Which texts each component needs, and what it shows."""
        state, services = self._state, self._services
        media = ("media", "upload", "record", "trim", "time", "size")
        return {
            "frame": (("page", "task", "status"), lambda: views_frame.frame(state)),
            "hero": (("hero",), lambda: views_compose.hero(state, services.examples.names)),
            "medium-voice": (("voice", *media), lambda: views_compose.medium(state, "voice")),
            "medium-video": (("video", *media), lambda: views_compose.medium(state, "video")),
            "faces": (("faces", *media), lambda: views_compose.faces(state)),
            "choices": (
                ("cast", "sync", "quality", "preview", "consent", "run", "page", "time"),
                lambda: views_compose.choices(state),
            ),
            "task": (
                ("task", "result", "quality_report", "badge", "page", "status", "history"),
                lambda: views_task.task(state, services.settings.public_api_url),
            ),
            "history": (("history", "page"), lambda: views_frame.history(state)),
        }

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def _changed(self, *_events: object) -> None:
        # Many changes, one message: what follows from one click is shown in one step.
        if not self._is_due:
            self._is_due = True
            self._document.add_next_tick_callback(self._present)

    def _present(self) -> None:
        self._is_due = False
        with pn.io.hold(self._document):
            for name, (_, show) in self._shows.items():
                shown = show()
                if shown != self.islands[name].shown:
                    self.islands[name].shown = shown
