"""What a deployment permits, as a block that operators edit without a restart."""

from prefect.blocks.core import Block
from pydantic import Field

from blocks.bounds import BudgetBounds, MediaBounds
from gpu_tasks.contract.quality import QualityPolicy


class PipelinePolicy(MediaBounds, BudgetBounds, Block):
    """Limits and permissions of one deployment.

    Example:
        Forbid the draft engine from the next run on:
        ```python
        from blocks.policy import PipelinePolicy

        policy = PipelinePolicy.load("BLOCK_NAME")
        policy.draft_allowed = False
        policy.save("BLOCK_NAME", overwrite=True)
        ```
    """

    _block_type_name = "Lipswap policy"
    _block_type_slug = "lipswap-policy"
    _logo_url = "https://avatars.githubusercontent.com/u/39270919?s=200"  # type: ignore[assignment]  # Prefect takes text
    _documentation_url = "https://docs.prefect.io/v3/concepts/blocks"  # type: ignore[assignment]  # the same

    draft_allowed: bool = Field(default=False, description="Whether engine=auto may fall back on the draft engine.")
    neural_ready: bool = Field(
        default=False, description="Whether the endpoints have models: engine=auto is then the neural engine."
    )
    max_attempts: int = Field(
        default=3, ge=1, le=10, description="How often one run submits one GPU job before it gives up."
    )
    quality: QualityPolicy = Field(
        default_factory=QualityPolicy, description="Whether and how each result is measured, and what is called good."
    )
