"""Packs what the page's server sends: Brotli where a browser takes it (a tenth smaller than gzip), else gzip."""

from typing import Final

import brotli
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import GZipContentEncoding, OutputTransform

# Higher ones take seconds for a script that every new browser asks for once.
_QUALITY: Final = 6
_LEAST_BYTES: Final = 1024


class Packed(OutputTransform):
    """A transform for Tornado; what is packed already, or is no text or script, goes out as it is."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._takes_brotli = "br" in request.headers.get("Accept-Encoding", "").replace(" ", "").split(",")
        self._gzip = GZipContentEncoding(request)
        self._packer: brotli.Compressor | None = None

    def transform_first_chunk(
        self,
        status_code: int,
        headers: HTTPHeaders,
        chunk: bytes,
        finishing: bool,  # noqa: FBT001  # as Tornado calls it
    ) -> tuple[int, HTTPHeaders, bytes]:
        if not self._takes_brotli:
            packed: tuple[int, HTTPHeaders, bytes] = self._gzip.transform_first_chunk(
                status_code, headers, chunk, finishing
            )
            return packed
        headers["Vary"] = "Accept-Encoding"
        media_type = headers.get("Content-Type", "").split(";")[0]
        is_small = finishing and len(chunk) < _LEAST_BYTES
        if not _is_packable(media_type) or is_small or "Content-Encoding" in headers:
            return status_code, headers, chunk
        self._packer = brotli.Compressor(quality=_QUALITY)
        headers["Content-Encoding"] = "br"
        chunk = self.transform_chunk(chunk, finishing)
        if "Content-Length" in headers:
            if finishing:
                headers["Content-Length"] = str(len(chunk))
            else:
                del headers["Content-Length"]
        return status_code, headers, chunk

    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:  # noqa: FBT001  # the same
        if not self._takes_brotli:
            return bytes(self._gzip.transform_chunk(chunk, finishing))
        if self._packer is None:
            return chunk
        packed: bytes = self._packer.process(chunk)
        rest: bytes = self._packer.finish() if finishing else self._packer.flush()
        return packed + rest


def _is_packable(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in GZipContentEncoding.CONTENT_TYPES
