"""What a browser may say to the page's server; whatever has another form is not listened to."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from flows.request import PreviewKind
from gpu_tasks.contract.consent import ConsentBasis
from gpu_tasks.contract.options import SyncMode
from ui_panel.media import Media, Slot, Span
from ui_panel.state import Place, Preset

_TaskId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Kept(_Message):
    """What a tab had kept: its inputs over a reload, and the tasks that this browser started."""

    type: Literal["kept"]
    voice: Media | None = None
    video: Media | None = None
    faces: Annotated[tuple[Media, ...], Field(max_length=16)] = ()
    span: Span = Span()
    sync_mode: SyncMode = SyncMode.LOOP
    preset: Preset = Preset.STANDARD
    basis: ConsentBasis | Literal[""] = ""
    declared_by: Annotated[str, StringConstraints(max_length=200)] = ""
    mine: Annotated[tuple[_TaskId, ...], Field(max_length=50)] = ()


class Stored(_Message):
    """A file has reached the bucket."""

    type: Literal["stored"]
    slot: Slot
    media: Media


class Removed(_Message):
    type: Literal["removed"]
    slot: Slot
    place: Annotated[int, Field(ge=0, le=15)] = 0


class Chosen(_Message):
    """One control was set."""

    type: Literal["chosen"]
    span: Span | None = None
    sync_mode: SyncMode | None = None
    preset: Preset | None = None
    basis: ConsentBasis | None = None
    declared_by: Annotated[str, StringConstraints(max_length=200)] | None = None
    retains: bool | None = None


class Cast(_Message):
    """A face of the video gets a source, or none."""

    type: Literal["cast"]
    position: Annotated[int, Field(ge=0, le=63)]
    source: Annotated[int, Field(ge=0, le=15)] | None = None


class Example(_Message):
    type: Literal["example"]
    name: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,30}$")]


class Preview(_Message):
    type: Literal["preview"]
    kind: PreviewKind = PreviewKind.FRAME
    at_seconds: Annotated[float, Field(ge=0, le=1e5, allow_inf_nan=False)] = 0.0


class Show(_Message):
    """Another place, or another task."""

    type: Literal["show"]
    place: Place
    task_id: _TaskId | None = None


class Filtered(_Message):
    type: Literal["filtered"]
    status: Literal["", "pending", "running", "completed", "failed", "cancelled"] = ""


class OnTask(_Message):
    """What is done with a task."""

    type: Literal["cancel", "again", "change", "delete", "verify", "look"]
    task_id: _TaskId


class Plain(_Message):
    type: Literal["run", "more", "dismiss", "sign", "find_faces", "afresh"]


Message = Annotated[
    Kept | Stored | Removed | Chosen | Cast | Example | Preview | Show | Filtered | OnTask | Plain,
    Field(discriminator="type"),
]
MESSAGES: TypeAdapter[Message] = TypeAdapter(Message)


def place_asked(query: Mapping[str, str]) -> Show:
    """Return what the address of a page leads to; without a place that there is, to the start."""
    if query.get("place") == Place.HISTORY:
        return Show(type="show", place=Place.HISTORY)
    try:
        return Show.model_validate({"type": "show", "place": Place.TASK, "task_id": query["task"]})
    except (KeyError, ValidationError):
        return Show(type="show", place=Place.COMPOSE)
