"""`lipswap samples`: harder targets to try things on."""

from pathlib import Path
from typing import Annotated, Final

import typer

from deployments.command.exits import told_errors, told_in
from deployments.samples.catalogue import Sample, make_sample
from deployments.wording.messages import Message

_ORIGINALS: Final = Path(__file__).parents[2] / "samples"


def samples(
    context: typer.Context, folder: Annotated[Path, typer.Argument(help="Where to put them.")] = Path("samples-made")
) -> None:
    """Make harder target videos from the bundled sample."""
    told = told_in(context)
    with told_errors(told):
        folder.mkdir(parents=True, exist_ok=True)
        for sample in Sample:
            told.say(Message.WROTE, path=make_sample(sample, folder / f"{sample}.mp4", _ORIGINALS))
