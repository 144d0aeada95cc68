"""What the page shows of a task: where it stands, what came out, and what can be done with it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from gpu_tasks.contract.faults import Fault
from gpu_tasks.contract.records import ProgressEntry, RecordStage, Status, TaskRecord
from gpu_tasks.contract.sentences import Language
from ui_panel import views_result
from ui_panel.showing import length
from ui_panel.state import PageState, Place, Route, Work
from ui_panel.text import advice, words
from ui_panel.watching import Sight

Shown = dict[str, Any]

_STAGES: Final = (
    RecordStage.QUEUED,
    RecordStage.INGEST,
    RecordStage.WAV2LIP,
    RecordStage.FACEFUSION,
    RecordStage.ASSEMBLE,
    RecordStage.PUBLISH,
)
_MESSAGES_SHOWN: Final = 60
# What the flow and the workers tell of their progress, and how the page says it.
MESSAGES: Final[Mapping[str, str]] = {
    "Queued.": "task.stage_queued",
    "Completed.": "status.completed",
    "Cancelled.": "status.cancelled",
    "fetching inputs": "task.fetching",
    "loading models": "task.loading_models",
    "finding faces": "task.finding",
    "changing frames": "task.changing",
    "storing the result": "task.storing",
}


def task(state: PageState, api_url: str) -> Shown:
    """The task that the page is about."""
    said, sight = words(state.language), state.sight
    shown: Shown = {"is_here": state.place is Place.TASK, "task_id": state.task_id}
    if not shown["is_here"]:
        return shown
    record = sight.record
    shown |= {
        "trouble": _trouble_of(sight, state.language),
        "is_unknown": record is None and sight.is_over,
        "is_over": sight.is_over,
        "is_busy": bool(state.busy & {Work.SENDING, Work.DELETE}),
        "fault": advice(state.trouble, state.language) if state.trouble else None,
    }
    if record is None:
        return shown
    request = record.request
    return shown | {
        "status": record.status.value,
        "name": views_result.name_of(request),
        "percent": record.percent,
        "left": said["task.left"].format(time=length(record.eta_seconds, said)) if record.eta_seconds else "",
        "position": record.queue_position,
        "started_at": record.created_at.isoformat(),
        "stages": _stages(record, state.language),
        "messages": [
            {"at": entry.timestamp.isoformat(), "message": _message(entry, said)}
            for entry in record.progress[-_MESSAGES_SHOWN:]
        ],
        "error": _error(record, state.language),
        "log": _log(record),
        "operator_url": _web_url(record.details.get("flow_run_url")),
        "result": views_result.result(record, state),
        "quality": views_result.quality(record, state.language),
        "badge": views_result.badge(record, state),
        "curl": curl(request, api_url),
        "may": {
            "cancel": not record.status.is_final and Route.CANCEL not in state.lacks,
            "again": record.status.is_final and state.offers(Route.RERUN),
            "change": record.status.is_final,
            "delete": record.status.is_final and state.offers(Route.DELETE),
            "verify": record.result is not None and state.offers(Route.VERIFY),
        },
    }


def curl(request: dict[str, Any], api_url: str) -> str:
    """The same request as a program would send it; no secret is in it."""
    fields = {name: value for name, value in request.items() if value not in (None, [], {}, "") and name != "labels"}
    for name in ("output_key", "wav2lip_output_key"):
        fields.pop(name, None)
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).replace("'", "'\\''")
    return (
        f"curl -X POST '{api_url}/run' \\\n  -H \"Authorization: Bearer $FF_API_SECRET\" \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d '{body}'"
    )


def _message(entry: ProgressEntry, said: Mapping[str, str]) -> str:
    """What is told at every step in the reader's language; what only another version of us says as it is."""
    if entry.message == f"Entered {entry.stage}.":
        return said[f"task.stage_{entry.stage.value}"]
    return said[MESSAGES[entry.message]] if entry.message in MESSAGES else entry.message


def _trouble_of(sight: Sight, language: Language) -> str | None:
    said = words(language)
    if sight.trouble is None:
        return None
    if sight.record is None:
        return said["task.unknown"] if sight.is_over else said["page.away"]
    return said["task.given_up"] if sight.is_over else said["task.reconnecting"]


def _stages(record: TaskRecord, language: Language) -> list[Shown]:
    said, request = words(language), record.request
    wanted = [
        stage
        for stage in _STAGES
        if not (stage is RecordStage.WAV2LIP and not request.get("audio_key"))
        and not (stage is RecordStage.FACEFUSION and not request.get("source_keys"))
    ]
    reached = _reached(record)
    place = wanted.index(reached) if reached in wanted else 0
    is_done = record.status is Status.COMPLETED
    shown = []
    for at, stage in enumerate(wanted):
        stands = "done" if is_done or at < place else "now" if at == place else "next"
        if stands == "now" and record.status in {Status.FAILED, Status.CANCELLED}:
            stands = "stopped"
        shown.append({"name": stage.value, "title": said[f"task.stage_{stage.value}"], "stands": stands})
    return shown


def _reached(record: TaskRecord) -> RecordStage:
    """The stage that a task is in, or was in when it ended."""
    if record.stage in _STAGES:
        return record.stage
    if record.error and record.error.stage in set(_STAGES):
        return RecordStage(record.error.stage)
    return next((entry.stage for entry in reversed(record.progress) if entry.stage in _STAGES), RecordStage.QUEUED)


def _error(record: TaskRecord, language: Language) -> Shown | None:
    if record.status is Status.CANCELLED:
        return None
    error = record.error
    if error is None:
        return None
    fault = Fault(code=error.error, detail=error.detail, stage=error.stage)
    sentence, blamed = advice(fault, language), _blamed(record, error.detail, words(language))
    return {
        "sentence": f"{blamed}: {sentence}" if blamed else sentence,
        "code": error.error.value,
        "is_retryable": error.retryable,
    }


def _blamed(record: TaskRecord, detail: str, said: Mapping[str, str]) -> str:
    """What the page calls the file whose key a fault names; empty when it names none of the task's."""
    request = record.request
    named = [
        (request.get("target_key"), said["video.title"]),
        (request.get("audio_key"), said["voice.title"]),
        *(
            (key, said["faces.source"].format(number=number))
            for number, key in enumerate(request.get("source_keys") or (), start=1)
        ),
    ]
    # One key may begin like another, and one file may be given in several places: all of them are said.
    longest = max((key for key, _ in named if key and key in detail), key=len, default=None)
    return ", ".join(title for key, title in named if longest is not None and key == longest)


def _log(record: TaskRecord) -> str:
    """What helps whoever is asked for help; nothing while there is nothing wrong."""
    log = record.details.get("log") or record.details.get("worker_log")
    lines = log if isinstance(log, list) else [log] if log else []
    detail = [record.error.detail] if record.error else []
    return "\n".join(str(line) for line in (*detail, *lines))


def _web_url(url: object) -> str | None:
    # It stands in a link: nothing but a web address may.
    return url if isinstance(url, str) and url.startswith(("http://", "https://")) else None
