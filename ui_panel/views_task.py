"""What the page shows of a task: where it stands, what came out, and what can be done with it."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gpu_tasks.contract.credentials import CredentialState
from gpu_tasks.contract.faults import Fault
from gpu_tasks.contract.quality import REASON_SENTENCES, VERDICT_WORDS, Reason, Verdict
from gpu_tasks.contract.records import ProgressEntry, RecordStage, Status, TaskRecord
from gpu_tasks.contract.sentences import Language
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
# A frame of 25 a second: less is not seen.
_SEEN_LAG_MS: Final = 40
_UNSAFE: Final = re.compile(r"[^\w.\- ]+")


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
        "name": name_of(request),
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
        "result": _result(record, state),
        "quality": _quality(record, state.language),
        "badge": _badge(record, state),
        "curl": curl(request, api_url),
        "may": {
            "cancel": not record.status.is_final and Route.CANCEL not in state.lacks,
            "again": record.status.is_final and state.offers(Route.RERUN),
            "change": record.status.is_final,
            "delete": record.status.is_final and state.offers(Route.DELETE),
            "verify": record.result is not None and state.offers(Route.VERIFY),
        },
    }


def name_of(request: dict[str, Any]) -> str:
    """What a person called the video; empty when a program made the request."""
    labels = request.get("labels") or {}
    return str(labels.get("name") or "")


def filename_of(record: TaskRecord) -> str:
    """A name for the downloaded file: what it was made from, and when."""
    stem = _UNSAFE.sub("_", name_of(record.request).rpartition(".")[0] or name_of(record.request)).strip(" ._")[:60]
    day = record.created_at.astimezone(UTC).strftime("%Y%m%d-%H%M")
    return f"{stem or 'lipswap'}-{day}.mp4"


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
    titles = {
        request.get("target_key"): said["video.title"],
        request.get("audio_key"): said["voice.title"],
        **{
            key: said["faces.source"].format(number=number)
            for number, key in enumerate(request.get("source_keys") or (), start=1)
        },
    }
    return next((title for key, title in titles.items() if key and key in detail), "")


def _log(record: TaskRecord) -> str:
    """What helps whoever is asked for help; nothing while there is nothing wrong."""
    log = record.details.get("log") or record.details.get("worker_log")
    lines = log if isinstance(log, list) else [log] if log else []
    detail = [record.error.detail] if record.error else []
    return "\n".join(str(line) for line in (*detail, *lines))


def _web_url(url: object) -> str | None:
    # It stands in a link: nothing but a web address may.
    return url if isinstance(url, str) and url.startswith(("http://", "https://")) else None


def _result(record: TaskRecord, state: PageState) -> Shown | None:
    result = record.result
    if result is None or record.status is not Status.COMPLETED:
        return None
    said = words(state.language)
    return {
        "url": result.presigned_url or result.output_url or result.public_url,
        "target_url": state.target_url,
        "seconds": result.duration_sec,
        "length": length(result.duration_sec, said),
        "bytes": result.bytes_uploaded,
        "filename": filename_of(record),
        "download": f"door/download/{record.task_id}",
        "starts_at": float((record.request.get("trim") or {}).get("start") or 0.0),
    }


def _quality(record: TaskRecord, language: Language) -> Shown | None:
    report = record.details.get("quality")
    if not isinstance(report, dict) or report.get("verdict") not in set(Verdict):
        return None
    verdict = Verdict(report["verdict"])
    reasons = [Reason(name) for name in report.get("reasons", ()) if name in set(Reason)]
    return {
        "verdict": verdict.value,
        "word": VERDICT_WORDS[language][verdict],
        "reasons": [REASON_SENTENCES[language][reason] for reason in reasons],
        "figures": _figures(report, words(language)),
    }


def _figures(report: dict[str, Any], said: Mapping[str, str]) -> list[str]:
    figures = []
    lips = report.get("lip_sync") or {}
    if isinstance(lips.get("correlation"), int | float):
        figures.append(said["quality_report.lips"].format(percent=round(100 * max(0.0, lips["correlation"]))))
    lag = lips.get("best_lag_ms")
    if isinstance(lag, int | float):
        apart = "lag" if lag > 0 else "lead"
        name = f"quality_report.{apart if abs(lag) >= _SEEN_LAG_MS else 'together'}"
        figures.append(said[name].format(ms=round(abs(lag))))
    identity = (report.get("identity") or {}).get("toward_source")
    if isinstance(identity, int | float):
        figures.append(said["quality_report.identity"].format(percent=round(100 * max(0.0, min(1.0, identity)))))
    flicker = (report.get("flicker") or {}).get("ratio")
    if isinstance(flicker, int | float):
        figures.append(said["quality_report.flicker"].format(ratio=f"{flicker:.1f}"))
    outside = (report.get("outside") or {}).get("psnr_db")
    if isinstance(outside, int | float):
        figures.append(said["quality_report.outside"].format(db=round(outside)))
    seen = report.get("faces") or {}
    if seen.get("frames_looked_at"):
        share = round(100 * seen.get("frames_with_face", 0) / seen["frames_looked_at"])
        figures.append(said["quality_report.faces"].format(percent=share))
    return figures


def _badge(record: TaskRecord, state: PageState) -> Shown | None:
    if record.result is None:
        return None
    signed = record.provenance.get("signed") or {}
    models = []
    for stage in (RecordStage.WAV2LIP, RecordStage.FACEFUSION):
        receipt = record.provenance.get(stage.value)
        if isinstance(receipt, dict):
            revisions = receipt.get("model_revisions") or {}
            engine = receipt.get("engine")
            models.append({"stage": stage.value, "engine": engine, "models": sorted(map(str, revisions))})
    return {
        "is_signed": bool(signed),
        "models": models,
        "is_verifying": Work.VERIFY in state.busy,
        "verdict": _verdict(state),
    }


def _verdict(state: PageState) -> Shown | None:
    verdict, said = state.verdict, words(state.language)
    if verdict is None:
        return None
    signer = verdict.signer.name if verdict.signer else said["badge.unknown_signer"]
    sentence = said[f"badge.{verdict.state.value}"].format(signer=signer)
    return {
        "state": verdict.state.value,
        "is_good": verdict.state is CredentialState.TRUSTED,
        "sentence": sentence,
        "note": said["badge.development"] if verdict.signer and verdict.signer.is_development else "",
        "signed_at": verdict.signed_at.astimezone(UTC).isoformat() if isinstance(verdict.signed_at, datetime) else None,
    }
