"""From a message to its text in a reader's language, and from the environment to that language."""

from collections.abc import Mapping

from deployments.wording.english import ENGLISH
from deployments.wording.japanese import JAPANESE
from deployments.wording.messages import Message
from gpu_tasks.contract.sentences import Language

TEXTS: Mapping[Language, Mapping[Message, str]] = {Language.ENGLISH: ENGLISH, Language.JAPANESE: JAPANESE}

# POSIX: the first of the last three that is set decides; ours goes before them.
_VARIABLES = ("LIPSWAP_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


def text(message: Message, language: Language, **values: object) -> str:
    """Return what a message says in a language, with its values in their places."""
    return TEXTS[language][message].format(**values)


def language_of(environment: Mapping[str, str]) -> Language:
    """Return the language that a person has set (`ja`, `ja_JP.UTF-8`, ...); English where it is none of ours."""
    chosen = next((value for name in _VARIABLES if (value := environment.get(name))), "")
    code = chosen.lower().replace("-", "_").partition("_")[0].partition(".")[0]
    return next((language for language in Language if language == code), Language.ENGLISH)
