"""The OpenAPI document against the service: whatever it allows is answered as it says, and nothing breaks.

`make test` tries a few dozen requests of each route, `make fuzz` hundreds; the report is left where FUZZ_REPORT says.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.api.fuzz_report import summary
from tests.api.shim import Environment, shim_process

QUICK = ("--max-examples=5", "--generation-deterministic", "--no-shrink", "--phases=examples,fuzzing,stateful")
# Side by side, each a process: in threads of one process Python 3.11 trips over the depth of schemathesis' own code.
PARTS = ("examples,coverage,fuzzing", "stateful")
CONFIG = Path(__file__).with_name("schemathesis.toml")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
# Nobody plays the flows here: neither a question nor a task is worth its whole deadline, and there are thousands.
WAIT_SECONDS = "0.05"


@pytest.fixture(scope="module")
def protected(
    environment: Environment, secret: SecretStr, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """A shim that asks for a secret, and its log."""
    asked = {"FF_API_SECRET": secret.get_secret_value(), "LIPSWAP_API_MAX_ANSWER_SECONDS": WAIT_SECONDS}
    asked["LIPSWAP_API_MAX_WAIT_SECONDS"] = WAIT_SECONDS
    # Whoever has seen the newest record hears nothing but this.
    asked["LIPSWAP_API_HEARTBEAT_SECONDS"] = WAIT_SECONDS
    with shim_process({**environment, **asked}, tmp_path_factory.mktemp("fuzzed")) as running:
        yield running


@pytest.mark.usefixtures("keys")
def test_a_few_requests_of_every_route_are_answered_as_documented(
    protected: tuple[str, Path], secret: SecretStr, tmp_path: Path
) -> None:
    _fuzz(protected, secret, tmp_path, *QUICK)


@pytest.mark.fuzz
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("keys")
def test_many_requests_of_every_route_are_answered_as_documented(
    protected: tuple[str, Path], secret: SecretStr, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = f"--max-examples={os.environ.get('FUZZ_EXAMPLES', '300')}"
    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(_fuzz, protected, secret, tmp_path, examples, f"--phases={part}") for part in PARTS]
        reports = [each.result() for each in running]
    tables = summary(sorted(tmp_path.glob("*.ndjson")))
    report = "\n".join([*reports, f"{time.monotonic() - begun:.0f} seconds in all", "", tables])
    with capsys.disabled():
        print(f"\n{report}")  # noqa: T201  # the report is the output
    if path := os.environ.get("FUZZ_REPORT"):
        Path(path).write_text(report, encoding="utf-8")


def _fuzz(shim: tuple[str, Path], secret: SecretStr, folder: Path, *options: str) -> str:
    """Run schemathesis with all its checks; returns its report. Its events are left in the folder."""
    url, log = shim
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".ndjson", delete=False) as events:
        pass
    command = [
        str(SCHEMATHESIS),
        f"--config-file={CONFIG}",
        "run",
        f"{url}/openapi.json",
        "--checks=all",
        "--continue-on-failure",
        "--request-timeout=60",
        "--suppress-health-check=all",
        "--no-color",
        f"--header=Authorization: Bearer {secret.get_secret_value()}",
        f"--report-ndjson-path={events.name}",
        *options,
    ]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=3000)
    report = ran.stdout.replace(secret.get_secret_value(), "***")
    assert ran.returncode == 0, report[-20_000:] + ran.stderr[-2000:]
    said = log.read_text()
    assert not re.search(r"Traceback|\" 5(?!04)\d\d", said), said[-5000:]
    return report
