from pathlib import Path
from typing import NamedTuple, Self

from gpu_tasks.provenance.certificates import Signatory, Trust, load_signatory, load_trust
from gpu_tasks.provenance.settings import SigningSettings


class Party(NamedTuple):
    """Somebody with a development chain of their own."""

    settings: SigningSettings
    signatory: Signatory
    trust: Trust

    @classmethod
    def at(cls, folder: Path) -> Self:
        settings = SigningSettings(development=folder)
        return cls(settings, load_signatory(settings), load_trust(settings))
