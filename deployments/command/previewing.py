"""`lipswap preview`: a frame or three seconds of the draft result, without any stack."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from deployments.command.exits import told_errors, told_in
from deployments.command.options import DEFAULT_DATA, AsJson, Data
from deployments.command.verifying import signing_settings
from deployments.preview.making import make_preview
from deployments.preview.planning import PreviewOrder
from deployments.wording.messages import Message
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.provenance.certificates import load_signatory


def preview(
    context: typer.Context,
    target: Annotated[Path, typer.Option("--target", help="Target video.")],
    audio: Annotated[Path | None, typer.Option("--audio", help="Driving audio; without it, face swap only.")] = None,
    source: Annotated[list[Path] | None, typer.Option("--source", help="Source face, may be given again.")] = None,
    out: Annotated[Path, typer.Option("--out", help="A clip (.mp4), or one frame (.png, .jpg).")] = Path("preview.mp4"),
    at: Annotated[
        float | None, typer.Option("--at", min=0, help="Second of the result; else where the mouth opens widest.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.04, max=10, help="Length of a clip.")] = 3.0,
    sync_mode: Annotated[
        SyncMode, typer.Option("--sync-mode", help="When audio and target differ in length.")
    ] = SyncMode.LOOP,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Show a frame or a few seconds of the draft result at once: no stack, no GPU, signed as an AI-made preview."""
    told = told_in(context)
    began = time.monotonic()
    with told_errors(told, as_json=as_json):
        order = PreviewOrder(
            target=target,
            audio=audio,
            sources=tuple(source or ()),
            destination=out,
            at=at,
            seconds=seconds,
            sync_mode=sync_mode,
        )
        made = make_preview(order, load_signatory(signing_settings(data)))
    for what, report in made.reports.items():
        if not report.conforms:
            changes = " ".join(change.sentence for change in report.changes)
            told.say(Message.PREVIEW_CHANGED, what=what, changes=changes)
    told.say(
        Message.PREVIEW_MADE,
        path=made.path,
        frames=made.frame_count,
        start=made.start_seconds,
        seconds=time.monotonic() - began,
        style="green",
    )
    if as_json:
        sys.stdout.write(made.model_dump_json() + "\n")
