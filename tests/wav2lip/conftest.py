from pathlib import Path

import pytest

from tests.wav2lip.standins import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded network in the published checkpoints' format."""
    path = tmp_path_factory.mktemp("checkpoint") / "wav2lip_custom.pth"
    write_checkpoint(path)
    return path
