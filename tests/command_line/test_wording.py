"""Everything is said in every language: each table is total, and each text has the same values in it."""

import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

import deployments.wording
from deployments.cli import command_line
from deployments.wording.help_japanese import HELP, japanese_of
from deployments.wording.messages import Message
from deployments.wording.speaking import TEXTS, language_of, text
from gpu_tasks.contract.sentences import Language

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
DEPLOYMENTS = Path(deployments.wording.__file__ or "").parents[1]
# Messages that stand for the members of another enum are named by it.
NAMED_BY_A_MEMBER = re.compile(r'Message\[f"([A-Z]+_)\{')


def values_in(words: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(words) if name}


@pytest.mark.parametrize("language", Language)
def test_every_message_has_a_text(language: Language) -> None:
    assert set(TEXTS[language]) == set(Message)
    assert all(TEXTS[language].values())


@pytest.mark.parametrize("message", Message)
def test_a_message_tells_the_same_values_and_commands_in_every_language(message: Message) -> None:
    english, japanese = (TEXTS[language][message] for language in (Language.ENGLISH, Language.JAPANESE))

    assert values_in(english) == values_in(japanese)
    assert set(re.findall(r"`[^`]+`", english)) == set(re.findall(r"`[^`]+`", japanese))
    assert english.count("|") == japanese.count("|")


def test_what_is_not_a_name_or_made_of_values_is_japanese() -> None:
    untranslated = {
        message
        for message, words in TEXTS[Language.JAPANESE].items()
        if not JAPANESE.search(words) and re.search(r"[a-z]{4}", re.sub(r"\{[^}]*\}", "", words).lower())
    }

    names = {
        "ADDRESS_PREFECT",
        "CHECK_PYTHON",
        "CHECK_POSTGRES",
        "CHECK_VALKEY",
        "CHECK_OBJECT_STORE",
        "CHECK_CHROMIUM",
        "CHECK_REDIS",
        "CHECK_PREFECT",
    }
    assert {message.name for message in untranslated} == names


def test_no_message_is_left_unsaid() -> None:
    code = "".join(
        path.read_text(encoding="utf-8") for path in DEPLOYMENTS.rglob("*.py") if path.parent.name != "wording"
    )
    groups = tuple(NAMED_BY_A_MEMBER.findall(code))

    unsaid = {m.name for m in Message if not re.search(rf"Message\.{m.name}\b", code) and not m.name.startswith(groups)}

    assert unsaid == set()


def test_a_message_is_told_with_its_values() -> None:
    assert text(Message.STACK_IS_UP, Language.ENGLISH, seconds=2.04) == "The stack is up after 2.0 s."
    assert text(Message.STACK_IS_UP, Language.JAPANESE, seconds=2.04) == "スタックが起動しました（2.0 秒）。"  # noqa: RUF001  # Japanese


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, Language.ENGLISH),
        ({"LANG": "ja_JP.UTF-8"}, Language.JAPANESE),
        ({"LANG": "ja_JP.UTF-8", "LC_MESSAGES": "C"}, Language.ENGLISH),
        ({"LC_MESSAGES": "ja.UTF-8", "LANG": "de_DE"}, Language.JAPANESE),
        ({"LC_ALL": "en_GB", "LC_MESSAGES": "ja_JP", "LANG": "ja_JP"}, Language.ENGLISH),
        ({"LIPSWAP_LANG": "ja", "LC_ALL": "C.UTF-8"}, Language.JAPANESE),
        ({"LIPSWAP_LANG": "", "LANG": "ja-JP"}, Language.JAPANESE),
        ({"LANG": "jam"}, Language.ENGLISH),
        ({"LANG": "fr_FR.UTF-8"}, Language.ENGLISH),
    ],
)
def test_the_language_is_the_one_of_the_environment(environment: dict[str, str], language: Language) -> None:
    assert language_of(environment) is language


def places(command: Any, path: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401  # click's types are not public
    """Every help text of a command and what is in it: path, and parameter or nothing."""
    yield path, ""
    yield from ((path, each.name) for each in command.params if getattr(each, "help", None) is not None)
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from places(command.get_command(None, name), f"{path} {name}".strip())


def test_every_help_is_there_in_japanese_and_nothing_else() -> None:
    asked = list(places(command_line(Language.ENGLISH)))

    missing = {place for place in asked if (japanese_of(*place) if place[1] else HELP.get(place[0])) is None}
    used = {path for path, _ in asked} | {f"{path}.{name}" for path, name in asked} | {f"*.{name}" for _, name in asked}

    assert missing == set()
    assert set(HELP) <= used
    assert all(JAPANESE.search(words) for words in HELP.values())
