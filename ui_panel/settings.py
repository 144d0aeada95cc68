"""Settings of the page, read from the environment once when its process starts."""

from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# They tell an address that a person may only have claimed: people register there themselves, or of any tenant.
_TELLS_CLAIMED_EMAILS = frozenset({"auth0", "okta", "generic", "password", "auth_code"})
_TELLS_ANY_TENANTS_EMAILS = frozenset({"azure", "azurev2"})
_ANY_TENANT = frozenset({"", "common", "organizations", "consumers"})


class SignInSettings(BaseSettings):
    """Who may use the page: everybody who reaches it, who knows one password, or some of an OAuth provider's users.

    Panel reads the provider's own variables (`PANEL_OAUTH_KEY`, `PANEL_OAUTH_SECRET`, ...) by itself.
    """

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    password: SecretStr | None = Field(default=None, validation_alias="LIPSWAP_PAGE_PASSWORD")
    oauth_provider: str | None = Field(
        default=None, validation_alias="PANEL_OAUTH_PROVIDER", pattern=r"^[a-z0-9_]{2,30}$"
    )
    # Of the provider's users, by the name it tells (an address, a login): names or @domains with commas, * for all.
    users: str = Field(default="", validation_alias="LIPSWAP_PAGE_USERS")
    # Whether the provider lets nobody have an address that was not proven to be theirs.
    are_emails_verified: bool = Field(default=False, validation_alias="LIPSWAP_PAGE_EMAILS_VERIFIED")
    # Panel's own name for the one directory whose people Azure lets in.
    tenant: str = Field(default="common", validation_alias="AAD_TENANT_ID")
    # Signs the cookie that says who is signed in; two processes behind one address need the same.
    cookie_secret: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("LIPSWAP_PAGE_COOKIE_SECRET", "PANEL_COOKIE_SECRET")
    )

    @model_validator(mode="after")
    def _is_one_way_in(self) -> Self:
        if self.password and self.oauth_provider:
            raise ValueError("set LIPSWAP_PAGE_PASSWORD or PANEL_OAUTH_PROVIDER, not both")
        if self.oauth_provider and not self.cookie_secret:
            raise ValueError("PANEL_OAUTH_PROVIDER needs LIPSWAP_PAGE_COOKIE_SECRET")
        if self.oauth_provider and not self._named:
            # Anybody can have an account at most providers, and here spend GPU time with it.
            raise ValueError("PANEL_OAUTH_PROVIDER needs LIPSWAP_PAGE_USERS: names, @domains, or * for all it knows")
        if not self.are_emails_verified and self._tells_claimed_emails and any("@" in name for name in self._named):
            raise ValueError(
                f"{self.oauth_provider} may tell addresses that nobody has verified, LIPSWAP_PAGE_USERS names some: "
                "set LIPSWAP_PAGE_EMAILS_VERIFIED=true if it verifies them all"
            )
        return self

    @property
    def is_required(self) -> bool:
        return self.password is not None or self.oauth_provider is not None

    def lets_in(self, user: str) -> bool:
        """Tell whether a user whom the provider knows may use the page."""
        name = user.casefold()
        return any(
            allowed in {"*", name} or (allowed.startswith("@") and name.endswith(allowed)) for allowed in self._named
        )

    @property
    def _tells_claimed_emails(self) -> bool:
        return self.oauth_provider in _TELLS_CLAIMED_EMAILS or (
            self.oauth_provider in _TELLS_ANY_TENANTS_EMAILS and self.tenant in _ANY_TENANT
        )

    @property
    def _named(self) -> list[str]:
        return [name.strip().casefold() for name in self.users.split(",") if name.strip()]


class PageSettings(BaseSettings):
    """What the page needs to know; the first four names are the original service's."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    api_base_url: str = Field(default="http://127.0.0.1:8000", validation_alias="FF_API_BASE_URL")
    # Under which programs reach the API, where that is another address than the page's own way to it.
    told_api_url: str = Field(default="", validation_alias="LIPSWAP_PAGE_API_URL")
    poll_interval: float = Field(default=2.0, gt=0, le=600, validation_alias="FF_POLL_INTERVAL")
    poll_timeout: float = Field(default=1800.0, gt=0, validation_alias="FF_POLL_TIMEOUT")
    # Stays in this process: no answer and no page holds it.
    api_secret: SecretStr | None = Field(default=None, validation_alias="FF_API_SECRET")

    host: str = Field(default="127.0.0.1", validation_alias="LIPSWAP_PAGE_HOST")
    port: int = Field(default=7860, ge=0, le=65535, validation_alias="LIPSWAP_PAGE_PORT")
    # Names under which browsers reach the page, separated by commas; a websocket from elsewhere is refused.
    origins: str = Field(default="", validation_alias="LIPSWAP_PAGE_ORIGINS")
    # Behind a proxy that sets X-Forwarded-*: what it says of scheme and address is believed.
    is_behind_proxy: bool = Field(default=False, validation_alias="LIPSWAP_PAGE_BEHIND_PROXY")
    samples: Path | None = Field(default=None, validation_alias="LIPSWAP_PAGE_SAMPLES")
    parallel_parts: int = Field(default=3, ge=1, le=8, validation_alias="LIPSWAP_PAGE_PARALLEL_PARTS")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias="LIPSWAP_LOG_LEVEL"
    )
    sign_in: SignInSettings = Field(default_factory=SignInSettings)

    @field_validator("api_base_url")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        if not address.startswith(("https://", "http://")):
            raise ValueError("FF_API_BASE_URL is an address such as http://127.0.0.1:8000")
        return address.rstrip("/")

    @property
    def public_api_url(self) -> str:
        return (self.told_api_url or self.api_base_url).rstrip("/")

    @property
    def websocket_origins(self) -> list[str]:
        named = [name.strip() for name in self.origins.split(",") if name.strip()]
        return [*named, f"127.0.0.1:{self.port}", f"localhost:{self.port}"]
