"""Uploads through the shim, and transfer past it with presigned URLs."""

import hashlib
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import httpx
import pytest

from gpu_tasks.storage import ArtifactStore
from tests.api.shim import ANSWER_SECONDS

_MEGABYTE = 1024 * 1024


async def test_an_uploaded_file_is_stored_under_a_new_key_with_its_digest(
    http: httpx.AsyncClient, bucket: ArtifactStore
) -> None:
    content = b"RIFF" * 100_000
    answer = await http.post(
        "/storage/upload",
        files={"file": ("my voice.WAV", content, "audio/wav")},
        data={"prefix": "uploads/audio", "filename": "my voice.WAV"},
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told == {
        "key": told["key"],
        "size": len(content),
        "content_type": "audio/wav",
        "sha256": hashlib.sha256(content).hexdigest(),
        "public_url": None,
    }
    assert told["key"].startswith("uploads/audio/")
    assert told["key"].endswith(".wav")
    head = bucket.head(told["key"])
    assert head is not None
    assert (head.size_bytes, head.media_type) == (len(content), "audio/wav")


async def test_without_a_prefix_the_kind_follows_the_media_type(http: httpx.AsyncClient) -> None:
    answer = await http.post("/storage/upload", files={"file": ("face.png", b"png", "image/png")})
    assert answer.json()["key"].startswith("uploads/source/")


@pytest.mark.parametrize("declared", ["text/html", "image/svg+xml", "application/javascript"])
async def test_what_could_run_in_a_browser_is_stored_as_plain_bytes(http: httpx.AsyncClient, declared: str) -> None:
    answer = await http.post(
        "/storage/upload", files={"file": ("page.html", b"<script>", declared)}, data={"prefix": "uploads/video"}
    )
    assert answer.json()["content_type"] == "application/octet-stream"


async def test_a_file_of_zero_bytes_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/storage/upload", files={"file": ("a.wav", b"", "audio/wav")})
    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (422, "object_empty", "file")


@pytest.mark.parametrize(
    "prefix", ["outputs", "uploads/secret", "uploads/audio/../../work", "uploads/audio/\u0000", "é" * 150]
)
async def test_a_prefix_outside_the_uploads_is_refused(http: httpx.AsyncClient, prefix: str) -> None:
    answer = await http.post("/storage/upload", files={"file": ("a.wav", b"x", "audio/wav")}, data={"prefix": prefix})
    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (422, "key_not_allowed", "prefix")


async def test_a_form_without_a_file_is_refused_with_the_name_of_the_field(http: httpx.AsyncClient) -> None:
    answer = await http.post("/storage/upload", data={"prefix": "uploads/audio"})
    assert answer.status_code == 422
    assert "file" in answer.json()["detail"]


async def test_a_file_larger_than_its_kind_may_be_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/storage/upload", files={"file": ("s.png", b"x" * 5000, "image/png")})
    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (413, "object_too_large", "file")


async def test_a_body_larger_than_any_file_may_be_is_cut_off_while_it_streams(http: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        for _ in range(64):
            yield b"x" * _MEGABYTE

    try:
        answer = await http.post(
            "/storage/upload", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        # It had closed the connection before all was sent, or before its answer was read; it has not fallen over.
        assert (await http.get("/health")).status_code == 200
    else:
        assert (answer.status_code, answer.json()["error"]) == (413, "payload_too_large")


async def test_a_presigned_upload_and_download_bring_the_same_bytes(http: httpx.AsyncClient) -> None:
    content = b"twelve bytes"
    presigned = await _presigned(http, intent="upload", content_type="video/mp4", size=len(content))
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as bucket_client:
        sent = await bucket_client.put(presigned["url"], content=content, headers=presigned["headers"])
        assert sent.status_code == 200, sent.text
        download = await _presigned(http, intent="download", key=presigned["key"])
        assert (download["method"], download["headers"]) == ("GET", {})
        assert (await bucket_client.get(download["url"])).content == content


async def test_a_presigned_upload_takes_no_other_size_than_declared(
    http: httpx.AsyncClient, bucket: ArtifactStore
) -> None:
    presigned = await _presigned(http, intent="upload", content_type="video/mp4", size=12)
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as bucket_client:
        sent = await bucket_client.put(presigned["url"], content=b"thirteen bytes", headers=presigned["headers"])
    assert sent.status_code == 403
    assert bucket.head(presigned["key"]) is None


async def test_a_presigned_upload_under_the_callers_own_key_is_kept_as_asked(http: httpx.AsyncClient) -> None:
    presigned = await _presigned(
        http, intent="upload", key="uploads/audio/mine.wav", content_type="audio/wav", expires_in=60
    )
    assert (presigned["key"], presigned["method"], presigned["expires_in"]) == ("uploads/audio/mine.wav", "PUT", 60)
    assert presigned["intent"] == "upload"
    assert presigned["public_url"] is None


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"intent": "steal"}, 422, "request_invalid"),
        ({"intent": "download"}, 422, "request_invalid"),
        ({"intent": "download", "key": "uploads/video/nowhere.mp4"}, 422, "object_missing"),
        ({"intent": "download", "key": "work/wav2lip/x.mp4"}, 422, "request_invalid"),
        ({"intent": "download", "key": "results/x"}, 422, "request_invalid"),
        ({"intent": "upload", "key": "outputs/mine.mp4"}, 422, "key_not_allowed"),
        ({"intent": "upload", "key": "uploads/audio/a\u0000b"}, 422, "request_invalid"),
        ({"intent": "upload", "size": 0}, 422, "request_invalid"),
        ({"intent": "upload", "size": 3.5}, 422, "request_invalid"),
        ({"intent": "upload", "size": 10**12}, 413, "object_too_large"),
        ({"intent": "upload", "sha256": "abc"}, 422, "request_invalid"),
        ({"intent": "upload", "content_type": "video/mp4\r\nX: y"}, 422, "request_invalid"),
        ({"intent": "upload", "expires_in": 604801}, 422, "request_invalid"),
        ({"intent": "upload", "mode": "fast"}, 422, "request_invalid"),
    ],
)
async def test_a_bad_presign_request_is_refused_with_a_code(
    http: httpx.AsyncClient, asked: dict[str, Any], status: int, code: str
) -> None:
    answer = await http.post("/storage/presign", json=asked)
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert answer.json()["field"] in {*asked, "key"}


def test_a_result_can_be_downloaded(bucket: ArtifactStore, shim: tuple[str, object]) -> None:
    bucket.put_stream(BytesIO(b"video"), "outputs/some.mp4", "video/mp4")
    asked = {"intent": "download", "key": "outputs/some.mp4"}
    presigned = httpx.post(f"{shim[0]}/storage/presign", json=asked, timeout=ANSWER_SECONDS).json()
    assert httpx.get(presigned["url"], timeout=ANSWER_SECONDS).content == b"video"


async def _presigned(http: httpx.AsyncClient, **asked: object) -> dict[str, Any]:
    answer = await http.post("/storage/presign", json=asked)
    assert answer.status_code == 200, answer.text
    presigned: dict[str, Any] = answer.json()
    return presigned
