"""What a look at this machine found: one finding per check, as data."""

from enum import StrEnum, unique
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from deployments.wording.messages import Message


@unique
class Check(StrEnum):
    """What is looked at, in the order in which it is told."""

    PYTHON = "python"
    PACKAGES = "packages"
    CODECS = "codecs"
    MODELS = "models"
    DISK = "disk"
    MEMORY = "memory"
    DATA_FOLDER = "data_folder"
    ACCOUNT = "account"
    PORTS = "ports"
    STACK = "stack"
    POSTGRES = "postgres"
    VALKEY = "valkey"
    OBJECT_STORE = "object_store"
    CLOCK = "clock"
    CHROMIUM = "chromium"


@unique
class ProductionCheck(StrEnum):
    """What `--production` looks at, in the order in which it is told."""

    VARIABLES = "variables"
    BUCKET = "bucket"
    SKEW = "skew"
    PAGES = "pages"
    LIFECYCLE = "lifecycle"
    REDIS = "redis"
    PREFECT = "prefect"
    ENCRYPTION = "encryption"
    ORCHESTRATOR = "orchestrator"
    LIP_SYNC = "lip_sync"
    FACE_SWAP = "face_swap"
    SIGNING = "signing"
    DOOR = "door"
    ADDRESSES = "addresses"


AnyCheck = Check | ProductionCheck


@unique
class State(StrEnum):
    """How bad it is: only a problem keeps `lipswap demo` from working."""

    OK = "ok"
    NOTICE = "notice"
    PROBLEM = "problem"


class Finding(BaseModel):
    """What one check found, and what to do about it."""

    model_config = ConfigDict(frozen=True)

    check: AnyCheck
    state: State
    found: Message
    fix: Message | None = None
    values: dict[str, Any] = Field(default_factory=dict)


def fine(check: AnyCheck, found: Message, **values: object) -> Finding:
    """Return that all is well."""
    return Finding(check=check, state=State.OK, found=found, values=values)


def notice(check: AnyCheck, found: Message, fix: Message, **values: object) -> Finding:
    """Return something that a person may want to know."""
    return Finding(check=check, state=State.NOTICE, found=found, fix=fix, values=values)


def problem(check: AnyCheck, found: Message, fix: Message, **values: object) -> Finding:
    """Return something that must be put right first."""
    return Finding(check=check, state=State.PROBLEM, found=found, fix=fix, values=values)
