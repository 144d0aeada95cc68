"""Who calls: the shared secret, an API key, or anybody where neither is asked for; and what each may do."""

import asyncio
import hmac
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request
from pydantic import SecretStr
from starlette.datastructures import Headers

from api_shim import api_keys
from api_shim.api_keys import ApiKey, KeyRing, Scope, Told
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.storage import StorageError

_logger = logging.getLogger(__name__)

# A revoked key opens nothing after this time.
_KNOWN_SECONDS: Final = 60.0
_MOST_KNOWN: Final = 10_000
# Guessers make the bucket answer; more than this many at a time wait for each other.
_LOOKUPS_AT_ONCE: Final = 8
_NOTE_USE_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Caller:
    """Who calls. Without `key` it is somebody who sees everything."""

    key: ApiKey | None = None

    @property
    def key_id(self) -> str | None:
        return self.key.id if self.key else None

    @property
    def sees_all(self) -> bool:
        return self.key is None or Scope.ADMIN in self.key.scopes

    def may(self, scope: Scope) -> bool:
        return self.key is None or scope in self.key.scopes


EVERYBODY: Final = Caller()


class _Staying:
    """The requests of one key that go on."""

    def __init__(self) -> None:
        self.count = 0
        self.is_over = asyncio.Event()


class Callers:
    """Finds out who calls.

    Args:
        ring: Where API keys are kept.
        secret: The original service's shared secret; None: there is none.
        needs_key: Refuse whoever brings neither, even where there is no secret.
        look_seconds: How often the keys of those who stay are read again.
    """

    def __init__(self, ring: KeyRing, *, secret: SecretStr | None, needs_key: bool, look_seconds: float) -> None:
        self._ring = ring
        self._secret = secret
        self._is_open = secret is None and not needs_key
        self._look_seconds = look_seconds
        self._staying: dict[str, _Staying] = {}
        # Of those who have no key.
        self._never = asyncio.Event()
        self._known: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()
        self._noted: dict[str, float] = {}
        self._few_at_once = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self._noting: set[asyncio.Task[None]] = set()

    async def identify(self, headers: Headers) -> Caller:
        """Return who sends these headers.

        Raises:
            FaultError: UNAUTHORIZED, or STORAGE_UNAVAILABLE when a key cannot be looked up.
        """
        told = _told(headers)
        if self._secret is not None and hmac.compare_digest(told.encode(), self._secret.get_secret_value().encode()):
            return EVERYBODY
        if (parts := api_keys.parse(told)) is not None:
            return Caller(await self._opened(parts))
        if self._is_open:
            return EVERYBODY
        raise FaultError(FaultCode.UNAUTHORIZED)

    @contextmanager
    def staying(self, caller: Caller) -> Iterator[asyncio.Event]:
        """Keep an eye on a caller's key as long as the block lasts: it may be revoked while its request goes on.

        Yields what is set when that is heard of.
        """
        if caller.key is None:
            yield self._never
            return
        staying = self._staying.setdefault(caller.key.id, _Staying())
        staying.count += 1
        try:
            yield staying.is_over
        finally:
            staying.count -= 1
            if not staying.count:
                del self._staying[caller.key.id]

    def is_revoked(self, caller: Caller) -> bool:
        """Tell whether the last that was heard of a caller's key is its end; nothing is asked."""
        if caller.key is None:
            return False
        _, known = self._known.get(caller.key.id, (0.0, caller.key))
        return known is None or known.revoked_at is not None

    async def look_after(self) -> None:
        """Read the keys of those who stay again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._look_seconds)
            await self.look()

    async def look(self) -> None:
        """Read the keys of those who stay, however lately that was done."""
        await asyncio.gather(*map(self._look_at, list(self._staying)))

    async def _look_at(self, key_id: str) -> None:
        # A bucket that is away: what was last known holds.
        with suppress(StorageError):
            key = await self._find(key_id, known_seconds=0.0)
            if (key is None or key.revoked_at is not None) and (staying := self._staying.get(key_id)):
                staying.is_over.set()

    async def _opened(self, told: Told) -> ApiKey:
        key = await self._find(told.id)
        if key is None or not key.is_opened_by(told.secret):
            raise FaultError(FaultCode.UNAUTHORIZED)
        self._note_use(key.id)
        return key

    async def _find(self, key_id: str, *, known_seconds: float = _KNOWN_SECONDS) -> ApiKey | None:
        now = time.monotonic()
        looked, known = self._known.get(key_id, (-math.inf, None))
        if now - looked < known_seconds:
            return known
        async with self._few_at_once:
            found = await asyncio.to_thread(self._ring.find, key_id)
        self._known[key_id] = (now, found)
        self._known.move_to_end(key_id)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return found

    def _note_use(self, key_id: str) -> None:
        """Write down that a key is used, now and then and beside the request."""
        now = time.monotonic()
        if now - self._noted.get(key_id, -_NOTE_USE_SECONDS) < _NOTE_USE_SECONDS:
            return
        self._noted[key_id] = now
        task = asyncio.create_task(self._write_use(key_id))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _write_use(self, key_id: str) -> None:
        try:
            await asyncio.to_thread(self._ring.note_use, key_id)
        except StorageError:
            _logger.warning("the use of API key %s could not be written down", key_id)

    async def close(self) -> None:
        """Let what is being written down be written."""
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._noting)


def _told(headers: Headers) -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


# A dependency that is no coroutine costs each request a walk through the pool of threads.
async def caller_of(request: Request) -> Caller:
    """Return who the door has found out to be calling."""
    caller: Caller = request.scope.get("caller", EVERYBODY)
    return caller


Called = Annotated[Caller, Depends(caller_of)]
