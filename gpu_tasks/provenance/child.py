"""The process that carries one order out: `python -m gpu_tasks.provenance.child`, order and outcome on its pipes."""

import resource
import sys

from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.provenance.apart import Outcome, SignOrder
from gpu_tasks.provenance.sign import sign_here

_BASE_BYTES = 2 * 1024**3
# The library holds a file once or twice, whatever is in it.
_TIMES_THE_FILE = 3
_CPU_SECONDS = 600


def carry_out(order: SignOrder) -> Outcome:
    """Do what an order says; what goes wrong becomes a fault."""
    try:
        report = sign_here(order.source, order.destination, order.credential, order.signatory)
        return Outcome(reply=report.model_dump_json())
    except FaultError as error:
        return Outcome(fault=error.fault)
    except MemoryError:
        return Outcome(fault=Fault(code=FaultCode.OUT_OF_MEMORY, detail="The file needs more memory than allowed."))


def _limit(order: SignOrder) -> None:
    """Bound what a file can make us use. Limits inherited from the parent stay where they are lower."""
    memory = _BASE_BYTES + _TIMES_THE_FILE * order.source.stat().st_size
    for kind, wanted in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, _CPU_SECONDS), (resource.RLIMIT_CORE, 0)):
        _, ceiling = resource.getrlimit(kind)
        limit = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
        resource.setrlimit(kind, (limit, limit))


def main() -> None:
    """Read the order from standard input, write the outcome to standard output."""
    order = SignOrder.model_validate_json(sys.stdin.buffer.read())
    _limit(order)
    sys.stdout.write(carry_out(order).model_dump_json())


if __name__ == "__main__":
    main()
