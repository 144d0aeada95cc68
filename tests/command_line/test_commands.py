"""What all commands have in common: exit codes, languages, options spelt once, and living without a package."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployments.cli import command_line
from gpu_tasks.contract.sentences import Language
from tests.command_line.terminal import SPEECH, TARGET, typed

FAILED, USAGE, UNREACHABLE = 1, 2, 4
NOWHERE = ("--api", "http://127.0.0.1:9")


def options_of(name: str) -> dict[str, Any]:
    command = command_line(Language.ENGLISH).get_command(None, name)
    return {option.name: (option.opts, option.envvar, option.default, option.help) for option in command.params}


def test_commands_that_ask_the_api_say_where_it_is_in_one_way() -> None:
    shared = [
        {name: options_of(command)[name] for name in ("data", "api", "secret", "as_json")}
        for command in ("run", "status", "cancel")
    ]

    assert shared[0] == shared[1] == shared[2]
    assert shared[0]["api"][:2] == (["--api"], "FF_API_BASE_URL")


@pytest.mark.parametrize("arguments", [("run",), ("status",), ("nonsense",), ("up", "--part", "nothing")])
def test_wrong_usage_has_its_own_exit_code(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = typed(tmp_path, *arguments)

    assert done.returncode == USAGE
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--target", str(TARGET), "--audio", str(SPEECH)),
        ("status", "00000000-0000-0000-0000-000000000000"),
        ("cancel", "00000000-0000-0000-0000-000000000000"),
    ],
)
def test_an_api_that_is_not_there_is_said_in_the_readers_language(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = typed(tmp_path, *arguments, *NOWHERE, language="ja")

    assert done.returncode == UNREACHABLE
    assert "API に接続できません" in done.stderr


def test_a_fault_is_told_in_the_readers_language_and_to_programs_in_english(tmp_path: Path) -> None:
    done = typed(tmp_path, "run", "--target", "nowhere.mp4", "--json", *NOWHERE, language="ja")

    assert done.returncode == FAILED
    assert "このキーのオブジェクトがありません" in done.stderr
    assert json.loads(done.stdout)["detail"].startswith("There is no object under this key")


def test_settings_that_do_not_fit_are_a_sentence(tmp_path: Path) -> None:
    done = typed(tmp_path, "verify", str(TARGET), LIPSWAP_C2PA_CHAIN="chain.pem")

    assert done.returncode == FAILED
    assert "LIPSWAP_C2PA_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bucket_that_nobody_names_is_asked_for(tmp_path: Path) -> None:
    done = typed(tmp_path, "ledger", R2_ENDPOINT="")

    assert done.returncode == FAILED
    assert "R2_ENDPOINT: Field required" in done.stderr
    assert "lipswap up" in done.stderr


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = typed(tmp_path, "--help", language="ja")

    assert done.returncode == 0
    for name in ("demo", "up", "run", "status", "cancel", "preview", "verify", "models", "doctor"):
        assert f"  {name} " in done.stdout


def without(package: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in an interpreter that has no such package."""
    program = f"import sys; sys.modules[{package!r}] = None; from deployments.cli import main; main()"
    return subprocess.run(
        (sys.executable, "-c", program, *arguments),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_a_missing_package_stops_only_the_commands_that_need_it(tmp_path: Path) -> None:
    refused = without("c2pa", tmp_path, "verify", str(TARGET), "--json")

    assert refused.returncode == UNREACHABLE
    assert "c2pa" in refused.stderr
    assert "lipswap doctor" in refused.stderr
    assert without("c2pa", tmp_path, "models", "list").returncode == 0
    assert without("c2pa", tmp_path, "--help").returncode == 0
