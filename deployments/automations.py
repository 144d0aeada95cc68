"""Prefect's automations as code: what happens to runs while nobody looks is told to a notification block."""

from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import DoNothing, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.alerts import STUCK_IN_QUEUE

# The block that is told; an operator may put one of any other kind (Slack, e-mail, ...) under this name.
ALERTS: Final = "lipswap-alerts"
_TAG: Final = "lipswap"
# What is alike within this time is told once.
_AGAIN: Final = timedelta(minutes=5)
_RUN: Final = "Flow run {{ flow_run.name }}\nTags: {{ flow_run.tags | join(', ') }}\n{{ flow_run|ui_url }}"


class _Rule(NamedTuple):
    """An automation: its name, the event, and what is said."""

    name: str
    event: str
    subject: str
    body: str
    description: str


RULES: Final = (
    _Rule(
        "lipswap: run is late",
        "prefect.flow-run.Late",
        "Lipswap: a run has not started",
        f"No orchestrator worker has taken it. Is one running, and is its pool not paused?\n{_RUN}",
        "A run was due and no worker has taken it: the worker is down, or all of its places are taken.",
    ),
    _Rule(
        "lipswap: run has crashed",
        "prefect.flow-run.Crashed",
        "Lipswap: a run has crashed",
        f"Its process is gone; its GPU results are kept.\n{{{{ flow_run.state.message }}}}\n{_RUN}",
        "The process that worked on a run is gone, and no other one could go on.",
    ),
    _Rule(
        "lipswap: run has failed",
        "prefect.flow-run.Failed",
        "Lipswap: a run has failed",
        f"{{{{ flow_run.state.message }}}}\n{_RUN}",
        "A run ended with a fault; the summary among its artifacts says which, and whether trying again can help.",
    ),
    _Rule(
        "lipswap: GPU job is stuck in the queue",
        STUCK_IN_QUEUE,
        "Lipswap: a GPU job waits for a worker",
        "Job {{ event.payload.job_id }} has waited {{ event.payload.seconds }} s at {{ event.resource.id }}.\n"
        f"Has the endpoint workers, and does RunPod have such GPUs?\n{_RUN}",
        "A job waits in RunPod's queue longer than `queue_alert_seconds` of the policy block.",
    ),
)


async def deploy_automations(client: PrefectClient, alert_url: SecretStr | None) -> None:
    """Make the automations, or bring them back to what stands here; one that an operator has switched off stays off.

    Args:
        client: Of the server.
        alert_url: Where messages are posted to, as `{"text": ...}`. None: whatever block is called `lipswap-alerts`
            is told; without one the automations are there, switched off.
    """
    if alert_url is not None:
        # The address is often the only secret of a webhook: it goes where Prefect's pages do not show it.
        block = CustomWebhookNotificationBlock(
            name="lipswap",
            url="{{address}}",
            json_data={"text": "{{subject}}\n{{body}}"},
            secrets=SecretDict({"address": alert_url.get_secret_value()}),
        )
        await block.asave(ALERTS, overwrite=True, client=client)
    told = await _block_id(client)
    for rule in RULES:
        await _bring(client, _automation(rule, told))


def _automation(rule: _Rule, told: UUID | None) -> AutomationCore:
    silent = f" Nobody is told: set LIPSWAP_ALERT_URL, or make a notification block named {ALERTS}; then deploy again."
    return AutomationCore(
        name=rule.name,
        description=rule.description + ("" if told else silent),
        enabled=told is not None,
        tags=[_TAG],
        trigger=EventTrigger(
            posture=Posture.Reactive,
            expect={rule.event},
            match_related=ResourceSpecification({"prefect.resource.id": f"prefect.tag.{_TAG}"}),
            for_each={"prefect.resource.id"},
            threshold=1,
            within=_AGAIN,
        ),
        actions=[
            SendNotification(block_document_id=told, subject=rule.subject, body=rule.body) if told else DoNothing()
        ],
    )


async def _bring(client: PrefectClient, wanted: AutomationCore) -> None:
    found = await client.read_automations_by_name(wanted.name)
    if not found:
        await client.create_automation(wanted)
        return
    kept, *doubles = found
    for double in doubles:
        await client.delete_automation(double.id)
    if not isinstance(kept.actions[0], DoNothing):
        wanted = wanted.model_copy(update={"enabled": wanted.enabled and kept.enabled})
    if _said_by(kept) != _said_by(wanted):
        await client.update_automation(kept.id, wanted)


def _said_by(automation: AutomationCore | Automation) -> dict[str, object]:
    return automation.model_dump(mode="json", include=set(AutomationCore.model_fields), exclude={"trigger": {"id"}})


async def _block_id(client: PrefectClient) -> UUID | None:
    """Return the block that is told, whatever kind it is of."""
    asked = {"block_documents": {"name": {"any_": [ALERTS]}}}
    found = (await client.request("POST", "/block_documents/filter", json=asked)).raise_for_status().json()
    return UUID(found[0]["id"]) if found else None
