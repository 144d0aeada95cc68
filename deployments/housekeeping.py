"""What `lipswap models` shows, as rows: pure looks at a weights folder and the manifest."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from deployments.wording.messages import Message
from gpu_tasks.contract.manifest import Manifest
from gpu_tasks.first_use import locked_in
from gpu_tasks.weights import WeightStore


class Presence(StrEnum):
    """What lies here of a model; whether it is the right file only `verify` tells."""

    BUNDLED = "bundled"
    THERE = "there"
    PARTLY = "partly"
    ABSENT = "absent"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class ModelRow(_Row):
    """One model. `sha256` is the published digest, else the one that was locked at first use, else unknown."""

    name: str
    role: str
    file: str
    presence: Presence
    is_default: bool
    vendor: str
    licence: str
    commercial_use: bool
    is_permissive: bool
    to_acknowledge: tuple[str, ...]
    needs: tuple[str, ...]
    release: str | None
    urls: tuple[str, ...]
    size_bytes: int | None
    sha256: str | None
    is_published: bool

    @property
    def commercial(self) -> Message:
        """Whether the model and all that it needs may earn money, in a word."""
        if self.is_permissive:
            return Message.YES
        return Message.WITH_OBLIGATIONS if self.commercial_use else Message.NO


class LicenceRow(_Row):
    """One licence with its models."""

    licence: str
    summary: str
    summary_ja: str
    url: str | None
    commercial_use: bool
    needs_acknowledgement: bool
    is_acknowledged: bool
    models: tuple[str, ...]

    @property
    def commercial(self) -> Message:
        """Whether its models may earn money, in a word."""
        if not self.commercial_use:
            return Message.NO
        return Message.WITH_OBLIGATIONS if self.needs_acknowledgement else Message.YES

    @property
    def standing(self) -> Message:
        """Whether somebody must still acknowledge it, in a word."""
        if not self.needs_acknowledgement:
            return Message.NO_NEED
        return Message.ACKNOWLEDGED if self.is_acknowledged else Message.TO_ACKNOWLEDGE


def model_rows(store: WeightStore) -> tuple[ModelRow, ...]:
    """Return a row for every model, in the manifest's order.

    Raises:
        FaultError: MODEL_CORRUPT when the folder's lock cannot be understood.
    """
    models, locked = store.manifest, locked_in(store.folder)
    rows = []
    for name, entry in models.models.items():
        kept = locked.get(name)
        needs = models.with_needs(name)
        rows.append(
            ModelRow(
                name=name,
                role=entry.role or "",
                file=entry.file,
                presence=_presence(store, name),
                is_default=name in models.defaults.values(),
                vendor=entry.vendor,
                licence=entry.licence,
                commercial_use=all(models.models[each].commercial_use for each in needs),
                is_permissive=models.is_permissive(name),
                to_acknowledge=tuple(dict.fromkeys(filter(None, map(models.to_acknowledge, needs)))),
                needs=needs[:-1],
                release=entry.release,
                urls=entry.urls,
                size_bytes=entry.size_bytes or (kept.size_bytes if kept else None),
                sha256=entry.sha256 or (kept.sha256 if kept else None),
                is_published=entry.sha256 is not None,
            )
        )
    return tuple(rows)


def licence_rows(store: WeightStore) -> tuple[LicenceRow, ...]:
    """Return a row for every licence, in the manifest's order.

    Raises:
        FaultError: LICENCE_NOT_ACKNOWLEDGED when the folder's acknowledgements cannot be understood.
    """
    models, acknowledged = store.manifest, store.acknowledged
    return tuple(
        LicenceRow(
            licence=licence,
            summary=terms.summary,
            summary_ja=terms.summary_ja,
            url=terms.url,
            commercial_use=all(models.models[name].commercial_use for name in under),
            needs_acknowledgement=any(models.to_acknowledge(name) for name in under),
            is_acknowledged=licence in acknowledged,
            models=under,
        )
        for licence, terms in models.licences.items()
        if (under := _under(models, licence))
    )


def wanted(store: WeightStore, names: tuple[str, ...], *, every: bool, defaults: bool) -> tuple[str, ...]:
    """Return the models to pull with all that they need, each once.

    Raises:
        FaultError: REQUEST_INVALID when no such model is known.
    """
    models = store.manifest
    chosen = list(names)
    if defaults:
        chosen += models.defaults.values()
    if every:
        acknowledged = {None} | store.acknowledged
        chosen += [
            name
            for name in models.models
            if {models.to_acknowledge(n) for n in models.with_needs(name)} <= acknowledged
        ]
    return tuple(dict.fromkeys(each for name in chosen for each in models.with_needs(name)))


def _under(models: Manifest, licence: str) -> tuple[str, ...]:
    return tuple(name for name, entry in models.models.items() if entry.licence == licence)


def _presence(store: WeightStore, name: str) -> Presence:
    path = store.place(name)
    if store.manifest.entry(name).bundled:
        return Presence.BUNDLED
    if path.exists():
        return Presence.THERE
    return Presence.PARTLY if path.with_name(f"{path.name}.part").exists() else Presence.ABSENT
