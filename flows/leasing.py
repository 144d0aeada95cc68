"""Keeps the leases of the runs that this process works on, and knows which of them it may still write for.

A run is this worker's while its lease was renewed in time. A process that was paused, or cut off from Redis, finds out
before it writes: it renews at once, takes again what nobody has taken, and asks Prefect, where each start of a run is
counted, whether another worker has gone on meanwhile.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from uuid import UUID, uuid4

from blocks.leases import Holder, LeaseError, Leases, Renewal

_RENEWALS_PER_LEASE = 4
_DOUBT_SECONDS = 0.2

_logger = logging.getLogger(__name__)

# Of these runs, those that nobody else has started since: as Prefect knows it.
Confirm = Callable[[Collection[UUID]], Awaitable[set[UUID]]]
Lost = Callable[[UUID], None]


def this_process(name: str) -> Holder:
    """Return the holder for a worker of this process."""
    return Holder(name=name, place=_place(), pid=os.getpid(), epoch=uuid4().hex)


def is_dead(holder: Holder, me: Holder) -> bool:
    """Tell whether a holder's process is known to be gone; True only for one that this process could see."""
    if holder.place != me.place or holder.epoch == me.epoch:
        return False
    if holder.pid == me.pid:
        return True
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _place() -> str:
    # Containers may share a host's name and still not see each other's processes.
    namespace = Path("/proc/self/ns/pid")
    return f"{gethostname()} {namespace.readlink()}" if namespace.exists() else gethostname()


@dataclass
class LeaseKeeper:
    """The leases of one worker.

    Attributes:
        leases: Where they are.
        confirm: Asks Prefect which of some runs are still this worker's.
        lost: Told of a run that is another worker's now.
    """

    leases: Leases
    confirm: Confirm
    lost: Lost

    def __post_init__(self) -> None:
        self._valid_until: dict[UUID, float] = {}
        # Taken again after they were over, and Prefect has not yet told whether somebody was faster.
        self._doubtful: set[UUID] = set()
        # Who has just come does not know whether Redis has lost anything a moment ago.
        self._reaping_from = time.monotonic() + self.leases.seconds
        self._was_renewed = False
        self._turn = asyncio.Lock()

    @property
    def trusts_missing(self) -> bool:
        """Tell whether a missing lease means a dead worker; not within one lease time after Redis lost or hid them."""
        return time.monotonic() >= self._reaping_from

    async def take(self, run_id: UUID) -> bool:
        """Take a run; without Redis too, because Prefect lets only one worker start it."""
        asked_at = time.monotonic()
        try:
            if not await self._took(str(run_id)):
                return False
        except LeaseError:
            self._distrust()
        self._valid_until[run_id] = asked_at + self.leases.seconds
        return True

    async def _took(self, run_id: str) -> bool:
        """Take what is free, or what a process still holds that died before it could give it back."""
        if await self.leases.take(run_id):
            return True
        holder = (await self.leases.holders([run_id]))[run_id]
        return (
            holder is not None
            and is_dead(holder, self.leases.holder)
            and (await self.leases.take(run_id, instead_of=holder))
        )

    def is_fresh(self, run_id: UUID) -> bool:
        """Tell whether nobody else can have this run by now."""
        return time.monotonic() < self._valid_until.get(run_id, 0.0)

    async def is_ours(self, run_id: UUID) -> bool:
        """Tell whether this worker may still write for a run, and make sure of it when its lease is over."""
        while run_id in self._valid_until and not self.is_fresh(run_id):
            await self._renew_somehow()
            if not self.is_fresh(run_id):
                # Redis and Prefect are away: what nobody can tell is waited for.
                await asyncio.sleep(_DOUBT_SECONDS)
        return run_id in self._valid_until

    def leave(self, run_id: UUID) -> None:
        """Renew a lease no more, and let it end by itself."""
        self._valid_until.pop(run_id, None)
        self._doubtful.discard(run_id)

    async def drop(self, run_id: UUID) -> None:
        """Give a lease back."""
        self.leave(run_id)
        try:
            await self.leases.release([str(run_id)])
        except LeaseError:
            # It ends by itself.
            self._distrust()

    async def keep(self) -> None:
        """Renew until cancelled."""
        while True:
            await self._renew_somehow()
            await asyncio.sleep(self.leases.seconds / _RENEWALS_PER_LEASE)

    async def _renew_somehow(self) -> None:
        try:
            await self._renew()
        except Exception as error:  # noqa: BLE001  # Prefect may be away, too; the next renewal tries again
            _logger.warning("The leases could not be renewed (%s).", type(error).__name__)

    async def _renew(self) -> None:
        async with self._turn:
            asked_at = time.monotonic()
            mine = tuple(self._valid_until)
            try:
                is_known, renewals = await self.leases.renew([str(run_id) for run_id in mine])
            except LeaseError:
                self._distrust()
                # Nobody can take a run while Redis is away from all; when it is away from us alone, Prefect knows.
                self._doubtful.update(run_id for run_id in mine if not self.is_fresh(run_id))
                await self._settle(asked_at)
                return
            if self._was_renewed and not is_known:
                self._distrust()
            self._was_renewed = True
            for run_id in mine:
                match renewals[str(run_id)]:
                    case Renewal.RENEWED if run_id not in self._doubtful:
                        self._extend(run_id, asked_at)
                    case Renewal.RENEWED:
                        pass
                    case _ if run_id not in self._valid_until:
                        # Given back while it was renewed: it stays given back.
                        pass
                    case Renewal.MISSING if await self._took_again(run_id):
                        self._doubtful.add(run_id)
                    case _:
                        self._lose(run_id)
            await self._settle(asked_at)

    async def _took_again(self, run_id: UUID) -> bool:
        try:
            return await self.leases.take(str(run_id))
        except LeaseError:
            return True

    async def _settle(self, asked_at: float) -> None:
        """Keep of the doubtful runs those that nobody else has started; after the lease was taken, never before."""
        self._doubtful &= self._valid_until.keys()
        if not self._doubtful:
            return
        asked = frozenset(self._doubtful)
        async with asyncio.timeout(self.leases.seconds):
            kept = await self.confirm(asked)
        self._doubtful -= asked
        for run_id in asked:
            if run_id in kept:
                self._extend(run_id, asked_at)
            else:
                self._lose(run_id)
                await self.drop(run_id)

    def _extend(self, run_id: UUID, asked_at: float) -> None:
        # One that was dropped meanwhile stays dropped.
        if run_id in self._valid_until:
            self._valid_until[run_id] = asked_at + self.leases.seconds

    def _lose(self, run_id: UUID) -> None:
        self._doubtful.discard(run_id)
        if self._valid_until.pop(run_id, None) is not None:
            self.lost(run_id)

    def _distrust(self) -> None:
        self._reaping_from = time.monotonic() + self.leases.seconds
