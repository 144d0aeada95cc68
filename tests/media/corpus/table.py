"""The whole corpus, and how it is told in docs/media.md: `python -m tests.media.corpus.table` writes it there."""

from pathlib import Path

from gpu_tasks.contract.faults import FaultCode
from tests.media.corpus.broken_videos import REFUSED
from tests.media.corpus.intruders import Canary, intruders
from tests.media.corpus.pictures import PICTURES
from tests.media.corpus.sounds import SOUNDS
from tests.media.corpus.specimen import Verdict
from tests.media.corpus.videos import CONFORMING, NORMALISED

# Nobody listens there and nothing lies there; the tests of the gate name living canaries.
_NOBODY = Canary(file=Path("/nonexistent/canary.mp4"), address="http://127.0.0.1:9/segment.ts")
CORPUS = [*CONFORMING, *NORMALISED, *REFUSED, *SOUNDS, *PICTURES, *intruders(_NOBODY)]

DOCUMENT = Path(__file__).parents[3] / "docs" / "media.md"
BEGIN, END = "<!-- corpus: written by python -m tests.media.corpus.table -->", "<!-- corpus: end -->"


def markdown() -> str:
    """Return the table."""
    rows = [f"| {specimen.name} | {specimen.kind} | {_told(specimen.verdict)} |" for specimen in CORPUS]
    return "\n".join(["| file | as | the gate says |", "|---|---|---|", *rows])


def with_table(document: str) -> str:
    """Return a document with the table between its marks."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


def _told(verdict: Verdict) -> str:
    if isinstance(verdict, FaultCode):
        return f"refused: `{verdict}`"
    return ", ".join(sorted(f"`{kind}`" for kind in verdict)) or "used as it is"


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
