"""The real worker process, and requests sent to it as the shim sends them."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect.client.schemas.objects import FlowRun

from blocks import registry
from blocks.job_store import JobStore
from blocks.policy import PipelinePolicy
from blocks.settings import WorkerType
from flows.pools import PROCESS_POOL
from flows.request import DEPLOYMENT
from gpu_tasks.contract.records import TaskRecord
from tests.waiting import await_until

_DEPLOYING = Path(__file__).parent / "workers" / "deploying.py"
_RUN_SECONDS = 180.0

# Of workers that a test starts for itself: each process for pixels costs seconds of imports, and a server on a busy
# machine takes its time.
LEAN = {"LIPSWAP_CPU_PROCESSES": "1", "LIPSWAP_HAND_BACK_SECONDS": "30"}
STOP_SECONDS = 40
# What is run with `python -m`.
COMMANDS = {
    WorkerType.INPROCESS: ("flows.worker",),
    WorkerType.PROCESS: ("prefect", "worker", "start", "--type", "process", "--pool", PROCESS_POOL),
}


@dataclass
class Deployer:
    """A process that has all imports of `deployments.deploy` behind it."""

    process: subprocess.Popen[str]
    last: dict[str, str] | None = None

    def deploy(self, variables: dict[str, str]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps(variables)}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "0\n", "it could not be deployed"
        self.last = variables


_deployers: dict[str, Deployer] = {}


@contextmanager
def quick_deployments(environment: dict[str, str]) -> Iterator[None]:
    """Let `deploy` to the environment's server take a second instead of several while the block lasts."""
    server, program = environment["PREFECT_API_URL"], [sys.executable, str(_DEPLOYING)]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, env=environment, text=True, stdin=pipe, stdout=pipe) as process:
        _deployers[server] = Deployer(process)
        try:
            yield
        finally:
            del _deployers[server]


def deploy(environment: dict[str, str], **changes: str) -> None:
    """Do what `python -m deployments.deploy` does."""
    variables = environment | changes
    if deployer := _deployers.get(variables["PREFECT_API_URL"]):
        deployer.deploy(variables)
    else:
        subprocess.run([sys.executable, "-m", "deployments.deploy"], env=variables, check=True, timeout=180)


def deploy_if_other(environment: dict[str, str]) -> None:
    """Deploy, unless this is what was deployed last."""
    deployer = _deployers.get(environment["PREFECT_API_URL"])
    if deployer is None or deployer.last != environment:
        deploy(environment)


@dataclass(frozen=True)
class Worker:
    """A worker's process."""

    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, environment: dict[str, str], folder: Path, command: list[str]) -> Self:
        """Start a program; what it says is added to worker.log in `folder`."""
        path = folder / "worker.log"
        with path.open("ab") as log:
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        return cls(process, path)

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> int:
        """End it as a deploy does; it is gone afterwards, and so are its processes."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(10)


class SharedWorker:
    """The worker of all modules that need none of their own; of the type that the environment names.

    It knows nothing of blocks and deployments before a run begins: each module deploys what it needs.
    """

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._worker: Worker | None = None

    def at_work(self) -> Worker:
        """Return it; it is started if it is not there."""
        if self._worker is None or self._worker.has_ended():
            command = COMMANDS[WorkerType(self._environment["LIPSWAP_WORKER_TYPE"])]
            self._worker = Worker.start(self._environment, self._folder, [sys.executable, "-m", *command])
        return self._worker

    def stop(self) -> None:
        """Make way for a test's own workers."""
        if self._worker is not None and not self._worker.has_ended():
            self._worker.stop()


@contextmanager
def worker_process(
    environment: dict[str, str], folder: Path, *command: str, program: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker, a module or a program of a test; it is gone afterwards, and so are its processes."""
    worker = Worker.start(environment, folder, [sys.executable, *(program or ("-m", *command))])
    try:
        yield worker.process
    finally:
        worker.stop()


@dataclass
class Orchestra:
    """Sends requests and waits for their records."""

    prefect: PrefectClient
    job_store: JobStore
    plane_url: str
    plane_key: str

    async def send(self, request: dict[str, Any]) -> str:
        """Create a run; returns its task id."""
        deployment = await self.prefect.read_deployment_by_name(DEPLOYMENT)
        run = await self.prefect.create_flow_run_from_deployment(deployment.id, parameters={"request": request})
        return str(run.id)

    async def run(self, request: dict[str, Any], *, seconds: float = _RUN_SECONDS) -> TaskRecord:
        """Send a request and return its final record."""
        return await self.final(await self.send(request), seconds=seconds)

    async def final(self, task_id: str, *, seconds: float = _RUN_SECONDS) -> TaskRecord:
        return await self.until(task_id, lambda record: record.status.is_final, seconds=seconds)

    async def until(
        self,
        task_id: str,
        is_there: Any,  # noqa: ANN401  # a predicate
        *,
        seconds: float = _RUN_SECONDS,
    ) -> TaskRecord:
        """Return the first record that the predicate accepts."""
        async with asyncio.timeout(seconds):
            async for record in self.job_store.watch(task_id):
                if is_there(record):
                    return record
        raise AssertionError(f"the run ended otherwise: {record}")

    async def flow_run(self, task_id: str) -> FlowRun:
        return await self.prefect.read_flow_run(UUID(task_id))

    async def ended(self, task_id: str, *, seconds: float = _RUN_SECONDS) -> FlowRun:
        """Return the run when Prefect knows that it has ended; the record tells it a moment earlier."""

        async def look() -> FlowRun | None:
            run = await self.flow_run(task_id)
            return run if run.state and run.state.is_final() else None

        return await await_until(look, seconds=seconds, what="Prefect knows that the run has ended")

    async def started_jobs(self) -> int:
        """How many jobs workers have begun on the plane since its start, all endpoints together."""
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {self.plane_key}"}, timeout=60) as http:
            answer = await http.get(f"{self.plane_url}/local/counters")
        return sum(endpoint["started"] for endpoint in answer.raise_for_status().json()["endpoints"].values())

    async def job_status(self, endpoint: str, job_id: str) -> str:
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {self.plane_key}"}, timeout=60) as http:
            answer = await http.get(f"{self.plane_url}/v2/{endpoint}/status/{job_id}")
        return str(answer.raise_for_status().json()["status"])


@asynccontextmanager
async def edited(prefect: PrefectClient, **changes: object) -> AsyncIterator[None]:
    """Change fields of the policy's block as its page in Prefect does, while the worker goes on running."""
    document = await prefect.read_block_document_by_name(registry.POLICY, PipelinePolicy.get_block_type_slug())

    async def write(data: dict[str, Any]) -> None:
        update = BlockDocumentUpdate(block_schema_id=document.block_schema_id, data=data, merge_existing_data=False)
        await prefect.update_block_document(document.id, update)

    await write(document.data | changes)
    try:
        yield
    finally:
        await write(document.data)
