"""Memory that really runs out: a process that may take only so much more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from gpu_tasks.contract.faults import FaultError
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.wav2lip.checkpoint import load_network
from gpu_tasks.wav2lip.engine import TorchWav2Lip

network = TorchWav2Lip(load_network(Path(sys.argv[1]), "seeded"), threads=1)
random = np.random.default_rng(1)
chunks = random.uniform(-4, 4, (32, 80, 16)).astype(np.float32)
crops = random.integers(0, 256, (32, 96, 96, 3), np.uint8)
expected = Batches(4).run(network.say, chunks[:4], crops[:4])
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[2]) * 2**20,) * 2)
batches = Batches(64)
try:
    said = batches.run(network.say, chunks, crops)
except FaultError as error:
    print(error.fault.code)
else:
    print(batches.size < 64, said.shape, bool(np.abs(said[:4] - expected).max() < 0.02))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells and limits a process's address space")
@pytest.mark.parametrize(
    ("megabytes", "says"), [(300, "True (32, 96, 96, 3) True"), (4, "out_of_memory")], ids=["some", "none"]
)
def test_torch_goes_on_with_smaller_batches_until_nothing_fits(checkpoint: Path, megabytes: int, says: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(checkpoint), str(megabytes)]
    # One thread: each thread's pool takes address space of its own, and OpenMP ends a process that has none for it.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.stdout.strip() == says, done.stderr
