import subprocess
import sys
from pathlib import Path

import pytest

from gpu_tasks.runtime.scratch import open_scratch

HOLDER = """
import os, sys
from pathlib import Path
from gpu_tasks.runtime.scratch import open_scratch
with open_scratch(Path(sys.argv[1])) as scratch, scratch.job_folder() as folder:
    (folder / "frames").write_bytes(b"x")
    if os.fork() == 0:
        # As the SDK's ping process: it outlives its parent and holds all its files open.
        sys.stdin.read()
        os._exit(0)
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_the_folder_of_a_killed_process_is_swept_and_that_of_a_living_one_kept(tmp_path: Path) -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as killed,
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as living,
    ):
        for holder in (killed, living):
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
        assert len(list(tmp_path.rglob("frames"))) == 2
        killed.kill()
        killed.wait(timeout=60)

        with open_scratch(tmp_path) as scratch, scratch.job_folder() as folder:
            assert folder.is_dir()
            assert len(list(tmp_path.rglob("frames"))) == 1
        assert not folder.parent.exists()


def test_a_job_folder_is_gone_after_an_error(tmp_path: Path) -> None:
    with open_scratch(tmp_path) as scratch:
        with pytest.raises(ZeroDivisionError), scratch.job_folder() as folder:
            (folder / "share").write_text(str(1 // 0))
        assert not folder.exists()
