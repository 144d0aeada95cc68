"""What is installed: Python, packages, codecs and the bundled models. Nothing optional is imported at the top."""

import platform
import re
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from deployments.doctor.findings import Check, Finding, fine, problem
from deployments.wording.messages import Message
from gpu_tasks.contract.faults import FaultError
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.settings import WeightSettings
from gpu_tasks.weights import open_weights

_SUPPORTED: Final = ((3, 11), (3, 12))
_DISTRIBUTION: Final = "lipswap"
# What the stack of a laptop is made of; see pyproject.
_EXTRAS: Final = frozenset({"local", "worker", "wav2lip", "facefusion", "orchestrator", "api"})
_ENCODERS: Final = ("libx264", "aac")
_REQUIREMENT: Final = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)")
_EXTRA: Final = re.compile(r"""extra == ['"](?P<extra>[^'"]+)['"]""")


def look_at_python() -> Finding:
    """Whether this interpreter is one that we know."""
    values = {"version": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    if sys.version_info[:2] in _SUPPORTED and platform.python_implementation() == "CPython":
        return fine(Check.PYTHON, Message.PYTHON_IS, **values)
    return problem(Check.PYTHON, Message.PYTHON_IS, Message.PYTHON_FIX, **values)


def look_at_packages(names: frozenset[str]) -> Finding:
    """Whether these distributions are installed."""
    if missing := sorted(name for name in names if not is_installed(name)):
        return problem(
            Check.PACKAGES,
            Message.PACKAGES_MISSING,
            Message.PACKAGES_FIX,
            names=", ".join(missing),
            environment=sys.prefix,
        )
    return fine(Check.PACKAGES, Message.PACKAGES_THERE, count=len(names))


def needed_packages() -> frozenset[str]:
    """Return the distributions that this distribution requires for a laptop."""
    names = set()
    for requirement in requires(_DISTRIBUTION) or ():
        named, extra = _REQUIREMENT.match(requirement), _EXTRA.search(requirement)
        if named and (extra is None or extra["extra"] in _EXTRAS):
            names.add(re.split(r"\[", named["name"])[0])
    return frozenset(names - {_DISTRIBUTION})


def is_installed(name: str) -> bool:
    """Tell whether a distribution is installed, whatever its version."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def look_at_codecs(*, encoders: tuple[str, ...] = _ENCODERS) -> Finding:
    """Whether results can be encoded."""
    try:
        codecs = import_module("av.codec")
        known: frozenset[str] = frozenset(codecs.codecs_available)
    except ImportError:
        known = frozenset()
    if missing := [name for name in encoders if name not in known]:
        return problem(
            Check.CODECS, Message.CODECS_MISSING, Message.REINSTALL_FIX, names=", ".join(missing), package="av"
        )
    return fine(Check.CODECS, Message.CODECS_THERE)


def look_at_models() -> Finding:
    """Whether the bundled models are the ones that the manifest names."""
    weights = open_weights(WeightSettings(weights=Path(".lipswap/weights")))
    bundled = [name for name, entry in manifest().models.items() if entry.bundled]
    wrong = []
    for name in bundled:
        try:
            weights.verify(name)
        except FaultError:
            wrong.append(name)
    if wrong:
        return problem(
            Check.MODELS, Message.MODELS_WRONG, Message.REINSTALL_FIX, names=", ".join(wrong), package=_DISTRIBUTION
        )
    return fine(Check.MODELS, Message.MODELS_RIGHT, count=len(bundled))
