"""Options that several commands have, each spelt once."""

from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_DATA: Final = Path(".lipswap")
DEFAULT_API: Final = "http://127.0.0.1:8000"

Data = Annotated[
    Path, typer.Option("--data", envvar="LIPSWAP_DATA", help="Where the local stack keeps everything it has.")
]
Api = Annotated[
    str | None,
    typer.Option(
        "--api", envvar="FF_API_BASE_URL", help=f"Address of the API; else the local stack's, or {DEFAULT_API}."
    ),
]
Secret = Annotated[
    str | None, typer.Option("--secret", envvar="FF_API_SECRET", help="The API's secret, where it has one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON on standard output.")]
Timeout = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for the end.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Folder of the models' files; else LIPSWAP_WEIGHTS, or .lipswap/weights."),
]
File = Annotated[
    Path, typer.Option("--file", envvar="LIPSWAP_FILE", help="The declaration; else the one that comes with lipswap.")
]
