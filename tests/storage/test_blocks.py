"""Blocks as Prefect and operators see them."""

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from blocks import registry
from blocks.job_store import JobStore
from blocks.policy import PipelinePolicy
from blocks.provenance import ProvenancePolicy
from blocks.r2 import R2Bucket, r2_credentials
from blocks.redis_url import check_redis_url
from blocks.runpod import RunPodEndpoint
from blocks.settings import OrchestratorSettings, WorkerType
from flows.footage import Limits
from gpu_tasks.contract.faults import FaultError
from gpu_tasks.media.limits import GatePolicy, MediaLimits
from gpu_tasks.settings import R2Settings

BLOCKS = (JobStore, PipelinePolicy, ProvenancePolicy, R2Bucket, RunPodEndpoint)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
class TestBlocks(BlockStandardTestSuite):
    """Prefect's own demands on a block."""

    @pytest.fixture
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        kind: type[Block] = request.param
        return kind

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """Without the network: only that there is one."""
        assert str(block._logo_url).startswith("https://")

    def test_its_slug_is_ours(self, block: type[Block]) -> None:
        assert block.get_block_type_slug().startswith("lipswap-")


async def test_the_bucket_block_and_the_workers_reach_one_bucket(bucket: R2Settings) -> None:
    block = R2Bucket(bucket_name=bucket.bucket, credentials=r2_credentials(bucket), bucket_folder="results/")
    assert block.settings() == bucket
    await block.awrite_path("of-a-task", b"what a task returned")
    store = block.store()
    head = store.head("results/of-a-task")
    assert head is not None
    assert head.size_bytes == 20
    assert await block.aread_path("of-a-task") == b"what a task returned"
    assert block.store() is store


def test_a_bucket_without_an_endpoint_is_refused_with_a_sentence() -> None:
    with pytest.raises(FaultError, match="credentials with an endpoint"):
        R2Bucket(bucket_name="bucket").settings()


def test_an_endpoint_is_configured_with_a_key_and_an_id() -> None:
    assert not RunPodEndpoint().is_configured
    assert not RunPodEndpoint(endpoint_id="abc").is_configured
    assert RunPodEndpoint(endpoint_id="abc", api_key=SecretStr("key")).is_configured


def test_results_of_tasks_are_stored_where_the_registry_says() -> None:
    assert registry.RESULT_STORAGE == "lipswap-r2-bucket/lipswap-results"


def test_every_limit_of_a_run_is_one_of_the_policy_and_of_the_settings() -> None:
    # The gate counts bytes of one file; the policy of each kind.
    limits = set(Limits.model_fields) - {"media", "gate"} | set(MediaLimits.model_fields) - {"max_bytes"}
    limits |= set(GatePolicy.model_fields)
    assert limits <= set(PipelinePolicy.model_fields)
    assert limits <= set(OrchestratorSettings.model_fields)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:password@127.0.0.1:6379/0",
        "redis://localhost",
        "redis://[::1]:6379",
        "rediss://default:password@eu1-a-1.upstash.io:6379",
        "rediss://host:6379/0?ssl_cert_reqs=required",
        "rediss://host:6379/0?ssl_ca_certs=/etc/ca.pem",
    ],
)
def test_safe_redis_addresses_are_taken(url: str) -> None:
    assert check_redis_url(SecretStr(url)).get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("redis://:hidden@redis.example.com:6379", "write rediss://"),
        ("redis://:hidden@10.0.0.7:6379", "write rediss://"),
        ("rediss://:hidden@host:6379?ssl_cert_reqs=none", "remove ssl_cert_reqs"),
        ("rediss://:hidden@host:6379?ssl_cert_reqs=CERT_NONE", "remove ssl_cert_reqs"),
        ("rediss://:hidden@host:6379?ssl_check_hostname=false", "remove ssl_check_hostname"),
        ("http://:hidden@host", "such as rediss://"),
        ("unix:///run/hidden.sock", "such as rediss://"),
    ],
)
def test_unsafe_redis_addresses_are_refused_with_advice_and_without_the_password(url: str, advice: str) -> None:
    with pytest.raises(ValidationError, match=advice) as caught:
        JobStore(redis_url=SecretStr(url))
    assert "hidden" not in str(caught.value)


def test_settings_read_the_original_names(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "R2_ENDPOINT": "https://account.r2.cloudflarestorage.com",
        "R2_BUCKET": "media",
        "R2_ACCESS_KEY_ID": "id",
        "R2_SECRET_ACCESS_KEY": "hidden",
        "RUNPOD_API_KEY": "key",
        "RUNPOD_WAV2LIP_ENDPOINT": "w",
        "RUNPOD_FACEFUSION_ENDPOINT": "",
        "RUNPOD_JOB_TIMEOUT": "60",
        "JOBSTORE_REDIS_URL": "rediss://host:6379",
        "JOBSTORE_TTL": "10",
        "LIPSWAP_WORKER_TYPE": "process",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = OrchestratorSettings()
    assert settings.runpod_facefusion_endpoint is None
    assert (settings.runpod_job_timeout, settings.jobstore_ttl, settings.jobstore_prefix) == (60, 10, "ff:task")
    assert settings.worker_type is WorkerType.PROCESS
    assert settings.runpod_api_base == "https://api.runpod.ai/v2"
    assert not settings.allow_draft
    assert "hidden" not in repr(settings)
