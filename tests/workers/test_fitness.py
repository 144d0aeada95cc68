"""A worker that cannot work is found out before it takes a job."""

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from gpu_tasks.contract.faults import FaultError
from gpu_tasks.runtime.fitness import encodes, fitness_checks

MODELS = Path(str(files("gpu_tasks.draft").joinpath("models")))


def test_a_sound_worker_passes_and_leaves_nothing(tmp_path: Path) -> None:
    checks = fitness_checks(tmp_path, MODELS)
    for check in checks:
        check()
    assert [check.__name__ for check in checks] == ["encodes", "reaches_its_gpu"]
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_cannot_write_is_unfit(tmp_path: Path) -> None:
    with pytest.raises((FaultError, OSError)):
        encodes(tmp_path / "nowhere")


def test_the_sdk_ends_a_worker_that_is_unfit() -> None:
    program = (
        "import runpod\n"
        "from pathlib import Path\n"
        "from gpu_tasks.runtime.fitness import fitness_checks\n"
        "for check in fitness_checks(Path('/nowhere'), Path('/nowhere')):\n"
        "    runpod.serverless.register_fitness_check(check)\n"
        "runpod.serverless.start({'handler': lambda job: job})\n"
    )
    environment = os.environ | {"RUNPOD_WEBHOOK_GET_JOB": "http://127.0.0.1:9/job", "RUNPOD_SKIP_GPU_CHECK": "true"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "encodes" in done.stdout + done.stderr
