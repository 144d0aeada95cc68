"""What the page shows of a result: the film under a name, how good it is, who signed it and what made it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gpu_tasks.contract.credentials import CredentialState
from gpu_tasks.contract.quality import REASON_SENTENCES, VERDICT_WORDS, Reason, Verdict
from gpu_tasks.contract.records import RecordStage, Status, TaskRecord
from gpu_tasks.contract.sentences import Language
from ui_panel.showing import length
from ui_panel.state import PageState, Work
from ui_panel.text import words

Shown = dict[str, Any]

# A frame of 25 a second: less is not seen.
_SEEN_LAG_MS: Final = 40
_UNSAFE: Final = re.compile(r"[^\w.\- ]+")


def name_of(request: dict[str, Any]) -> str:
    """What a person called the video; empty when a program made the request."""
    labels = request.get("labels") or {}
    return str(labels.get("name") or "")


def filename_of(record: TaskRecord) -> str:
    """A name for the downloaded file: what it was made from, and when."""
    stem = _UNSAFE.sub("_", name_of(record.request).rpartition(".")[0] or name_of(record.request)).strip(" ._")[:60]
    day = record.created_at.astimezone(UTC).strftime("%Y%m%d-%H%M")
    return f"{stem or 'lipswap'}-{day}.mp4"


def result(record: TaskRecord, state: PageState) -> Shown | None:
    """The film, and the target to compare it with; None where there is none."""
    made = record.result
    if made is None or record.status is not Status.COMPLETED:
        return None
    said = words(state.language)
    return {
        "url": made.presigned_url or made.output_url or made.public_url,
        "target_url": state.target_url,
        "seconds": made.duration_sec,
        "length": length(made.duration_sec, said),
        "bytes": made.bytes_uploaded,
        "filename": filename_of(record),
        "download": f"door/download/{record.task_id}",
        "starts_at": float((record.request.get("trim") or {}).get("start") or 0.0),
    }


def quality(record: TaskRecord, language: Language) -> Shown | None:
    """What the inspection found, in words; None where nothing was measured."""
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


def badge(record: TaskRecord, state: PageState) -> Shown | None:
    """Who signed the result, which models made it, and whether it was verified."""
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
