"""The work pools on which the pipeline may run, and the queues of each."""

from collections.abc import Mapping
from types import MappingProxyType

from blocks.settings import WorkerType

INPROCESS_POOL = "lipswap-inprocess"
PROCESS_POOL = "lipswap-process"

POOLS: Mapping[WorkerType, str] = MappingProxyType(
    {WorkerType.INPROCESS: INPROCESS_POOL, WorkerType.PROCESS: PROCESS_POOL}
)

# Flows that take a moment only have a lane of their own: a place in the worker and processes for their pixels.
QUICK_QUEUE = "quick"
