"""Batches of outputs that were made anew: changed by the flow that works and by whoever accepts or rejects."""

from collections.abc import Callable, Collection

from flows.errors import PipelineError
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.lineage import Batch, Item, ItemState, Lineage, batch_key, lineage_key
from gpu_tasks.storage import ArtifactStore

_TRIES = 20


def change(store: ArtifactStore, batch: Batch, changed: Callable[[Batch], Batch]) -> Batch:
    """Change a batch as it is stored now, or store it for the first time; of two who do so at once none is lost.

    Raises:
        StorageError: The bucket is away.
        PipelineError: STORAGE_UNAVAILABLE when others are always faster.
    """
    key = batch_key(batch.name)
    for _ in range(_TRIES):
        found = store.read_tagged(key, Batch)
        new = changed(found[0] if found else batch)
        if store.replace_json(key, new, etag=found[1]) if found else store.put_json(key, new, if_absent=True):
            return new
    raise PipelineError(FaultCode.STORAGE_UNAVAILABLE, f"Writes to {key} are in conflict.")


def known(store: ArtifactStore, name: str) -> Batch | None:
    """Return a batch, None when there is none of this name."""
    return store.read_json(batch_key(name), Batch)


def read(store: ArtifactStore, name: str) -> Batch:
    """Return a batch.

    Raises:
        PipelineError: OBJECT_MISSING when there is none of this name.
    """
    if (batch := known(store, name)) is None:
        raise PipelineError(FaultCode.OBJECT_MISSING, f"There is no batch {name}.")
    return batch


def decide(store: ArtifactStore, name: str, *, accept: bool, task_ids: Collection[str] = ()) -> Batch:
    """Put candidates in the place of the outputs that they were made for, or throw them away.

    Args:
        store: The bucket.
        name: Of the batch.
        accept: Whether the candidates are taken.
        task_ids: Whose outputs. None named: of all that wait when accepting, of all that have a candidate otherwise;
            what was measured as worse is accepted only by name.

    Raises:
        PipelineError: OBJECT_MISSING for an unknown batch or a candidate that is gone, OBJECT_CHANGED when the old
            output is not the one that the candidate was compared with.
        StorageError: The bucket is away.
    """
    batch = read(store, name)
    usual = {ItemState.WAITING} if accept else {ItemState.WAITING, ItemState.WORSE}
    for item in batch.items:
        named = item.task_id in task_ids and item.state in {ItemState.WAITING, ItemState.WORSE}
        if not (named or (not task_ids and item.state in usual)):
            continue
        (_take if accept else _decline)(store, item)
        state = ItemState.ACCEPTED if accept else ItemState.REJECTED
        batch = change(store, batch, lambda stored, item=item, state=state: _with(stored, item.task_id, state))  # type: ignore[misc]  # bound now
        _throw_away(store, item)
    return batch


def _with(batch: Batch, task_id: str, state: ItemState) -> Batch:
    items = (item.model_copy(update={"state": state}) if item.task_id == task_id else item for item in batch.items)
    return batch.model_copy(update={"items": tuple(items)})


def _take(store: ArtifactStore, item: Item) -> None:
    """Copy the candidate over the old output, then say what that is made of now; doing so again changes nothing."""
    new = _candidate(store, item)
    old = store.read_json(lineage_key(item.task_id), Lineage)
    head = store.head(item.output_key)
    there = head.metadata.get("sha256") if head else None
    if there not in {None, new.output.sha256, old.output.sha256 if old else None}:
        raise PipelineError(FaultCode.OBJECT_CHANGED, f"Key: {item.output_key}.")
    store.copy(new.output.key, item.output_key)
    output = new.output.model_copy(update={"key": item.output_key})
    request = old.request if old else item.request
    lineage = new.model_copy(update={"task_id": item.task_id, "output": output, "request": request})
    store.put_json(lineage_key(item.task_id), lineage, if_absent=False)


def _decline(store: ArtifactStore, item: Item) -> None:
    """Remember that for this reason the output is not made anew again."""
    if (old := store.read_json(lineage_key(item.task_id), Lineage)) is not None:
        store.put_json(lineage_key(item.task_id), old.model_copy(update={"declined": item.why}), if_absent=False)


def _candidate(store: ArtifactStore, item: Item) -> Lineage:
    found = store.read_json(lineage_key(item.run_id or ""), Lineage)
    if found is None:
        raise PipelineError(FaultCode.OBJECT_MISSING, f"The candidate for {item.output_key} is gone.")
    return found


def _throw_away(store: ArtifactStore, item: Item) -> None:
    # Last: until here everything can be done again.
    candidate = _candidate(store, item)
    store.delete(candidate.output.key)
    store.delete(lineage_key(item.run_id or ""))
