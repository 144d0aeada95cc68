"""One large file over HTTP into a folder: resumed after cuts, never longer than allowed, whole or not there.

Only the standard library, so that a worker that fetches its models needs nothing more than one that has them.
"""

import errno
import logging
import random
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Final, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from gpu_tasks.asking import SCHEMES, InterruptedTransferError, RefusedError, open_safely, place_of, strong_etag

_log = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 1 << 20
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REDIRECTS: Final = range(300, 400)
_GONE_FOR_GOOD: Final = range(400, 500)
# These of the 4xx say "later", not "no".
_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})

# Called with the bytes that are there and, where known, the bytes in all.
Report = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """How long and how much.

    Attributes:
        max_bytes: No file is longer, whatever its server says.
        stall_seconds: A connection that is silent for so long is cut and taken up again.
        deadline_seconds: For the whole file, retries included.
        tries: Attempts in a row that bring no new byte, before an address is given up.
        first_pause_seconds: Before the second of such attempts; doubled for each further one, with a random part.
        proxies: Addresses by scheme, as `urllib.request.getproxies` returns them.
    """

    max_bytes: int = 4 << 30
    stall_seconds: float = 30.0
    deadline_seconds: float = 3600.0
    tries: int = 5
    first_pause_seconds: float = 0.5
    proxies: Mapping[str, str] = field(default_factory=dict)


class _Begun(BaseModel):
    """What an unfinished file is the beginning of."""

    model_config = ConfigDict(frozen=True)

    url: str
    etag: str | None
    total: int | None


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is wanted at `destination`.

    Attributes:
        name: What the log calls it: never an address.
        url: Where it is.
        destination: Where the content grows, a note beside it; complete when `run` returns.
        size_bytes: The length, where it is known: another one is refused before it is fetched.
        digest_known: Whether the caller can tell a right file from a wrong one; then a beginning is taken up also from
            a server that gives it no strong name.
    """

    name: str
    url: str
    destination: Path
    size_bytes: int | None
    digest_known: bool
    limits: DownloadLimits
    report: Report

    def run(self) -> bool:
        """Fetch the file, or what is missing of it.

        Returns:
            Whether a part of it had been there before.

        Raises:
            RefusedError: The address does not give the file; the message says why. What has come stays for next time.
            OSError: ENOSPC and its like: it does not fit. Nothing stays.
        """
        if urlsplit(self.url).scheme not in SCHEMES:
            raise RefusedError("only http and https addresses are asked")
        if not self.digest_known:
            # Nobody could tell whether a crash of the machine lost a piece from the middle of what is there.
            self.forget()
        opener = open_safely(self.limits.proxies)
        deadline = time.monotonic() + self.limits.deadline_seconds
        had_part = self._begun() is not None
        idle, why = 0, ""
        while idle < self.limits.tries:
            if why:
                self._pause(idle, deadline)
            before = self._length()
            try:
                self._go_on(opener, deadline)
            except InterruptedTransferError as interruption:
                why = str(interruption)
                had_part = True
                idle = idle + 1 if self._length() <= before else 0
                _log.info("download interrupted", extra={"facts": {"file": self.name, "why": why, "tries": idle}})
            except OSError as error:
                if error.errno in _NO_SPACE:
                    self.forget()
                raise
            else:
                return had_part
        raise RefusedError(why)

    def forget(self) -> None:
        """Remove what has been fetched so far."""
        self.destination.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self.destination.with_name(f"{self.destination.name}.json")

    def _pause(self, idle: int, deadline: float) -> None:
        longest = self.limits.first_pause_seconds * 2 ** max(idle - 1, 0)
        # Many workers that lost one server shall not come back in one moment.
        pause = longest * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, guards nothing
        if time.monotonic() + pause >= deadline:
            raise RefusedError("the time is over")
        time.sleep(pause)

    def _go_on(self, opener: urllib.request.OpenerDirector, deadline: float) -> None:
        """Make one request, for what is missing or for all, and append or begin anew as the answer says."""
        begun = self._begun()
        have = self._length() if begun else 0
        if begun and have and have == begun.total:
            self._note.unlink()
            return
        headers = {"Accept-Encoding": "identity", "User-Agent": "lipswap"}
        if begun and have:
            headers["Range"] = f"bytes={have}-"
            if begun.etag:
                headers["If-Range"] = begun.etag
        with self._asked(opener, urllib.request.Request(self.url, headers=headers)) as response:  # noqa: S310  # scheme checked
            start, total = place_of(response)
            now = _Begun(url=self.url, etag=strong_etag(response), total=total)
            if start not in {0, have} or (start and now != begun):
                self.forget()
                raise InterruptedTransferError("the server sent a part of another file")
            self._check_total(total)
            if not start:
                # Before the note: it must never stand beside the beginning of another file.
                self.forget()
            self._note.write_text(now.model_dump_json(), encoding="utf-8")
            self._check_space(total, start)
            with self.destination.open("r+b" if start else "wb") as file:
                file.seek(start)
                file.truncate()
                self._receive(response, file, start, total, deadline)
        self._note.unlink(missing_ok=True)

    def _receive(self, response: HTTPResponse, file: IO[bytes], start: int, total: int | None, deadline: float) -> None:
        have = start
        while True:
            if time.monotonic() >= deadline:
                raise RefusedError("the time is over")
            try:
                # At most what one packet brings: a server that drips cannot hold a read for ever.
                chunk = response.read1(_CHUNK_BYTES)
            except (OSError, HTTPException) as error:
                raise InterruptedTransferError(f"the connection broke after {have} bytes") from error
            if not chunk:
                break
            have += len(chunk)
            if have > (total or self.limits.max_bytes):
                self.forget()
                raise RefusedError(f"it is longer than {total or self.limits.max_bytes} bytes")
            file.write(chunk)
            self.report(have, total)
        if total is not None and have < total:
            raise InterruptedTransferError(f"the connection ended after {have} of {total} bytes")
        if self.size_bytes is not None and have != self.size_bytes:
            self.forget()
            raise RefusedError(f"{have} bytes came, {self.size_bytes} are expected")

    @contextmanager
    def _asked(self, opener: urllib.request.OpenerDirector, request: urllib.request.Request) -> Iterator[HTTPResponse]:
        try:
            response = cast("HTTPResponse", opener.open(request, timeout=self.limits.stall_seconds))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    self.forget()
                    raise InterruptedTransferError("what had been fetched does not belong to it") from error
                if error.code in _REDIRECTS:
                    raise RefusedError("it redirects to no address that may be followed") from error
                if error.code in _GONE_FOR_GOOD and error.code not in _LATER:
                    raise RefusedError(f"HTTP {error.code}") from error
                raise InterruptedTransferError(f"HTTP {error.code}") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise RefusedError("its certificate is not valid") from error
            raise InterruptedTransferError("it does not answer") from error
        except (OSError, HTTPException) as error:
            raise InterruptedTransferError("it does not answer") from error
        with response:
            yield response

    def _begun(self) -> _Begun | None:
        """Return what the unfinished file is of, None when it is of no use."""
        try:
            begun = _Begun.model_validate_json(self._note.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        is_of_use = begun.url == self.url and (begun.etag is not None or self.digest_known)
        return begun if is_of_use else None

    def _length(self) -> int:
        try:
            return self.destination.stat().st_size
        except FileNotFoundError:
            return 0

    def _check_total(self, total: int | None) -> None:
        if total is None:
            return
        if self.size_bytes is not None and total != self.size_bytes:
            raise RefusedError(f"it has {total} bytes, {self.size_bytes} are expected")
        if total > self.limits.max_bytes:
            raise RefusedError(f"it has {total} bytes, more than {self.limits.max_bytes}")

    def _check_space(self, total: int | None, have: int) -> None:
        if total is not None and shutil.disk_usage(self.destination.parent).free < total - have:
            raise OSError(errno.ENOSPC, "no space left")
