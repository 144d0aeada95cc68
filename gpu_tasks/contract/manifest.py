"""The model manifest: what may run, its origin and licence, and the revisions that enter fingerprints."""

import tomllib
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from gpu_tasks.contract.artifacts import Digest
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, Stage
from gpu_tasks.contract.options import EngineChoice

# A revision is readable in the Prefect UI: twelve digits of a digest tell two weights apart.
_REVISION_DIGITS = 12


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelEntry(_Model):
    """One weights file. `bundled` files lie beside their engine, the others are fetched from `url`."""

    file: str
    bundled: bool = False
    url: str | None = None
    vendor: str
    licence: str
    commercial_use: bool
    sha256: Digest
    size_bytes: int = Field(gt=0)

    @property
    def revision(self) -> str:
        return self.sha256[:_REVISION_DIGITS]


class EngineStage(_Model):
    code_revision: str
    models: tuple[str, ...]


class Manifest(_Model):
    models: dict[str, ModelEntry]
    engines: dict[Engine, dict[Stage, EngineStage]]

    def revisions(self, engine: Engine, stage: Stage) -> dict[str, str]:
        """Code and model revisions of an engine in a stage, by name.

        Raises:
            FaultError: ENGINE_UNAVAILABLE when the engine has nothing for the stage.
        """
        entry = self.engines.get(engine, {}).get(stage)
        if entry is None:
            raise FaultError(FaultCode.ENGINE_UNAVAILABLE, f"There is no {engine} engine for {stage}.")
        return {f"{engine}-{stage}": entry.code_revision} | {
            name: self.models[name].revision for name in sorted(entry.models)
        }


@cache
def manifest() -> Manifest:
    """Return the manifest that this version of the code was released with."""
    text = files("gpu_tasks.contract").joinpath("models.toml").read_text(encoding="utf-8")
    return Manifest.model_validate(tomllib.loads(text))


def resolve_engine(choice: EngineChoice, *, draft_allowed: bool) -> Engine:
    """Decide which engine computes a request; `auto` is neural where there are models, draft only where allowed.

    Raises:
        FaultError: ENGINE_UNAVAILABLE with the reason; there is no silent fallback.
    """
    has_neural = bool(manifest().engines.get(Engine.NEURAL))
    if choice is not EngineChoice.DRAFT and has_neural:
        return Engine.NEURAL
    if choice is EngineChoice.NEURAL:
        raise FaultError(FaultCode.ENGINE_UNAVAILABLE, "No neural models are installed; ask for engine=draft.")
    if not draft_allowed:
        raise FaultError(
            FaultCode.ENGINE_UNAVAILABLE, "The draft engine is switched off here; set LIPSWAP_ALLOW_DRAFT=true."
        )
    return Engine.DRAFT
