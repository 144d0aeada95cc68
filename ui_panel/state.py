"""The state of one open page. No widget, no browser and no network: the controller changes it, the views show it."""

from enum import StrEnum
from typing import Any

import param

from api_shim.wire import FacesAnswer, PreviewAnswer, TaskLine
from flows.request import PreviewKind
from gpu_tasks.contract.credentials import Verdict
from gpu_tasks.contract.faults import Fault
from gpu_tasks.contract.looks import Estimate
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.contract.sentences import Language
from ui_panel.media import Media, Span
from ui_panel.watching import Sight


class Place(StrEnum):
    """What the page shows."""

    COMPOSE = "compose"
    TASK = "task"
    HISTORY = "history"


class Preset(StrEnum):
    """How good the result should be, and so what it takes."""

    QUICK = "quick"
    STANDARD = "standard"
    FINE = "fine"


class Work(StrEnum):
    """What the page waits for."""

    SENDING = "sending"
    FACES = "faces"
    PREVIEW = "preview"
    EXAMPLE = "example"
    VERIFY = "verify"
    HISTORY = "history"
    DELETE = "delete"


class Route(StrEnum):
    """What an older API may lack; everything that depends on it is then not shown."""

    FACES = "/faces"
    ESTIMATE = "/estimate"
    PREVIEW = "/preview"
    TASKS = "/tasks"
    RERUN = "/tasks/{task_id}/rerun"
    DELETE = "/tasks/{task_id}"
    VERIFY = "/verify"
    CANCEL = "/cancel/{task_id}"


class PageState(param.Parameterized):
    """All that one open page knows; values are frozen, so that a change is always an assignment."""

    language: Language = param.ClassSelector(default=Language.ENGLISH, class_=Language)
    place: Place = param.ClassSelector(default=Place.COMPOSE, class_=Place)
    user: str = param.String(default="", doc="Who is signed in, as the provider names them.")
    routes: frozenset[Route] | None = param.Parameter(default=None, doc="What the API offers; None before it answered.")
    busy: frozenset[Work] = param.Parameter(default=frozenset())
    trouble: Fault | None = param.Parameter(default=None, doc="What went wrong last, until it is put right.")
    is_api_away: bool = param.Boolean(default=False)
    is_restored: bool = param.Boolean(default=False, doc="Whether the browser has told what it had kept.")
    must_reload: bool = param.Boolean(default=False, doc="The page was made before anybody knew where the bucket is.")

    # compose
    voice: Media | None = param.Parameter(default=None)
    video: Media | None = param.Parameter(default=None)
    faces: tuple[Media, ...] = param.Parameter(default=())
    span: Span = param.ClassSelector(default=Span(), class_=Span)
    sync_mode: SyncMode = param.ClassSelector(default=SyncMode.LOOP, class_=SyncMode)
    preset: Preset = param.ClassSelector(default=Preset.STANDARD, class_=Preset)
    basis: str = param.String(default="")
    declared_by: str = param.String(default="")
    retains: bool = param.Boolean(default=True, doc="Whether the lip-synced video before the swap is kept, too.")
    found: FacesAnswer | None = param.Parameter(default=None)
    cast: dict[int, int] = param.Dict(default={}, doc="Source by position of a face of the video, both from 0.")
    extra: dict[str, Any] = param.Dict(default={}, doc="Fields of a task that is done again, which no control shows.")
    estimates: dict[Preset, Estimate | Fault] = param.Dict(default={})
    preview: PreviewAnswer | None = param.Parameter(default=None)
    preview_kind: PreviewKind = param.ClassSelector(default=PreviewKind.FRAME, class_=PreviewKind)
    looks_fault: Fault | None = param.Parameter(default=None, doc="Why faces or a preview could not be shown.")

    # watch
    task_id: str | None = param.String(default=None, allow_None=True)
    sight: Sight = param.ClassSelector(default=Sight(), class_=Sight)
    target_url: str | None = param.String(default=None, allow_None=True)
    verdict: Verdict | None = param.Parameter(default=None)
    mine: tuple[str, ...] = param.Parameter(default=(), doc="Tasks that this browser started, newest first.")
    running: dict[str, Sight] = param.Dict(default={})
    ended: dict[str, Sight] = param.Dict(default={}, doc="Own tasks that ended while something else was looked at.")

    # history
    lines: tuple[TaskLine, ...] = param.Parameter(default=())
    cursor: str | None = param.String(default=None, allow_None=True)
    wanted_status: str = param.String(default="")

    def offers(self, route: Route) -> bool:
        """Tell whether the API is known to have a route."""
        return self.routes is not None and route in self.routes

    @property
    def lacks(self) -> frozenset[Route]:
        """What the API is known not to have."""
        return frozenset() if self.routes is None else frozenset(Route) - self.routes
