"""What a credential says of a result, as typed values, and the C2PA manifest definition that says it.

Inputs are named by digest only, people not at all: whoever holds a file can read everything in it.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gpu_tasks.contract.credentials import InputClaim, Role, RunClaims
from gpu_tasks.contract.jobs import Engine, Stage

# Our own assertion. A version suffix would be dropped when it is read back, so the version stands in its data.
RUN_LABEL = "org.lipswap.run"

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
# IPTC digital source types. A neural engine puts generated pixels into a recording. The draft engine generates none:
# its networks only find faces, then it warps the target, lays the source picture over it and paints a mouth cavity by
# rule. "With trained algorithmic media" would be untrue, plain "composite" would hide that a part was never filmed.
SOURCE_TYPES: Mapping[Engine, str] = {
    Engine.NEURAL: f"{_SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia",
    Engine.DRAFT: f"{_SOURCE_TYPES}compositeSynthetic",
}


_CHANGES: Mapping[Stage, tuple[Role, str]] = {
    Stage.WAV2LIP: (Role.DRIVING_AUDIO, "lip-sync: the mouth follows another voice"),
    Stage.FACEFUSION: (Role.SOURCE, "face replaced"),
}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Credential(_Model):
    """What is signed into one file."""

    claims: RunClaims
    media_type: Literal["video/mp4", "image/jpeg", "image/png"] = "video/mp4"

    def to_manifest(self) -> dict[str, Any]:
        """Return the manifest definition that c2pa's Builder takes (JSON)."""
        claims = self.claims
        labels = _labels(claims.inputs)
        return {
            "claim_generator_info": [{"name": "Lipswap", "version": claims.software_version}],
            "title": f"{claims.task_id}.{self.media_type.partition('/')[2]}",
            "format": self.media_type,
            "ingredients": [_ingredient(claim, label) for claim, label in zip(claims.inputs, labels, strict=True)],
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": _actions(claims, labels)}},
                {"label": RUN_LABEL, "data": claims.model_dump(mode="json", exclude_none=True)},
            ],
        }


def _labels(inputs: tuple[InputClaim, ...]) -> list[str]:
    return [f"{claim.role}-{place}" for place, claim in enumerate(inputs, start=1)]


def _ingredient(claim: InputClaim, label: str) -> dict[str, str]:
    # The target is what was opened and changed; the others went into it. No stream is given: nothing is embedded.
    relationship = "parentOf" if claim.role is Role.TARGET else "inputTo"
    return {
        "title": claim.role.replace("_", " "),
        "format": claim.media_type,
        "instance_id": f"sha256:{claim.sha256}",
        "relationship": relationship,
        "label": label,
    }


def _actions(claims: RunClaims, labels: list[str]) -> list[dict[str, Any]]:
    def used(role: Role) -> list[str]:
        return [label for claim, label in zip(claims.inputs, labels, strict=True) if claim.role is role]

    actions: list[dict[str, Any]] = [{"action": "c2pa.opened", "parameters": {"ingredientIds": used(Role.TARGET)}}]
    for work in claims.stages:
        role, description = _CHANGES[work.stage]
        agent_version = work.code_revision or claims.software_version
        action: dict[str, Any] = {
            "action": "c2pa.edited",
            "description": description,
            "digitalSourceType": SOURCE_TYPES[work.engine],
            "softwareAgent": {"name": f"Lipswap {work.stage}, {work.engine} engine", "version": agent_version},
        }
        if ingredients := used(role):
            action["parameters"] = {"ingredientIds": ingredients}
        actions.append(action)
    return actions
