"""Memory that really runs out: a process that is given no more while a batch is too large."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# The lid lies on whole calls only, with the heap's free places taken: the first tensor fails, in torch's own allocator.
# A limit that is met somewhere inside the network ends the process instead, in native code that does not expect it.
PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from gpu_tasks.contract.faults import FaultError
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.wav2lip.checkpoint import load_network
from gpu_tasks.wav2lip.engine import TorchWav2Lip

network = TorchWav2Lip(load_network(Path(sys.argv[1]), "seeded"), threads=1)
rows_that_fit = int(sys.argv[2])
refused = []

def say(chunks, crops):
    if len(crops) <= rows_that_fit:
        return network.say(chunks, crops)
    free, most = resource.getrlimit(resource.RLIMIT_AS)
    taken = []
    resource.setrlimit(resource.RLIMIT_AS, (resource.getpagesize(), most))
    try:
        for size in (2**24, 2**20, 2**16):
            try:
                while True:
                    taken.append(bytearray(size))
            except MemoryError:
                pass
        return network.say(chunks, crops)
    except MemoryError as error:
        refused.append(type(error.__cause__).__name__)
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (free, most))
        taken.clear()

random = np.random.default_rng(1)
chunks = random.uniform(-4, 4, (32, 80, 16)).astype(np.float32)
crops = random.integers(0, 256, (32, 96, 96, 3), np.uint8)
expected = Batches(4).run(network.say, chunks[:4], crops[:4])
batches = Batches(64)
try:
    said = batches.run(say, chunks, crops)
except FaultError as error:
    print(error.fault.code, refused)
else:
    print(batches.size, refused, said.shape, bool(np.abs(said[:4] - expected).max() < 0.02))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's address space")
@pytest.mark.parametrize(
    ("rows_that_fit", "says"),
    [
        (8, f"8 {['RuntimeError'] * 3} (32, 96, 96, 3) True"),
        (0, f"out_of_memory {['RuntimeError'] * 7}"),
    ],
    ids=["some", "none"],
)
def test_torch_goes_on_with_smaller_batches_until_nothing_fits(checkpoint: Path, rows_that_fit: int, says: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(checkpoint), str(rows_that_fit)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert done.stdout.strip() == says, (done.returncode, done.stderr)
