"""What a credential claims of a file, and what verification finds: read where nobody can sign or hold a key.

Inputs are named by digest only, people not at all: whoever holds a file can read everything in it.
"""

import re
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gpu_tasks.contract.artifacts import Artifact, Digest
from gpu_tasks.contract.jobs import Engine, Stage

# Everybody who looks at a credential sees this name, so that no development signature passes for a service's.
DEVELOPMENT_ORGANISATION = "Lipswap development"

_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,60}")
_UNKNOWN_TYPE = "application/octet-stream"


class Role(StrEnum):
    """What an input was for."""

    TARGET = "target"
    DRIVING_AUDIO = "driving_audio"
    SOURCE = "source"


_Revision = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputClaim(_Model):
    """An input by the digest of the bytes that were handed in.

    `used_sha256` is the digest of what was worked on, where a conforming copy was made of them.
    """

    role: Role
    sha256: Digest
    used_sha256: Digest | None = None
    media_type: str = _UNKNOWN_TYPE

    @classmethod
    def of(cls, role: Role, artifact: Artifact, *, handed_in: Digest | None = None) -> Self:
        """Return the claim for a stored input; a media type that a client made up is not repeated."""
        known = _MEDIA_TYPE.fullmatch(artifact.media_type)
        return cls(
            role=role,
            sha256=handed_in or artifact.sha256,
            used_sha256=artifact.sha256 if handed_in not in {None, artifact.sha256} else None,
            media_type=artifact.media_type if known else _UNKNOWN_TYPE,
        )


class StageClaim(_Model):
    """A stage that changed pixels: its engine, and the revisions of its code and models by name."""

    stage: Literal[Stage.WAV2LIP, Stage.FACEFUSION]
    engine: Engine
    model_revisions: Annotated[dict[_Revision, _Revision], Field(max_length=64)] = Field(default_factory=dict)

    @property
    def code_revision(self) -> str | None:
        """The revision of the stage's code, under the name that the model manifest gives it."""
        return self.model_revisions.get(f"{self.engine}-{self.stage}")


class RunClaims(_Model):
    """What we say of a run, and what verification reads back. `consent_id` is opaque; no field names a person."""

    version: Literal[1] = 1
    task_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    stages: Annotated[tuple[StageClaim, ...], Field(min_length=1, max_length=2)]
    inputs: Annotated[tuple[InputClaim, ...], Field(min_length=1, max_length=32)]
    consent_id: Digest | None = None
    is_preview: bool = False
    software_version: _Revision = Field(default_factory=lambda: version("lipswap"))

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if sum(claim.role is Role.TARGET for claim in self.inputs) != 1:
            raise ValueError("a result has exactly one target")
        if len({claim.stage for claim in self.stages}) != len(self.stages):
            raise ValueError("each stage is named once")
        return self


class CredentialState(StrEnum):
    """What a file's credential is worth; "content" is picture, sound and index, not every byte of the file."""

    TRUSTED = "trusted"  # content unchanged since somebody signed it whom we believe
    UNTRUSTED = "untrusted"  # content unchanged since somebody else signed it, or the signer's time is over
    INVALID = "invalid"  # changed since it was signed, added to, or damaged
    NONE = "none"  # no credential: never signed, or removed by whatever wrote the file last


class SignerName(_Model):
    """Names from the signer's certificate; what is not trusted may call itself anything."""

    organisation: str
    name: str

    @property
    def is_development(self) -> bool:
        return self.organisation == DEVELOPMENT_ORGANISATION


class Verdict(_Model):
    """What verification found.

    `signer`, `signed_at` and `claims` are given for a trusted and for an untrusted credential: of an untrusted one they
    are only what somebody says. `signed_at` is the time of an authority that is believed, null without one. `claims` is
    null when a credential is not one of Lipswap's.
    """

    state: CredentialState
    reasons: tuple[str, ...] = ()
    manifest_label: str | None = None
    signer: SignerName | None = None
    signed_at: datetime | None = None
    claims: RunClaims | None = None
