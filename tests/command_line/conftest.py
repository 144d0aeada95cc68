import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line.kept_demo import Demo


@pytest.fixture(scope="package")
def demo() -> Iterator[Demo]:
    """The demo's stack after its run."""
    # Not pytest's own folder: root's Postgres runs under an account that cannot enter it.
    folder = Path(tempfile.mkdtemp(prefix="lipswap-demo-"))
    folder.chmod(0o755)
    kept = Demo(folder)
    try:
        kept.until_kept()
        yield kept
    finally:
        kept.close()
        shutil.rmtree(folder, ignore_errors=True)
