"""Which outputs are made anew, what that would cost, and whether what came out is as good: without Prefect's engine."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias

from blocks.policy import PipelinePolicy
from flows.request import PipelineRequest
from gpu_tasks.contract.artifacts import LINEAGE
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import CONTRACT_VERSION, Stage, digest_of
from gpu_tasks.contract.lineage import CANDIDATES, Batch, Item, Lineage, StageLineage
from gpu_tasks.contract.manifest import manifest, resolve_engine
from gpu_tasks.contract.quality import QualityReport, Verdict
from gpu_tasks.storage import ArtifactStore

Prices: TypeAlias = Mapping[Stage, float | None]

STALE: Final = "stale"
FAILED: Final = "failed"
LABEL: Final = "label="
_NAME_DIGITS: Final = 10


class _Figure(NamedTuple):
    """A figure of an inspection: its name, and by how much it may differ without being called worse."""

    name: str
    tolerance: float
    more_is_better: bool


# Tolerances are what the same engine's figures differ by from one encode to the next, rounded up.
_FIGURES: Final = (
    _Figure("lip_sync.correlation", 0.05, more_is_better=True),
    _Figure("lip_sync.pause_opening", 0.05, more_is_better=False),
    _Figure("identity.toward_source", 0.05, more_is_better=True),
    _Figure("flicker.ratio", 0.1, more_is_better=False),
    _Figure("outside.psnr_db", 1.0, more_is_better=True),
    _Figure("faces.coverage", 0.01, more_is_better=True),
)
_ORDER: Final = {Verdict.GOOD: 0, Verdict.DOUBTFUL: 1, Verdict.POOR: 2}


def check_selection(only: str) -> None:
    """Refuse what selects nothing that we know.

    Raises:
        FaultError: REQUEST_INVALID.
    """
    name, colon, value = only.removeprefix(LABEL).partition(":")
    is_label = only.startswith(LABEL) and name and colon and value
    if only not in {STALE, FAILED} and not is_label:
        raise FaultError(FaultCode.REQUEST_INVALID, "--only is stale, failed or label=name:value.")


def lineages(store: ArtifactStore) -> Iterator[Lineage]:
    """Yield the lineage of every output but of candidates, one GET each."""
    for key in store.keys(f"{LINEAGE}outputs/"):
        lineage = store.read_json(key, Lineage)
        if lineage is not None and not lineage.output.key.startswith(CANDIDATES):
            yield lineage


def chosen(found: Iterable[Lineage], only: str, policy: PipelinePolicy, prices: Prices) -> Iterator[Item]:
    """Yield what a selection makes anew of outputs that there are; `prices` are US dollars per second by stage."""
    for lineage in found:
        why = staleness(lineage, policy)
        if only != STALE:
            name, _, value = only.removeprefix(LABEL).partition(":")
            if lineage.labels.get(name) != value:
                continue
            why = why or f"label {name}:{value}"
        if why and why != lineage.declined:
            again = _computed_again(lineage, policy)
            costs = [None if (price := prices.get(each.stage)) is None else each.gpu_seconds * price for each in again]
            known = [cost for cost in costs if cost is not None]
            yield Item(
                task_id=lineage.task_id,
                output_key=lineage.output.key,
                why=why,
                request=lineage.request,
                consent_id=lineage.consent_id,
                consent_entry=lineage.consent_entry,
                gpu_seconds=round(sum(stage.gpu_seconds for stage in again), 3),
                usd=round(sum(known), 6) if len(known) == len(costs) else None,
            )


def staleness(lineage: Lineage, policy: PipelinePolicy) -> str:
    """Say what is newer than what an output was made by; nothing when it would be the same again."""
    if lineage.contract_version != CONTRACT_VERSION:
        return f"contract {lineage.contract_version} is now {CONTRACT_VERSION}"
    newer = [_newer(lineage, place, policy) for place in range(len(lineage.stages))]
    return "; ".join(filter(None, newer))


def _newer(lineage: Lineage, place: int, policy: PipelinePolicy) -> str:
    stage = lineage.stages[place]
    request = PipelineRequest.model_validate(lineage.request)
    engine = resolve_engine(
        request.engine,
        draft_allowed=policy.draft_allowed,
        neural_ready=policy.neural_ready,
        stages=request.gpu_stages,
    )
    if engine is not stage.engine:
        return f"{stage.stage}: engine {stage.engine} is now {engine}"
    now = manifest().revisions(engine, stage.stage)
    changed = sorted({name for name, _ in now.items() ^ stage.model_revisions.items()})
    told = (f"{name} {stage.model_revisions.get(name, 'absent')} is now {now.get(name, 'absent')}" for name in changed)
    return ", ".join(told)


def _computed_again(lineage: Lineage, policy: PipelinePolicy) -> tuple[StageLineage, ...]:
    """Return the first stage that is stale and what follows it: that has another input then."""
    if lineage.contract_version != CONTRACT_VERSION:
        return lineage.stages
    stale = [bool(_newer(lineage, place, policy)) for place in range(len(lineage.stages))]
    return lineage.stages[stale.index(True) :] if any(stale) else ()


def planned(items: Iterable[Item], only: str, policy: PipelinePolicy, *, name: str | None = None) -> Batch:
    """Make a batch of what was chosen, within the policy's bounds.

    Without a name it is named by what it is: the same outputs, stale for the same reasons, are the same batch, which
    then goes on instead of beginning anew.
    """
    bounds, left_out, seconds = policy.reprocessing, 0, 0.0
    kept: list[Item] = []
    for item in items:
        seconds += item.gpu_seconds or 0.0
        if len(kept) >= bounds.max_items or seconds > bounds.max_gpu_seconds:
            left_out += 1
        else:
            kept.append(item)
    asked = [only, [[item.task_id, item.why] for item in kept]]
    return Batch(
        name=name or f"{only.partition('=')[0]}-{digest_of(asked)[:_NAME_DIGITS]}",
        only=only,
        created_at=datetime.now(UTC),
        items=tuple(kept),
        left_out=left_out,
    )


def candidate_request(batch: str, item: Item) -> PipelineRequest:
    """Return the request that makes an output anew, under a key of its own: the old one stays until it is accepted."""
    changes = {
        "output_key": f"{CANDIDATES}{batch}/{item.task_id}/result.mp4",
        "wav2lip_output_key": None,
        "retain_intermediate": False,
        # Whoever was told of the first result is told again by whoever accepts the second.
        "webhook_url": None,
    }
    return PipelineRequest.model_validate(item.request | changes)


def worse(old: QualityReport | None, new: QualityReport | None) -> tuple[str, ...]:
    """Say by which figures a candidate is worse than what it is to replace; nothing when it is as good."""
    if new is None:
        return ("it could not be measured",) if old is not None else ()
    if old is None:
        return (f"it is {new.verdict}",) if new.verdict is Verdict.POOR else ()
    found = []
    if _ORDER[new.verdict] > _ORDER[old.verdict]:
        found.append(f"verdict {old.verdict} is now {new.verdict}")
    for figure in _FIGURES:
        before, after = _value(old, figure.name), _value(new, figure.name)
        if before is None or after is None:
            continue
        lost = before - after if figure.more_is_better else after - before
        if lost > figure.tolerance:
            found.append(f"{figure.name} {before:.3f} is now {after:.3f}")
    return tuple(found)


def _value(report: QualityReport, name: str) -> float | None:
    group, _, figure = name.partition(".")
    of = getattr(report, group)
    return None if of is None else getattr(of, figure)
