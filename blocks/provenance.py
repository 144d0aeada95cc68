"""How results are signed and what is asked about consent, as a block that operators edit without a restart."""

from prefect.blocks.core import Block
from pydantic import Field

from gpu_tasks.contract.consent import ConsentPolicy


class ProvenancePolicy(Block):
    """Names of the files that results are signed with, never their contents, and the policy on consent.

    Example:
        Refuse requests without a declaration of consent from the next run on:
        ```python
        from blocks.provenance import ProvenancePolicy

        policy = ProvenancePolicy.load("BLOCK_NAME")
        policy.consent = "required"
        policy.save("BLOCK_NAME", overwrite=True)
        ```
    """

    _block_type_name = "Lipswap provenance"
    _block_type_slug = "lipswap-provenance"
    _logo_url = "https://avatars.githubusercontent.com/u/39270919?s=200"  # type: ignore[assignment]  # Prefect takes text
    _documentation_url = "https://docs.prefect.io/v3/concepts/blocks"  # type: ignore[assignment]  # the same

    consent: ConsentPolicy = Field(
        default=ConsentPolicy.RECORDED,
        description="Whether a declaration of consent is required, recorded or not kept.",
    )
    development: str = Field(
        default="", description="Folder of the development chain, used while no chain of certificates is set."
    )
    chain: str | None = Field(default=None, description="PEM file of the signer's certificate and those above it.")
    key: str | None = Field(default=None, description="PEM file of the signer's private key.")
    trust_anchors: str | None = Field(default=None, description="PEM file of the certificates that are believed.")
    tsa_url: str | None = Field(default=None, description="Address of a timestamp authority.")
    tsa_anchors: str | None = Field(
        default=None, description="PEM file of the timestamp authorities that are believed."
    )
