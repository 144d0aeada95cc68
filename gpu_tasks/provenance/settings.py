"""Whose signature goes under results and whose is believed, read from the environment once at a process entry."""

from pathlib import Path
from typing import Self

from pydantic import field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SigningSettings(BaseSettings):
    """Names of PEM files. Without `chain` a development chain is made in `development` and used.

    Attributes:
        chain: The signer's certificate first, then those that lead to the root; the root itself may be missing.
        key: Its private key, PKCS#8 without a password.
        trust_anchors: Certificates that verification believes. Everybody whose certificate leads to one of them counts
            as trusted, so name the narrowest: a public root would make all its customers look like us.
        tsa_url: A timestamp authority (RFC 3161).
        tsa_anchors: Certificates of the timestamp authorities that verification believes, and only for the time. A
            signature with a believed timestamp outlives its certificate.
        development: Folder of the development chain. Processes that shall trust each other share it.
    """

    model_config = SettingsConfigDict(
        env_prefix="LIPSWAP_C2PA_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    chain: Path | None = None
    key: Path | None = None
    trust_anchors: Path | None = None
    tsa_url: str | None = None
    tsa_anchors: Path | None = None
    development: Path = Path(".lipswap/c2pa")

    @field_validator("tsa_url")
    @classmethod
    def _is_an_address(cls, address: str | None) -> str | None:
        if address is not None and not address.startswith(("https://", "http://")):
            raise ValueError("LIPSWAP_C2PA_TSA_URL is an http or https address")
        return address

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.chain is None) != (self.key is None):
            raise ValueError("LIPSWAP_C2PA_CHAIN and LIPSWAP_C2PA_KEY are set together or not at all")
        if self.chain is not None and self.trust_anchors is None:
            raise ValueError("with LIPSWAP_C2PA_CHAIN, LIPSWAP_C2PA_TRUST_ANCHORS says whose signatures are believed")
        return self
