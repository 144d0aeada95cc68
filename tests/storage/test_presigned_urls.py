import hashlib
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config
from pydantic import SecretStr

from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect
from tests.waiting import PATIENCE_SECONDS

BODY = b"eleven byte"


async def test_a_presigned_put_takes_exactly_the_announced_size(store: ArtifactStore) -> None:
    url, headers = store.presign_put(
        "uploads/video/sized.mp4", expires_seconds=60, media_type="video/mp4", size_bytes=len(BODY)
    )
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        larger = await client.put(url, content=BODY + b"!", headers=headers)
        exact = await client.put(url, content=BODY, headers=headers)
    assert (larger.status_code, exact.status_code) == (403, 200)
    head = store.head("uploads/video/sized.mp4")
    assert head is not None
    assert (head.size_bytes, head.media_type) == (len(BODY), "video/mp4")


@pytest.mark.parametrize("other", [{"Content-Type": "text/html"}, {"x-amz-meta-sha256": "0" * 64}])
async def test_a_presigned_put_binds_its_headers(store: ArtifactStore, other: dict[str, str]) -> None:
    url, headers = store.presign_put(
        "uploads/video/bound.mp4",
        expires_seconds=60,
        media_type="video/mp4",
        sha256_hex=hashlib.sha256(BODY).hexdigest(),
    )
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        changed = await client.put(url, content=BODY, headers={**headers, **other})
        promised = await client.put(url, content=BODY, headers=headers)
    assert (changed.status_code, promised.status_code) == (403, 200)


async def test_a_presigned_get_serves_ranges_under_the_wanted_name(store: ArtifactStore) -> None:
    url, headers = store.presign_put("outputs/ünnamed.mp4", expires_seconds=60, media_type="video/mp4")
    download = store.presign_get("outputs/ünnamed.mp4", expires_seconds=60, filename='mein "film".mp4')
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        await client.put(url, content=BODY, headers=headers)
        part = await client.get(download, headers={"Range": "bytes=0-5"})
    assert (part.status_code, part.content) == (206, BODY[:6])
    assert part.headers["content-disposition"] == "attachment; filename*=UTF-8''mein%20%22film%22.mp4"


@pytest.mark.parametrize("region", ["auto", "us-east-1", "eu-central-1", "home"])
def test_the_address_is_that_of_the_settings_and_signed_as_botocore_signs_with_its_whole_table(region: str) -> None:
    endpoint = "https://account.r2.cloudflarestorage.com"
    settings = R2Settings(
        endpoint=endpoint, bucket="media", region=region, access_key_id="id", secret_access_key=SecretStr("secret")
    )
    theirs = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    place = {"Bucket": "media", "Key": "outputs/ü a.mp4"}
    ours = connect(settings).presign_get(place["Key"], expires_seconds=60)
    assert _undated(ours) == _undated(theirs.generate_presigned_url("get_object", Params=place, ExpiresIn=60))


def _undated(url: str) -> tuple[str, str, dict[str, list[str]]]:
    parts = urlsplit(url)
    query = {name: value for name, value in parse_qs(parts.query).items() if name.startswith("X-Amz-")}
    query["X-Amz-Credential"] = query["X-Amz-Credential"][0].split("/")[2:]
    del query["X-Amz-Date"], query["X-Amz-Signature"]
    return parts.netloc, parts.path, query
