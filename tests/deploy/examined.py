"""`doctor --production`, as an operator calls it."""

import json
from pathlib import Path
from typing import Any

from tests.deploy.account import declared
from tests.deploy.commands import lipswap_process

PAGE = "https://page.example.com"


def examined(environment: dict[str, str], folder: Path, **changes: str) -> dict[str, tuple[str, str, str]]:
    """State, sentence and fix of each check."""
    file = declared(folder / "fleet.yaml", bucket__origins=[PAGE])
    arguments = ("doctor", "--production", "--json", "--file", file)
    output = lipswap_process(*arguments, environment=environment | changes).stdout
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return {one["check"]: (one["state"], one["found"], one["fix"] or "") for one in answer["findings"]}
