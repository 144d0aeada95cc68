"""Large files in equal parts: sent past the shim, resumed, and looked at when they are whole."""

import hashlib
import os
from typing import Any

import httpx
import pytest

from gpu_tasks.storage import ArtifactStore
from tests.api.shim import ANSWER_SECONDS, Environment, settings_of, shim_thread

_MEGABYTE = 1024 * 1024
# The head of an MP4, and bytes behind it: what the shim looks at.
MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41" + os.urandom(8 * _MEGABYTE + 1000)


@pytest.fixture(scope="module")
async def large(environment: Environment) -> Any:  # noqa: ANN401  # an async generator of a client
    """A shim that takes videos of more than one part."""
    wide = {**environment, "LIPSWAP_MAX_VIDEO_BYTES": str(64 * _MEGABYTE)}
    with shim_thread(settings_of(wide)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as client:
            yield client


async def begun(client: httpx.AsyncClient, content: bytes, **fields: object) -> dict[str, Any]:
    asked = {"prefix": "uploads/video", "filename": "Mein Film.MP4", "content_type": "video/mp4", **fields}
    answer = await client.post("/storage/uploads", json={"size": len(content), **asked})
    assert answer.status_code == 200, answer.text
    upload: dict[str, Any] = answer.json()
    return upload


async def send(
    client: httpx.AsyncClient, upload: dict[str, Any], content: bytes, *numbers: int
) -> list[dict[str, Any]]:
    """Send some parts and return what was answered for each."""
    asked = {"part_numbers": list(numbers)}
    told = (await client.post(f"/storage/uploads/{upload['upload_id']}/parts", json=asked)).json()
    sent = []
    async with httpx.AsyncClient(timeout=60) as bucket:
        for part in told["parts"]:
            start = (part["part_number"] - 1) * upload["part_bytes"]
            body = content[start : start + part["size"]]
            assert len(body) == part["size"]
            answer = await bucket.put(part["url"], content=body, headers=part["headers"])
            assert answer.status_code == 200, answer.text
            sent.append({"part_number": part["part_number"], "etag": answer.headers["ETag"]})
    return sent


async def test_a_file_in_parts_is_resumed_and_becomes_one_object(
    large: httpx.AsyncClient, bucket: ArtifactStore
) -> None:
    digest = hashlib.sha256(MP4).hexdigest()
    upload = await begun(large, MP4, sha256=digest)
    assert (upload["part_bytes"], upload["part_count"]) == (8 * _MEGABYTE, 2)
    assert upload["key"].startswith("uploads/video/")
    assert upload["key"].endswith(".mp4")
    path = f"/storage/uploads/{upload['upload_id']}"

    second = await send(large, upload, MP4, 2)
    # A client that was interrupted asks what is there, and sends the rest.
    there = (await large.post(f"{path}/parts", json={"part_numbers": []})).json()
    assert there["parts"] == []
    assert [(part["part_number"], part["size"]) for part in there["uploaded"]] == [(2, len(MP4) - 8 * _MEGABYTE)]
    early = await large.post(f"{path}/complete", json={"parts": second})
    assert (early.status_code, early.json()["error"]) == (409, "upload_incomplete")
    assert "part 1" in early.json()["detail"]

    parts = [*await send(large, upload, MP4, 1), *second]
    done = await large.post(f"{path}/complete", json={"parts": parts})
    assert done.status_code == 200, done.text
    assert done.json() == {
        "key": upload["key"],
        "size": len(MP4),
        "content_type": "video/mp4",
        "sha256": digest,
        "public_url": None,
    }
    # The answer may have been lost.
    assert (await large.post(f"{path}/complete", json={"parts": parts})).json() == done.json()
    head = bucket.head(upload["key"])
    assert head is not None
    assert head.size_bytes == len(MP4)


async def test_a_part_takes_no_other_size(large: httpx.AsyncClient) -> None:
    upload = await begun(large, MP4)
    asked = {"part_numbers": [2]}
    told = (await large.post(f"/storage/uploads/{upload['upload_id']}/parts", json=asked)).json()
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as bucket:
        assert (await bucket.put(told["parts"][0]["url"], content=b"x" * 5000)).status_code == 403


@pytest.mark.parametrize(
    ("content", "fields", "refusal"),
    [
        (b"<!doctype html><script>" + b" " * 1000, {}, (422, "media_unsupported", "parts")),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 1000, {}, (422, "media_unsupported", "parts")),
        (MP4[:5000], {"sha256": "0" * 64}, (409, "upload_incomplete", "sha256")),
        (MP4[:4000], {"prefix": "uploads/source"}, (422, "media_unsupported", "parts")),
    ],
    ids=["a page", "a picture as a video", "another digest", "a video as a picture"],
)
async def test_what_is_not_what_was_announced_is_refused_and_gone(
    large: httpx.AsyncClient,
    bucket: ArtifactStore,
    content: bytes,
    fields: dict[str, str],
    refusal: tuple[int, str, str],
) -> None:
    upload = await begun(large, content, **fields)
    parts = await send(large, upload, content, 1)
    answer = await large.post(f"/storage/uploads/{upload['upload_id']}/complete", json={"parts": parts})
    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == refusal
    assert bucket.head(upload["key"]) is None


async def test_a_forgotten_upload_is_gone(large: httpx.AsyncClient) -> None:
    upload = await begun(large, MP4)
    path = f"/storage/uploads/{upload['upload_id']}"
    assert (await large.delete(path)).status_code == 204
    for answer in (
        await large.delete(path),
        await large.post(f"{path}/parts", json={"part_numbers": [1]}),
        await large.post(f"{path}/complete", json={"parts": [{"part_number": 1, "etag": "x"}]}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (404, "upload_unknown")


async def test_an_id_that_nobody_made_is_unknown(large: httpx.AsyncClient) -> None:
    upload_id = (await begun(large, MP4))["upload_id"]
    changed = ("B" if upload_id[0] == "A" else "A") + upload_id[1:]
    for forged in (changed, upload_id[:-4], "x", "%00", "ä"):
        answer = await large.post(f"/storage/uploads/{forged}/parts", json={"part_numbers": [1]})
        assert (answer.status_code, answer.json()["error"]) == (404, "upload_unknown")


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"size": 0}, 422, "request_invalid"),
        ({"size": 10**15}, 413, "object_too_large"),
        ({"size": 10**30}, 413, "object_too_large"),
        ({"size": "5"}, 422, "request_invalid"),
        ({"size": 5.5}, 422, "request_invalid"),
        ({}, 422, "request_invalid"),
        ({"size": 5, "sha256": "x"}, 422, "request_invalid"),
        ({"size": 5, "key": "uploads/video/mine.mp4"}, 422, "request_invalid"),
        ({"size": 5, "prefix": "outputs"}, 422, "key_not_allowed"),
        ({"size": 5, "prefix": "uploads/video/../../keys"}, 422, "key_not_allowed"),
        ({"size": 5, "content_type": "a\r\nb"}, 422, "request_invalid"),
    ],
)
async def test_a_bad_announcement_is_refused(
    large: httpx.AsyncClient, asked: dict[str, object], status: int, code: str
) -> None:
    answer = await large.post("/storage/uploads", json=asked)
    assert (answer.status_code, answer.json()["error"]) == (status, code)


@pytest.mark.parametrize("numbers", [[0], [3], [10_001], [1.5], ["1"], [1] * 1001, None])
async def test_a_part_that_there_is_not_is_refused_by_field(large: httpx.AsyncClient, numbers: object) -> None:
    upload = await begun(large, MP4)
    answer = await large.post(f"/storage/uploads/{upload['upload_id']}/parts", json={"part_numbers": numbers})
    assert answer.status_code == 422
    assert answer.json()["field"].startswith("part_numbers")


async def test_a_presigned_upload_binds_its_digest_and_overwrites_nothing(
    http: httpx.AsyncClient, bucket: ArtifactStore
) -> None:
    content = b"the very bytes"
    asked = {
        "intent": "upload",
        "content_type": "video/mp4",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    presigned = (await http.post("/storage/presign", json=asked)).json()
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as client:
        other = await client.put(presigned["url"], content=b"the wrong byte", headers=presigned["headers"])
        assert 400 <= other.status_code < 500, other.text
        assert bucket.head(presigned["key"]) is None
        first = await client.put(presigned["url"], content=content, headers=presigned["headers"])
        again = await client.put(presigned["url"], content=content, headers=presigned["headers"])
        without = {name: value for name, value in presigned["headers"].items() if name != "If-None-Match"}
        evading = await client.put(presigned["url"], content=content, headers=without)
    assert (first.status_code, again.status_code, evading.status_code) == (200, 412, 403)


async def test_a_key_that_is_taken_is_not_presigned_again(http: httpx.AsyncClient, keys: dict[str, str]) -> None:
    answer = await http.post("/storage/presign", json={"intent": "upload", "key": keys["target_key"]})
    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (422, "key_not_allowed", "key")


async def test_a_signature_without_a_size_does_not_live_long(http: httpx.AsyncClient) -> None:
    asked = {"intent": "upload", "content_type": "video/mp4", "expires_in": 86400}
    assert (await http.post("/storage/presign", json=asked)).json()["expires_in"] == 900
