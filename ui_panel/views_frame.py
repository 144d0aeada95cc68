"""What stands around everything else: where one is, what runs, what a tab keeps; and the history."""

from typing import Any, Final

from gpu_tasks.contract.faults import Fault
from gpu_tasks.contract.records import ErrorRecord, Status, TaskRecord
from ui_panel.media import Media
from ui_panel.showing import length
from ui_panel.state import PageState, Place, Route, Work
from ui_panel.text import advice, words
from ui_panel.views_result import name_of

Shown = dict[str, Any]

_KEPT: Final = ("key", "name", "size", "media_type", "seconds", "width", "height")
_FILTERS: Final = ("", "running", "completed", "failed", "cancelled")


def frame(state: PageState) -> Shown:
    """The header, the tasks that run, and what the browser keeps for a reload."""
    record = state.sight.record
    return {
        "place": state.place.value,
        "task_id": state.task_id,
        "language": state.language.value,
        "user": state.user,
        "is_away": state.is_api_away,
        "must_reload": state.must_reload,
        "running": [
            _stands(sight.record)
            for task_id, sight in state.running.items()
            if sight.record and not (state.place is Place.TASK and task_id == state.task_id)
        ],
        "ended": [_stands(sight.record) for sight in state.ended.values() if sight.record],
        "task": _stands(record) if record else None,
        "kept": _kept(state) if state.is_restored else None,
        "mine": list(state.mine) if state.is_restored else None,
    }


def _stands(record: TaskRecord) -> Shown:
    name = name_of(record.request)
    return {"task_id": record.task_id, "name": name, "status": record.status.value, "percent": record.percent}


def _kept(state: PageState) -> Shown:
    def media(one: Media | None) -> Shown | None:
        return {name: getattr(one, name) for name in _KEPT} if one else None

    return {
        "voice": media(state.voice),
        "video": media(state.video),
        "faces": [media(face) for face in state.faces],
        "span": state.span.model_dump(),
        "sync_mode": state.sync_mode.value,
        "preset": state.preset.value,
        "basis": state.basis,
        "declared_by": state.declared_by,
    }


def history(state: PageState) -> Shown:
    """The tasks as cards."""
    said = words(state.language)
    shown: Shown = {"is_here": state.place is Place.HISTORY}
    if not shown["is_here"]:
        return shown
    cards = []
    for line in state.lines:
        seen = state.running.get(line.task_id)
        record = seen.record if seen else None
        request = line.request
        kind = "both" if request.get("audio_key") and request.get("source_keys") else "lips"
        if not request.get("audio_key"):
            kind = "swap"
        status = record.status if record else line.status
        cards.append(
            {
                "task_id": line.task_id,
                "status": status.value,
                "status_word": said[f"status.{status.value}"],
                "percent": record.percent if record else line.percent,
                "created_at": line.created_at.isoformat(),
                "name": name_of(request) or line.labels.get("name", ""),
                "kind": said[f"history.kind_{kind}"],
                "length": length(line.duration_sec, said),
                "url": line.output_url if status is Status.COMPLETED else None,
                "error": _told(line.error, state) if line.error and status is Status.FAILED else "",
            }
        )
    return shown | {
        "cards": cards,
        "filters": [
            {"value": value, "words": said[f"status.{value}"] if value else said["history.all"]} for value in _FILTERS
        ],
        "filter": state.wanted_status,
        "has_more": state.cursor is not None,
        "is_loading": Work.HISTORY in state.busy,
        "is_missing": Route.TASKS in state.lacks,
        "trouble": advice(state.trouble, state.language) if state.trouble else None,
    }


def _told(error: ErrorRecord, state: PageState) -> str:
    return advice(Fault(code=error.error, detail=error.detail, stage=error.stage), state.language)
