"""The block that says which endpoints run the jobs of a stage, how patiently, how many at once and at what price."""

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.connections import shared
from blocks.runpod_client import RunPodClient
from blocks.sweep import Sweep
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.prices import price_table

# 64 bits of a fingerprint: a hundred does not divide them, which shifts a lot by less than 1e-17.
_LOT_DIGITS = 16


class RunPodEndpoint(Block):
    """One serverless endpoint on RunPod, or on anything that speaks its API, and the one beside it.

    Example:
        Ask how many workers are idle:
        ```python
        from blocks.runpod import RunPodEndpoint

        endpoint = RunPodEndpoint.load("BLOCK_NAME")
        health = await endpoint.client().health(endpoint.endpoint_id)
        ```
    """

    _block_type_name = "Lipswap RunPod endpoint"
    _block_type_slug = "lipswap-runpod-endpoint"
    _logo_url = "https://avatars.githubusercontent.com/u/95939477?s=200"  # type: ignore[assignment]  # Prefect takes text
    _documentation_url = "https://docs.runpod.io/serverless/overview"  # type: ignore[assignment]  # the same

    api_base: str = Field(default="https://api.runpod.ai/v2", description="Address of the API, without the endpoint.")
    api_key: SecretStr = Field(default=SecretStr(""), description="The account's API key.")
    endpoint_id: str = Field(default="", description="Which endpoint runs the jobs; empty when it is not set up.")
    fallback_endpoint_id: str = Field(
        default="", description="Which endpoint takes jobs that the first has no worker for; empty when there is none."
    )
    canary_endpoint_id: str = Field(
        default="", description="Which endpoint tries a new release on a part of the jobs; empty when none does."
    )
    canary_percent: int = Field(default=0, ge=0, le=100, description="How many of a hundred jobs the canary gets.")
    gpu_type: str = Field(default="", description="GPU of its workers, by its name in the price table.")
    usd_per_second: float | None = Field(
        default=None, gt=0, description="What a second costs, where the price table does not hold."
    )
    max_jobs: int | None = Field(
        default=None, ge=1, description="Most jobs at once, of all workers together; empty: RunPod's queue takes all."
    )
    webhook_url: SecretStr = Field(
        default=SecretStr(""), description="Address that RunPod calls when a job is over; it holds a secret."
    )
    poll_interval_seconds: float = Field(
        default=5.0, gt=0, le=300, description="Longest time between two looks at a job that nobody woke us for."
    )
    job_timeout_seconds: float = Field(
        default=1800.0, gt=0, le=86400, description="Longest time for a job in queue and work together."
    )
    queue_timeout_seconds: float = Field(
        default=900.0, gt=0, le=86400, description="Longest time for a job in RunPod's queue, or before it takes it."
    )
    diagnose_after_seconds: float = Field(
        default=30.0, gt=0, le=3600, description="How long a job waits before the endpoint's workers are looked at."
    )

    @property
    def is_configured(self) -> bool:
        return bool(self.endpoint_id and self.api_key.get_secret_value())

    def endpoints_for(self, fingerprint: str) -> tuple[str, ...]:
        """Return where the job with this fingerprint may go, the one that is preferred first.

        The fingerprint draws the lot: a job that is asked for again goes to the same release.
        """
        is_drawn = int(fingerprint[:_LOT_DIGITS], 16) % 100 < self.canary_percent
        canary = self.canary_endpoint_id if is_drawn else ""
        return tuple(endpoint for endpoint in (canary, self.endpoint_id, self.fallback_endpoint_id) if endpoint)

    def price(self, *, is_needed: bool) -> float | None:
        """Return US dollars per second, None when nobody has said what its GPU is.

        Raises:
            FaultError: PRICE_UNKNOWN: the GPU is not in the table, or `is_needed` and it has no name.
        """
        if self.usd_per_second is not None:
            return self.usd_per_second
        if self.gpu_type:
            return price_table().price_of(self.gpu_type)
        if is_needed:
            raise FaultError(FaultCode.PRICE_UNKNOWN, "It has no GPU type, but the budget is in US dollars.")
        return None

    def webhook_for(self, fingerprint: str) -> str:
        """Return the address that RunPod calls when the job with this fingerprint is over, empty for none."""
        url = self.webhook_url.get_secret_value()
        return f"{url}?fingerprint={fingerprint}" if url else ""

    def client(self) -> RunPodClient:
        """Return the running loop's client for this account."""
        return shared(self._account, lambda: RunPodClient(self.api_base, self.api_key))

    def sweep(self, endpoint_id: str) -> Sweep:
        """Return the running loop's one poller of an endpoint of this account."""
        return shared(("sweep", self._account, endpoint_id), lambda: Sweep(self.client(), endpoint_id))

    @property
    def _account(self) -> tuple[str, str, str]:
        return ("runpod", self.api_base, self.api_key.get_secret_value())
