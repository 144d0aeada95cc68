"""How webhooks are sent, as a block that operators edit without a restart."""

from typing import Annotated

from prefect.blocks.core import Block
from pydantic import AfterValidator, Field, SecretStr

from gpu_tasks.contract.webhooks import signing_keys

# Three days in all, then a person has to look.
RETRY_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 18000.0, 36000.0, 86400.0, 86400.0)


def check_webhook_secrets(secrets: SecretStr) -> SecretStr:
    """Return `secrets` when every one can sign, or there is none.

    Raises:
        ValueError: With a sentence that says what a secret is.
    """
    signing_keys(secrets.get_secret_value())
    return secrets


WebhookSecrets = Annotated[SecretStr, AfterValidator(check_webhook_secrets)]


class WebhookPolicy(Block):
    """Secrets, patience and permissions of outgoing webhooks.

    Example:
        Sign with a new secret as well, until every receiver knows it:
        ```python
        from blocks.webhooks import WebhookPolicy

        policy = WebhookPolicy.load("BLOCK_NAME")
        policy.secrets = SecretStr("whsec_NEW whsec_OLD")
        policy.save("BLOCK_NAME", overwrite=True)
        ```
    """

    _block_type_name = "Lipswap webhooks"
    _block_type_slug = "lipswap-webhooks"
    _logo_url = "https://avatars.githubusercontent.com/u/39270919?s=200"  # type: ignore[assignment]  # Prefect takes text
    _documentation_url = "https://www.standardwebhooks.com"  # type: ignore[assignment]  # the same

    secrets: WebhookSecrets = Field(
        default=SecretStr(""), description="whsec_... secrets, separated by spaces; each signs every message."
    )
    allow_loopback: bool = Field(default=False, description="Whether this machine itself may be called.")
    retry_seconds: tuple[float, ...] = Field(
        default=RETRY_SECONDS, max_length=20, description="Pauses before each further try, in seconds."
    )
    answer_seconds: float = Field(default=15.0, gt=0, le=120, description="How long a receiver may take to answer.")
