"""What a bucket is told once: which pages may talk to it, and what it forgets by itself. Pure."""

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gpu_tasks.contract.artifacts import RESULTS, UPLOADS, WORK

if TYPE_CHECKING:  # stubs, which only the development environment has
    from mypy_boto3_s3.type_defs import CORSRuleTypeDef, LifecycleRuleTypeDef

# What a browser sends with a signed upload, and what it must be let read of the answer.
UPLOAD_HEADERS: Final = ("content-type", "content-length", "content-md5", "if-none-match", "range", "x-amz-*")
EXPOSED_HEADERS: Final = ("ETag", "Content-Range", "Accept-Ranges", "Content-Length")
METHODS: Final = ("GET", "HEAD", "PUT")
_CORS_SECONDS: Final = 3600


def _is_an_origin(origin: str) -> str:
    if not origin.startswith(("https://", "http://127.0.0.1", "http://localhost")) or origin.count("/") != 2:  # noqa: PLR2004  # of ://
        raise ValueError(f"{origin!r} is no origin such as https://page.example.com (no path, no slash behind it)")
    return origin


class BucketPolicy(BaseModel):
    """Days after which objects go, and the origins of our pages.

    `work_days` is how long an equal request costs nothing; results under outputs/ and the audit stay until somebody
    removes them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    origins: tuple[Annotated[str, AfterValidator(_is_an_origin)], ...] = ()
    uploads_days: int = Field(default=30, ge=1)
    work_days: int = Field(default=30, ge=1)
    results_days: int = Field(default=30, ge=1)
    unfinished_days: int = Field(default=2, ge=1, le=7)


def cors_rule(origins: tuple[str, ...]) -> "CORSRuleTypeDef":
    """Return the one rule under which pages at these origins upload to and play from a bucket."""
    return {
        "AllowedOrigins": list(origins),
        "AllowedMethods": list(METHODS),
        "AllowedHeaders": list(UPLOAD_HEADERS),
        "ExposeHeaders": list(EXPOSED_HEADERS),
        "MaxAgeSeconds": _CORS_SECONDS,
    }


def lifecycle_rules(policy: BucketPolicy) -> "list[LifecycleRuleTypeDef]":
    """Return one rule per prefix, and one for uploads that were begun and not finished."""
    return [
        _expiry(UPLOADS, policy.uploads_days),
        _expiry(WORK, policy.work_days),
        _expiry(RESULTS, policy.results_days),
        {
            "ID": "lipswap-unfinished",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": policy.unfinished_days},
        },
    ]


def _expiry(prefix: str, days: int) -> "LifecycleRuleTypeDef":
    return {
        "ID": f"lipswap-{prefix.rstrip('/')}",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": days},
    }
