"""`lipswap inspect`: how good a video is, by numbers and in words, with a page to look at.

Exit codes: 0 good or doubtful, 1 poor or not measurable.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from deployments.command.exits import Exit, settings_of, told_errors, told_in
from deployments.command.options import AsJson
from deployments.console import Told
from deployments.wording.messages import Message
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.contract.quality import REASON_SENTENCES, VERDICT_WORDS, QualityReport, Thresholds, Verdict
from gpu_tasks.draft.models import face_models
from gpu_tasks.media.gate import admit_audio, admit_picture, admit_video
from gpu_tasks.media.limits import GatePolicy, MediaLimits
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.quality.inspection import inspect_video
from gpu_tasks.quality.page import page
from gpu_tasks.quality.rows import rows
from gpu_tasks.settings import QualitySettings

_COLOURS = {Verdict.GOOD: "green", Verdict.DOUBTFUL: "yellow", Verdict.POOR: "red"}


def inspect(
    context: typer.Context,
    result: Annotated[Path, typer.Argument(help="The video to judge.")],
    target: Annotated[Path | None, typer.Option("--target", help="The video that it was made of.")] = None,
    audio: Annotated[Path | None, typer.Option("--audio", help="The driving audio.")] = None,
    source: Annotated[list[Path] | None, typer.Option("--source", help="A source face, may be given again.")] = None,
    sync_mode: Annotated[
        SyncMode, typer.Option("--sync-mode", help="How target and audio of different lengths were brought together.")
    ] = SyncMode.LOOP,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots and pictures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how good a result is: lips against voice, identity, flicker, what changed outside the face."""
    told = told_in(context)
    with told_errors(told, as_json=as_json):
        settings = settings_of(QualitySettings)
        with tempfile.TemporaryDirectory(prefix="lipswap-inspect-") as folder:
            inputs = _let_in(Path(folder), result, target, audio, source or [])
            detector = face_models().detector
            inspection = inspect_video(
                result,
                detector,
                target=inputs.target,
                audio=inputs.audio,
                sources=inputs.sources,
                sync_mode=sync_mode,
                thresholds=settings,
            )
            if html is not None:
                html.write_text(page(inspection, result, detector, settings, told.language), encoding="utf-8")
    _tell(inspection.report, settings, told)
    if html is not None:
        told.say(Message.WROTE, path=html)
    if as_json:
        sys.stdout.write(inspection.report.model_dump_json() + "\n")
    raise typer.Exit(Exit.FAILED if inspection.report.verdict is Verdict.POOR else Exit.DONE)


class _Inputs(NamedTuple):
    target: Path | None
    audio: Path | None
    sources: list[Path]


def _let_in(folder: Path, result: Path, target: Path | None, audio: Path | None, sources: list[Path]) -> _Inputs:
    """Take the inputs as a run does: turned upright, with square pixels and a steady rate, or they fit no result."""
    limits, policy = MediaLimits(), GatePolicy()

    def room(name: str) -> Path:
        made = folder / name
        made.mkdir()
        return made

    return _Inputs(
        target and _fitting(result, target, admit_video(target, limits, policy, work_dir=room("target")).path),
        audio and admit_audio(audio, limits, policy, work_dir=room("audio")).path,
        [admit_picture(path, limits, work_dir=room(f"source-{place}")).path for place, path in enumerate(sources)],
    )


def _fitting(result: Path, target: Path, let_in: Path) -> Path:
    """Choose the target as a run takes it, or as handed in where only that fits: other makers square no pixels."""
    sizes = {path: _size(path) for path in (result, target, let_in)}
    return target if sizes[let_in] != sizes[result] and sizes[target] == sizes[result] else let_in


def _size(path: Path) -> tuple[int, int]:
    with VideoReader(path) as reader:
        return reader.info.width, reader.info.height


def _tell(report: QualityReport, limits: Thresholds, told: Told) -> None:
    language = told.language
    told.line(VERDICT_WORDS[language][report.verdict], style=_COLOURS[report.verdict])
    for reason in report.reasons:
        told.line(f"- {REASON_SENTENCES[language][reason]}")
    for row in rows(report, limits, language):
        goal = f"  [{row.goal}]" if row.goal else ""
        told.line(f"{row.name}: {row.value}{goal}", style="" if row.is_good is not False else "yellow")
