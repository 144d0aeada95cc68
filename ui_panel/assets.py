"""The components' files, served from the page's own address, packed once, and kept by browsers until they change."""

import gzip
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from tornado.web import HTTPError, RequestHandler

_TYPES: Final[Mapping[str, str]] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOREVER: Final = "public, max-age=31536000, immutable"
_DIGITS: Final = 12


class Assets:
    """All files under `components`; their common digest is part of their address."""

    def __init__(self) -> None:
        found = dict(_files_in(files("ui_panel").joinpath("components"), ""))
        digest = sha256()
        for name in sorted(found):
            digest.update(name.encode() + b"\0" + found[name])
        self.digest = digest.hexdigest()[:_DIGITS]
        self.plain = found
        self.packed = {name: gzip.compress(content, mtime=0) for name, content in found.items()}

    def path(self, name: str) -> str:
        """Return the address of a file, relative to the page."""
        return f"assets/{self.digest}/{name}"


class AssetHandler(RequestHandler):
    """Hands out one file. Older digests are answered, too: a page that was open over an update goes on."""

    def initialize(self, assets: Assets) -> None:
        self._assets = assets

    def get(self, digest: str, name: str) -> None:
        suffix = f".{name.rpartition('.')[2]}"
        if name not in self._assets.plain or suffix not in _TYPES:
            raise HTTPError(404)
        self.set_header("Content-Type", _TYPES[suffix])
        self.set_header("Cache-Control", _FOREVER if digest == self._assets.digest else "no-cache")
        self.set_header("Vary", "Accept-Encoding")
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            self.write(self._assets.packed[name])
        else:
            self.write(self._assets.plain[name])


def _files_in(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _files_in(entry, f"{prefix}{entry.name}/")
        elif f".{entry.name.rpartition('.')[2]}" in _TYPES:
            found.append((f"{prefix}{entry.name}", entry.read_bytes()))
    return found
