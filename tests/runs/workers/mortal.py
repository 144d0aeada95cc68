"""The orchestrator worker, killed with -9 at the boundary that a file names, the first time it comes there.

`mortal.py FILE`: the file is removed at the death, so that the next worker lives.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.runs.boundaries import Boundary, place_of

_FILE = Path(sys.argv[1])


def _dying(boundary: Boundary, genuine: Callable[..., Any]) -> Callable[..., Any]:
    def pass_by() -> None:
        if _FILE.exists() and _FILE.read_text(encoding="utf-8") == boundary:
            _FILE.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(genuine)
    def plain(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # whatever it is given
        result = genuine(*args, **kwargs)
        pass_by()
        return result

    @functools.wraps(genuine)
    async def awaited(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the same
        result = await genuine(*args, **kwargs)
        pass_by()
        return result

    return awaited if boundary.is_awaited else plain


def main() -> None:
    """Change what stands at each boundary, then run as `python -m flows.worker` does."""
    for boundary in Boundary:
        owner, name = place_of(boundary)
        setattr(owner, name, _dying(boundary, getattr(owner, name)))
    from flows.worker import main as work  # noqa: PLC0415  # the same

    work()


# The processes of the CPU pool import this module again, under another name.
if __name__ == "__main__":
    main()
