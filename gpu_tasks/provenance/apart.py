"""Signing in a process of its own: memory that is given back, and crashes that stay outside.

The file is one that we made, and its signer asks a timestamp authority: the process keeps network and environment,
other than the one that verifies. The order goes through a pipe: no key stands on a command line.
"""

import subprocess
import sys
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.provenance.certificates import Signatory
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.errors import ProvenanceError

Reply = TypeVar("Reply", bound=BaseModel)

# Start of Python and library 0.3 s, hashing 300 MB/s, and 30 s until the library gives an authority up (measured);
# the rest is room for a machine that is busy.
_BASE_SECONDS = 90.0
_BYTES_PER_SECOND = 5e6


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SignOrder(_Model):
    source: Path
    destination: Path
    credential: Credential
    signatory: Signatory


class Outcome(_Model):
    """What the process says: a fault, or its reply as JSON."""

    fault: Fault | None = None
    reply: str = ""


def run_apart(order: SignOrder, reply: type[Reply], *, size_bytes: int) -> Reply:
    """Carry an order out in a new process that ends with it.

    Args:
        order: What to do; its paths are absolute.
        reply: What is expected back.
        size_bytes: Of the file, from which the deadline follows.

    Raises:
        ProvenanceError: What the process reports; OUT_OF_MEMORY when it died or exceeded its limits, INTERNAL when it
            took too long.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gpu_tasks.provenance.child"],
            input=order.model_dump_json().encode(),
            capture_output=True,
            timeout=_BASE_SECONDS + size_bytes / _BYTES_PER_SECOND,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProvenanceError(FaultCode.INTERNAL, f"Signing took longer than {error.timeout:.0f} s.") from None
    try:
        outcome = Outcome.model_validate_json(done.stdout)
    except ValidationError:
        raise ProvenanceError(
            FaultCode.OUT_OF_MEMORY, f"The process that signs ended with code {done.returncode}."
        ) from None
    if outcome.fault is not None:
        reported = ProvenanceError(outcome.fault.code)
        reported.fault = outcome.fault
        raise reported
    return reply.model_validate_json(outcome.reply)
