"""The flow behind a run's deployment."""

from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.flows import load_flow_from_entrypoint

from blocks.r2 import R2Bucket
from blocks.registry import RESULT_STORAGE
from flows.documents import results_block


class DeployedFlows:
    """Flows of deployments, each loaded once: another version of the code is another process."""

    def __init__(self) -> None:
        self._flows: dict[UUID, Flow[..., Any]] = {}

    async def freshen(self) -> None:
        """Let the flows keep results of their tasks where the block says now: operators may have edited it."""
        for flow in self._flows.values():
            if flow.result_storage == RESULT_STORAGE or isinstance(flow.result_storage, R2Bucket):
                # By its name Prefect would read it for each run, with a client that it never closes.
                flow.result_storage = await results_block()

    async def flow_of(self, run: FlowRun, client: PrefectClient) -> Flow[..., Any]:
        """Return a run's flow.

        Raises:
            ValueError: The run comes from no deployment, or from one that names no flow.
        """
        if run.deployment_id is None:
            raise ValueError("runs of this pool are created from a deployment")
        if run.deployment_id not in self._flows:
            deployment = await client.read_deployment(run.deployment_id)
            if deployment.entrypoint is None:
                raise ValueError("the deployment names no flow")
            self._flows[run.deployment_id] = load_flow_from_entrypoint(
                deployment.entrypoint, use_placeholder_flow=False
            )
        return self._flows[run.deployment_id]
