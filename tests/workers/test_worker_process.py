import os
import subprocess
import sys

# What a worker image does not install, or what only others of our rooms may use.
BLOCKED = """
import importlib.abc, sys
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"prefect", "prefect_aws", "redis", "fastapi", "panel", "torch"}:
            raise ImportError(f"{name} is not installed on a worker")
sys.meta_path.insert(0, Wall())
"""


def test_workers_need_no_orchestrator() -> None:
    program = f"{BLOCKED}\nimport gpu_tasks.wav2lip.worker, gpu_tasks.facefusion.worker\nprint('imported')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "imported\n", done.stderr


def test_a_worker_without_settings_says_which_are_missing_and_no_value() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("R2_")}
    done = subprocess.run(
        [sys.executable, "-m", "gpu_tasks.wav2lip.worker"],
        env={**environment, "R2_ENDPOINT": "http://127.0.0.1:9", "R2_SECRET_ACCESS_KEY": "hunter2"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "The worker is not configured. R2Settings: bucket: Field required."
