from pathlib import Path

import pytest

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.credentials import InputClaim, Role, RunClaims, StageClaim
from gpu_tasks.contract.jobs import Engine, Stage
from gpu_tasks.provenance.credential import Credential
from tests.media.footage import write_numbered
from tests.provenance.parties import Party

__all__ = ["bucket", "object_store", "store"]
from tests.bucket import bucket, object_store, store


@pytest.fixture(scope="session")
def us(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party.at(tmp_path_factory.mktemp("us") / "c2pa")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party.at(tmp_path_factory.mktemp("stranger") / "c2pa")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbered(
        tmp_path_factory.mktemp("clip") / "clip.mp4", 50, container_options={"movflags": "+faststart"}
    )


@pytest.fixture
def claims() -> RunClaims:
    target = Artifact(key="work/ingest/t", sha256="a" * 64, size_bytes=1, media_type="video/mp4")
    # What a client said of its upload goes into a file that others read.
    odd = Artifact(key="work/ingest/s", sha256="b" * 64, size_bytes=1, media_type='text/html"<script>')
    return RunClaims(
        task_id="0123-task",
        stages=(
            StageClaim(
                stage=Stage.WAV2LIP,
                engine=Engine.DRAFT,
                model_revisions={"draft-wav2lip": "7", "face_mesh_468": "fab00fd25fc7"},
            ),
            StageClaim(stage=Stage.FACEFUSION, engine=Engine.NEURAL, model_revisions={"neural-facefusion": "3"}),
        ),
        inputs=(
            InputClaim.of(Role.TARGET, target),
            InputClaim(role=Role.DRIVING_AUDIO, sha256="c" * 64, media_type="audio/wav"),
            InputClaim.of(Role.SOURCE, odd),
            InputClaim(role=Role.SOURCE, sha256="d" * 64, media_type="image/jpeg"),
        ),
        consent_id="e" * 64,
    )


@pytest.fixture
def credential(claims: RunClaims) -> Credential:
    return Credential(claims=claims)
