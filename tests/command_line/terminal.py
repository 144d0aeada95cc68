"""A command as a person types it: a process of its own, in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

LIPSWAP = str(Path(sys.executable).with_name("lipswap"))
SAMPLES = Path(__file__).parents[2] / "samples"
SPEECH, TARGET, SOURCE = SAMPLES / "speech.wav", SAMPLES / "target.mp4", SAMPLES / "source.jpg"
# What a person may have set, and what would change what these tests see.
_PERSONAL = ("LIPSWAP_", "FF_", "LC_", "LANG", "COLUMNS")
_SECONDS = 180.0


def typed(folder: Path, *arguments: str, language: str = "en", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `lipswap` with these arguments in a folder; return what it wrote and its exit code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PERSONAL)}
    return subprocess.run(
        (LIPSWAP, *arguments),
        cwd=folder,
        env=kept | {"LIPSWAP_LANG": language, "COLUMNS": "200"} | variables,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_SECONDS,
        check=False,
    )
