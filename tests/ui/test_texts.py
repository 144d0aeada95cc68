"""Everything that the page says is said in both languages, and nothing that it asks for is missing."""

import re
from pathlib import Path
from string import Formatter

import pytest

import ui_panel
from gpu_tasks.contract.sentences import Language
from gpu_tasks.contract.tracks import FaceWarning
from ui_panel.text import TEXTS
from ui_panel.views_task import MESSAGES

ROOM = Path(ui_panel.__file__ or "").parent
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
# Names that are made of a value: `faces.${slot}` and the like; each stands for all names that begin so.
MADE = re.compile(r"""[`"'"]([a-z_]+\.[a-z_.]*)(?:\$\{|\{)""")
# The same from behind: `${slot}.drop`.
ENDED = re.compile(r"""\}(\.[a-z_]+)[`"]""")
PLAIN = re.compile(r"""(?:\bt\(|said\[)(?:[^'"`)\]]*\?\s*)?['"]([a-z_]+\.[a-z_0-9]+)['"]""")
# `Notice(code="sampled", ...)`
NOTICES = re.compile(r"""Notice\(\s*code="([a-z_]+)\"""")
NAMES = re.compile(r"""['"`]([a-z_]+\.[a-z_0-9.]+)['"`]""")


def sources() -> str:
    files = [*ROOM.glob("*.py"), *(ROOM / "components").glob("*.js")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def values_in(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_both_languages_say_the_same() -> None:
    assert set(TEXTS[Language.ENGLISH]) == set(TEXTS[Language.JAPANESE])


@pytest.mark.parametrize("name", TEXTS[Language.ENGLISH])
def test_a_text_tells_the_same_values_in_both_languages(name: str) -> None:
    english, japanese = (TEXTS[language][name] for language in (Language.ENGLISH, Language.JAPANESE))
    assert english
    assert values_in(english) == values_in(japanese)


def test_what_is_not_a_name_or_made_of_values_is_japanese() -> None:
    untranslated = {
        name
        for name, text in TEXTS[Language.JAPANESE].items()
        if not JAPANESE.search(text) and re.search(r"[a-z]{4}", re.sub(r"\{[^}]*\}", "", text).lower())
    }
    assert untranslated == {"page.title", "page.language"}


def test_every_text_that_is_asked_for_is_there() -> None:
    asked = set(PLAIN.findall(sources()))
    assert len(asked) > 100
    assert asked - set(TEXTS[Language.ENGLISH]) == set()


def test_every_text_is_asked_for() -> None:
    found = sources()
    named = set(NAMES.findall(found))
    beginnings = tuple(set(MADE.findall(found)))
    endings = tuple(set(ENDED.findall(found)))
    unused = {
        name
        for name in TEXTS[Language.ENGLISH]
        if name not in named and not name.startswith(beginnings) and not name.endswith(endings)
    }
    assert unused == set()


def test_whatever_the_service_warns_of_is_said_in_both_languages() -> None:
    flows = "\n".join(path.read_text(encoding="utf-8") for path in (ROOM.parent / "flows").glob("*.py"))
    codes = {*NOTICES.findall(flows), *FaceWarning}
    assert len(codes) > len(FaceWarning)
    assert {f"warning.{code}" for code in codes} - set(TEXTS[Language.ENGLISH]) == set()


def test_what_is_told_of_progress_is_what_flow_and_workers_say() -> None:
    rooms = (ROOM.parent / name for name in ("blocks", "flows", "gpu_tasks"))
    told = "\n".join(path.read_text(encoding="utf-8") for room in rooms for path in room.rglob("*.py"))
    assert [message for message in MESSAGES if f'"{message}"' not in told] == []
    assert all(named in TEXTS[language] for named in MESSAGES.values() for language in Language)
