"""One file of the corpus: how it is made, and what the gate is to say of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import ChangeKind, MediaKind
from gpu_tasks.media.limits import GatePolicy, HdrPolicy, MediaLimits

# Low limits, so that small files are beyond them.
LIMITS = MediaLimits(max_seconds=20, max_bytes=3_000_000, max_pixels=3_000_000, max_still_pixels=2_000_000)
POLICY = GatePolicy(working_pixels=320 * 240)
NO_HDR = POLICY.model_copy(update={"hdr": HdrPolicy.REFUSE})

# A refusal, or what is done to the file; nothing at all when it conforms.
Verdict = FaultCode | frozenset[ChangeKind]
AS_IT_IS: Verdict = frozenset()

# Writes a file under a path, or puts something else there.
Maker = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Specimen:
    """A file: `make` writes it under a path, or puts something else there."""

    name: str
    kind: MediaKind
    make: Maker
    verdict: Verdict
    file_name: str = "upload"
    policy: GatePolicy = field(default=POLICY)


def changed(*kinds: ChangeKind) -> Verdict:
    return frozenset(kinds)


def written(content: bytes) -> Maker:
    """Make a file of bytes."""
    return lambda path: path.write_bytes(content)
