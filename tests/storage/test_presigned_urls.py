import hashlib

import httpx
import pytest

from gpu_tasks.storage import ArtifactStore

BODY = b"eleven byte"


async def test_a_presigned_put_takes_exactly_the_announced_size(store: ArtifactStore) -> None:
    url, headers = store.presign_put(
        "uploads/video/sized.mp4", expires_seconds=60, media_type="video/mp4", size_bytes=len(BODY)
    )
    async with httpx.AsyncClient() as client:
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
    async with httpx.AsyncClient() as client:
        changed = await client.put(url, content=BODY, headers={**headers, **other})
        promised = await client.put(url, content=BODY, headers=headers)
    assert (changed.status_code, promised.status_code) == (403, 200)


async def test_a_presigned_get_serves_ranges_under_the_wanted_name(store: ArtifactStore) -> None:
    url, headers = store.presign_put("outputs/ünnamed.mp4", expires_seconds=60, media_type="video/mp4")
    download = store.presign_get("outputs/ünnamed.mp4", expires_seconds=60, filename='mein "film".mp4')
    async with httpx.AsyncClient() as client:
        await client.put(url, content=BODY, headers=headers)
        part = await client.get(download, headers={"Range": "bytes=0-5"})
    assert (part.status_code, part.content) == (206, BODY[:6])
    assert part.headers["content-disposition"] == "attachment; filename*=UTF-8''mein%20%22film%22.mp4"
