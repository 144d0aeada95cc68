"""The model manifest: what may run, its origin and licence, and the revisions that enter fingerprints."""

import tomllib
from collections.abc import Collection
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gpu_tasks.contract.artifacts import Digest
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, Stage
from gpu_tasks.contract.options import EngineChoice

# A revision is readable in the Prefect UI: twelve digits of a digest tell two weights apart.
_REVISION_DIGITS = 12


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelRole(StrEnum):
    """What a model is for; within a role one takes the place of another."""

    LIP_SYNCER = "lip_syncer"
    VOICE_EXTRACTOR = "voice_extractor"
    FACE_SWAPPER = "face_swapper"
    EMBEDDING_CONVERTER = "embedding_converter"
    FACE_EMBEDDER = "face_embedder"
    FACE_DETECTOR = "face_detector"
    FACE_LANDMARKER = "face_landmarker"
    FACE_ENHANCER = "face_enhancer"
    FRAME_ENHANCER = "frame_enhancer"
    FACE_PARSER = "face_parser"
    FACE_OCCLUDER = "face_occluder"
    CONTENT_CHECK = "content_check"


# A weights folder is flat, and a file keeps the name under which it was published.
_FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class ModelEntry(_Model):
    """One weights file. `bundled` files lie beside their engine, the others are fetched from one of `urls`.

    Attributes:
        release: What of the host is named: a release, a commit or a branch.
        sha256: Digest of the file, None where nobody has published one: then the first file is trusted and locked.
        needs: Other models without which this one does not run.
    """

    file: _FileName
    role: ModelRole | None = None
    bundled: bool = False
    urls: tuple[str, ...] = ()
    release: str | None = Field(default=None, max_length=48)
    vendor: str
    licence: str
    commercial_use: bool
    sha256: Digest | None = None
    size_bytes: int | None = Field(default=None, gt=0)
    needs: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_known_when_bundled(self) -> Self:
        if self.bundled and (self.sha256 is None or self.size_bytes is None):
            raise ValueError("a bundled file's digest and size are known")
        return self

    @property
    def revision(self) -> str:
        """Twelve digits of the digest; without one only the place can be named, which two files may share."""
        return self.sha256[:_REVISION_DIGITS] if self.sha256 else f"unpinned-{self.release or 'unnamed'}"


class LicenceTerms(_Model):
    """What a licence means for a user. `acknowledge`: not without an acknowledgement, though commercial use is fine."""

    summary: str
    summary_ja: str = ""
    url: str | None = None
    acknowledge: bool = False


class EngineStage(_Model):
    code_revision: str
    models: tuple[str, ...]


class Manifest(_Model):
    """Everything that may run. Frozen, but for its mappings: nobody writes into them."""

    models: dict[str, ModelEntry]
    engines: dict[Engine, dict[Stage, EngineStage]] = Field(default_factory=dict)
    licences: dict[str, LicenceTerms] = Field(default_factory=dict)
    # What runs in a role when nobody chose.
    defaults: dict[ModelRole, str] = Field(default_factory=dict)

    def entry(self, model_id: str) -> ModelEntry:
        """Return a model's entry.

        Raises:
            FaultError: REQUEST_INVALID when there is no such model.
        """
        entry = self.models.get(model_id)
        if entry is None:
            raise FaultError(FaultCode.REQUEST_INVALID, f"There is no model named {model_id[:64]}.")
        return entry

    def with_needs(self, model_id: str) -> tuple[str, ...]:
        """Return a model and all that it cannot run without, itself last.

        Raises:
            FaultError: REQUEST_INVALID when there is no such model.
        """
        needed = [other for need in self.entry(model_id).needs for other in self.with_needs(need)]
        return (*dict.fromkeys(needed), model_id)

    def to_acknowledge(self, model_id: str) -> str | None:
        """Return the licence that somebody must acknowledge before this file is used, None when it is permissive.

        Raises:
            FaultError: REQUEST_INVALID when there is no such model.
        """
        entry = self.entry(model_id)
        terms = self.licences.get(entry.licence)
        return entry.licence if not entry.commercial_use or (terms is not None and terms.acknowledge) else None

    def is_permissive(self, model_id: str) -> bool:
        """Tell whether a model and all that it needs may be used commercially without an acknowledgement.

        Raises:
            FaultError: REQUEST_INVALID when there is no such model.
        """
        return all(self.to_acknowledge(each) is None for each in self.with_needs(model_id))

    def default_for(self, role: ModelRole) -> str:
        """Return what runs in a role when nobody chose.

        Raises:
            FaultError: ENGINE_UNAVAILABLE when the role has no permissive model: one must be named.
        """
        if role not in self.defaults:
            raise FaultError(
                FaultCode.ENGINE_UNAVAILABLE, f"No {role} is free for commercial use; name one and acknowledge it."
            )
        return self.defaults[role]

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


def resolve_engine(
    choice: EngineChoice, *, draft_allowed: bool, neural_ready: bool, stages: Collection[Stage] = ()
) -> Engine:
    """Decide which engine computes a request.

    Args:
        choice: `auto` is neural where the endpoints have models, else draft where that is allowed.
        draft_allowed: Whether this deployment lets the draft engine answer at all.
        neural_ready: Whether its endpoints have models.
        stages: What the request needs done, by one engine.

    Raises:
        FaultError: ENGINE_UNAVAILABLE with the reason; there is no silent fallback.
    """
    neural = manifest().engines.get(Engine.NEURAL, {})
    lacking = sorted(set(stages) - set(neural))
    if choice is EngineChoice.NEURAL or (choice is EngineChoice.AUTO and neural_ready and not lacking):
        if lacking:
            raise FaultError(
                FaultCode.ENGINE_UNAVAILABLE, f"There is no neural engine for {lacking[0]} yet.", field="engine"
            )
        return Engine.NEURAL
    if not draft_allowed:
        raise FaultError(
            FaultCode.ENGINE_UNAVAILABLE,
            "The draft engine is switched off here; set LIPSWAP_ALLOW_DRAFT=true, or LIPSWAP_NEURAL_READY=true where "
            "the endpoints have models.",
            field="engine",
        )
    return Engine.DRAFT
