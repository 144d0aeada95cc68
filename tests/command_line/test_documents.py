"""What the documents name is there: commands with their options, make targets, modules, services, files, variables."""

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from api_shim.settings import ShimSettings
from deployments.bucket.keys import CloudflareSettings
from deployments.cli import command_line
from deployments.fleet.settings import AccountSettings
from gpu_tasks.contract.sentences import Language
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.settings import WeightSettings, WorkerSettings
from tests.deploy.variables import variables_of
from ui_panel.settings import PageSettings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "samples").glob("*.md")))
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=[str(each.relative_to(ROOT)) for each in DOCUMENTS])
OURS = ("api_shim", "blocks", "deployments", "flows", "gpu_tasks", "tests", "ui_panel")
SETTINGS = (
    *(ShimSettings, SigningSettings, WeightSettings, WorkerSettings),
    *(FaceSwapSettings, PageSettings, AccountSettings, CloudflareSettings),
)
VARIABLE = re.compile(
    r"\b(?:AAD|CLOUDFLARE|FF|JOBSTORE|LIPSWAP|OTEL|PANEL|PREFECT|R2|RUNPOD)_[A-Z0-9_]*[A-Z0-9]\b(?!_)"
)
# Other programs' own: of the OAuth library, of Prefect, and of whoever collects traces.
OTHERS = {"PANEL_OAUTH_KEY", "PREFECT_API_KEY", "PREFECT_SERVER_ENCRYPTION_KEY"}


def commands_in(document: Path) -> Iterator[str]:
    """Each command of the document, in a block of its own or inside a sentence, on one line."""
    text = document.read_text(encoding="utf-8")
    for block in re.findall(r"```(?:console|sh|bash|shell)\n(.*?)```", text, re.DOTALL):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            yield line.strip().removeprefix("$ ")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from (" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose))


def words_of(command: str) -> list[str]:
    """The words of a command; brackets around what may be left out are none of them."""
    plain = re.sub(r"[\[\]]", " ", command)
    try:
        return shlex.split(plain, comments=True)
    except ValueError:  # an apostrophe in what stands behind it
        return plain.partition("#")[0].split()


def wrong_in(words: list[str]) -> str | None:
    """Why `lipswap` with these words could not be called; positional words are anybody's."""
    command: Any = command_line(Language.ENGLISH)
    path, rest = ["lipswap"], list(words)
    while hasattr(command, "list_commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        command = command.get_command(None, name)
        path.append(name)
        if command is None:
            return f"{' '.join(path)} is no command"
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
    return f"{' '.join(path)} has no {', '.join(unknown)}" if unknown else None


@each_document
def test_commands_and_their_options_are_there(document: Path) -> None:
    called = [
        words_of(command) for command in commands_in(document) if re.match(r"(?:\.venv/bin/)?lipswap(?: |$)", command)
    ]

    assert [wrong for words in called if (wrong := wrong_in(words[1:]))] == []


def test_a_command_that_is_not_there_would_be_found() -> None:
    assert wrong_in(["deploy", "plan", "--file", "mine.yaml"]) is None
    assert wrong_in(["deploy", "plans"]) == "lipswap deploy plans is no command"
    assert wrong_in(["doctor", "--prod"]) == "lipswap doctor has no --prod"


@each_document
def test_make_has_the_targets(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = [words_of(command) for command in commands_in(document) if command.startswith("make ")]

    assert {words[1] for words in asked if re.fullmatch("[a-z-]+", words[1])} - targets == set()


@each_document
def test_modules_that_are_to_be_run_are_there(document: Path) -> None:
    found = re.findall(r"python -m ([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)", document.read_text(encoding="utf-8"))

    assert [name for name in found if find_spec(name) is None] == []


@each_document
def test_services_that_are_to_be_run_or_looked_at_are_there(document: Path) -> None:
    services = yaml.safe_load((ROOT / "deployments" / "compose" / "compose.yaml").read_text(encoding="utf-8"))[
        "services"
    ]
    verbs = r"(?:run --rm|logs(?: --tail \d+)?|ps|exec --no-TTY)"
    asked = re.findall(rf"docker compose {verbs} ([a-z-]+)", document.read_text(encoding="utf-8"))

    assert set(asked) - set(services) == set()


@each_document
def test_files_that_are_linked_or_named_are_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    linked = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    named = [
        span
        for span in re.findall(r"`([\w./-]+\.(?:py|toml|yaml|sh|md))`", text)
        if span.split("/")[0] in (*OURS, "docs")
    ]

    assert [link for link in linked if link and not (document.parent / link).exists()] == []
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.fixture(scope="module")
def read_somewhere() -> set[str]:
    """Variables of settings, and those that a program, a makefile or a container names."""
    sources = [path for folder in OURS for path in (ROOT / folder).rglob("*.py") if path != Path(__file__)]
    sources += [ROOT / "Makefile", *(ROOT / "deployments" / "images").glob("*.Dockerfile")]
    written = {name for path in sources for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    return written | {name for kind in SETTINGS for name in variables_of(kind)} | OTHERS


@each_document
def test_variables_are_read_by_somebody(document: Path, read_somewhere: set[str]) -> None:
    text = document.read_text(encoding="utf-8")
    # NAME_{A,B}_END stands for two names.
    both = re.compile(r"([A-Z0-9_]*)\{([A-Z0-9_]+),([A-Z0-9_]+)\}([A-Z0-9_]*)")
    text = both.sub(lambda found: f"{found[1]}{found[2]}{found[4]} {found[1]}{found[3]}{found[4]}", text)
    named = {
        re.sub("_(?:FILE|BLOCK)$", "", name) if name != "LIPSWAP_FILE" else name for name in VARIABLE.findall(text)
    }

    assert named - read_somewhere == set()
