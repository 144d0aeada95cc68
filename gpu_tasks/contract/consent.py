"""Consent: what a caller declares about the people who are seen and heard, and the opaque name it goes by."""

import secrets
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints

from gpu_tasks.contract.artifacts import Digest, ObjectKey
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import digest_of

_SALT_BYTES = 16


class ConsentBasis(StrEnum):
    """Why the caller may use the faces and voices.

    Satire, news and art are missing on purpose: they may make a use lawful without anybody's consent, which a court
    decides and no field of a request.
    """

    OWN_LIKENESS = "own_likeness"  # the person seen and heard is the one who asks
    WRITTEN_CONSENT = "written_consent"  # everyone seen and heard agreed in writing, a guardian for a minor
    LICENCE = "licence"  # a model release or a contract covers this use
    SYNTHETIC_PERSON = "synthetic_person"  # face and voice belong to nobody


class ConsentPolicy(StrEnum):
    """What a service does about consent."""

    REQUIRED = "required"  # no request without it
    RECORDED = "recorded"  # kept when it is given
    OFF = "off"  # not kept


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Consent(_Model):
    """A caller's declaration. Personal: it is kept in the audit chain and nowhere else."""

    basis: ConsentBasis
    statement: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    declared_by: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


def _none_when_empty(value: object) -> object:
    return None if value == {} else value


# A request may leave it out, or send the empty object of older clients.
OptionalConsent = Annotated[Consent | None, BeforeValidator(_none_when_empty)]


class RecordedConsent(_Model):
    """A consent under its opaque id: a digest with a random salt, so that nobody can guess who stands behind it.

    The id alone holds the place when the declaration has been erased.
    """

    id: Digest
    salt: str | None = None
    declared: Consent | None = None

    @classmethod
    def of(cls, consent: Consent) -> Self:
        """Return the consent under a new id; the same consent twice has two ids."""
        salt = secrets.token_hex(_SALT_BYTES)
        return cls(id=_id_of(salt, consent), salt=salt, declared=consent)

    @property
    def is_erased(self) -> bool:
        return self.declared is None

    @property
    def is_sound(self) -> bool:
        """Tell whether the declaration is the one that the id was made from; an erased one is sound."""
        if self.declared is None or self.salt is None:
            return self.declared is None and self.salt is None
        return self.id == _id_of(self.salt, self.declared)

    def erased(self) -> Self:
        """Return the id without what it stands for."""
        return self.model_copy(update={"salt": None, "declared": None})


class DeclaredConsent(_Model):
    """Where a declaration lies: all that passes from the door to a run, so that erasing it once erases it."""

    id: Digest
    entry: ObjectKey


def consent_to_record(consent: Consent | None, policy: ConsentPolicy) -> RecordedConsent | None:
    """Return what goes into the audit chain under a policy, None when nothing does.

    Raises:
        FaultError: CONSENT_REQUIRED when consent is required and was not given.
    """
    if policy is ConsentPolicy.OFF:
        return None
    if consent is None:
        if policy is ConsentPolicy.REQUIRED:
            raise FaultError(FaultCode.CONSENT_REQUIRED, field="consent")
        return None
    return RecordedConsent.of(consent)


def _id_of(salt: str, consent: Consent) -> str:
    return digest_of({"salt": salt, **consent.model_dump(mode="json")})
