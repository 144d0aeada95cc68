"""What a deployment permits, as a block that operators edit without a restart."""

from prefect.blocks.core import Block
from pydantic import BaseModel, ConfigDict, Field

from blocks.bounds import BudgetBounds, MediaBounds, SegmentBounds
from gpu_tasks.contract.quality import QualityPolicy


class ReprocessingPolicy(BaseModel):
    """Bounds of one batch of outputs that are made anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paused: bool = Field(default=False, description="Nothing more is begun; what is at work ends.")
    canary: int = Field(default=3, ge=1, description="So many come first; one that is worse or fails holds the rest.")
    at_once: int = Field(default=4, ge=1, le=100, description="How many runs a batch has at the same time.")
    max_items: int = Field(default=100, ge=1, le=10_000, description="Most outputs of one batch.")
    max_gpu_seconds: float = Field(default=3600.0, gt=0, description="Most GPU seconds of one batch, by its estimate.")


class PipelinePolicy(MediaBounds, BudgetBounds, SegmentBounds, Block):
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
    contact_sheets: bool = Field(
        default=True, description="Whether each run leaves a small picture of target and result in Prefect's database."
    )
    queue_alert_seconds: float = Field(
        default=300.0, gt=0, description="A GPU job that waits longer in RunPod's queue is told to the automations."
    )
    reprocessing: ReprocessingPolicy = Field(
        default_factory=ReprocessingPolicy, description="How outputs are made anew, see docs/reprocess.md."
    )
    quality: QualityPolicy = Field(
        default_factory=QualityPolicy, description="Whether and how each result is measured, and what is called good."
    )
