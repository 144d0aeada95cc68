"""Which RunPod account a deployment is for, read from the environment once by each command."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from deployments.fleet.account import REST_BASE


def _is_an_address(address: str) -> str:
    if not address.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise ValueError("RUNPOD_REST_BASE is an https:// address; the key would travel in the clear")
    return address.rstrip("/")


class AccountSettings(BaseSettings):
    """The key, and where the REST API is; its last part says which version."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    api_key: SecretStr = Field(validation_alias="RUNPOD_API_KEY")
    rest_base: Annotated[str, AfterValidator(_is_an_address)] = Field(
        default=REST_BASE, validation_alias="RUNPOD_REST_BASE"
    )
