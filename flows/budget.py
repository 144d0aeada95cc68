"""What a run, and all runs of a day, may spend on GPUs: asked before every submit, so that nothing is overspent.

The most that an attempt can cost is known beforehand, because RunPod stops it after its execution timeout. That much is
reserved; when the attempt has ended, what it really cost takes its place. (RunPod may run an attempt again when its
worker dies: this second execution is not reserved, but counted as soon as it is known.)
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from blocks.bounds import BudgetBounds
from blocks.job_store import JobStore, JobStoreError
from blocks.spending import Amount, Booked, DayBook, Limits, Room, room_for
from flows.accounts import JobAccount, Spent
from flows.ledger import read_accounts
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.storage import ArtifactStore

_LOOK_SECONDS = 2.0


@dataclass
class Budget:
    """The limits of one run and of its day.

    Attributes:
        bounds: The limits.
        jobs: Where the day is counted.
        store: The ledger, from which the day is counted anew.
        task_id: The run.
    """

    bounds: BudgetBounds
    jobs: JobStore
    store: ArtifactStore
    task_id: str
    _booked: dict[str, Booked] = field(default_factory=dict)

    async def reserve(self, entry: str, *, seconds: float, usd_per_second: float | None, patience: float) -> None:
        """Reserve the most that an attempt can cost, waiting a while for what others have reserved and will not need.

        Raises:
            FaultError: BUDGET_EXCEEDED, naming the setting.
        """
        wanted = Amount(seconds=seconds, usd=seconds * (usd_per_second or 0.0))
        deadline = time.monotonic() + patience
        while (tight := await self._tight(entry, wanted)) is not None:
            name, room = tight
            if room is Room.SPENT or time.monotonic() > deadline:
                raise FaultError(FaultCode.BUDGET_EXCEEDED, self._sentence(name, wanted))
            await asyncio.sleep(_LOOK_SECONDS)

    def yield_to_another(self, entry: str) -> None:
        """Leave an attempt to the run that was first to claim it; what the day has reserved is that run's now."""
        self._booked.pop(entry, None)

    async def settle(self, account: JobAccount) -> None:
        """Book what this run's attempts of a job have cost; called whenever one has ended."""
        spent: dict[tuple[date, str], Spent] = {}
        for execution in account.executions:
            if execution.task_id == self.task_id and execution.outcome != "open":
                name = (_day(execution.claimed_at), entry_name(account, execution.attempt))
                spent[name] = spent.get(name, Spent()) + execution.spent
        for (day, entry), cost in spent.items():
            amount = Amount(seconds=cost.gpu_seconds, usd=cost.usd or 0.0)
            self._booked[entry] = Booked(amount, is_open=False)
            if self._day_limits != Limits():
                # The ledger has it, too: Redis is filled from there when it comes back empty.
                with suppress(JobStoreError):
                    await DayBook(self.jobs).settle(day, entry, amount)

    def remember(self, stage: str, fingerprint: str, spent: Spent) -> None:
        """Count a job that this run has paid for before it was taken up again, here or by another worker."""
        name = f"{stage}/{fingerprint}"
        if not any(entry.startswith(f"{name}/") for entry in self._booked):
            amount = Amount(seconds=spent.gpu_seconds, usd=spent.usd or 0.0)
            self._booked[name] = Booked(amount, is_open=False)

    @property
    def _run_limits(self) -> Limits:
        return Limits(self.bounds.max_gpu_seconds_per_run, self.bounds.max_usd_per_run)

    @property
    def _day_limits(self) -> Limits:
        return Limits(self.bounds.max_gpu_seconds_per_day, self.bounds.max_usd_per_day)

    async def _tight(self, entry: str, wanted: Amount) -> tuple[str, Room] | None:
        """Return which limit leaves no room now, None when both leave some and it is booked."""
        others = {name: booked for name, booked in self._booked.items() if name != entry}
        if (room := room_for(wanted, others, self._run_limits)) is not Room.FREE:
            return "RUN", room
        # Booked before anything is waited for: jobs of one run ask at the same time.
        self._booked[entry] = Booked(wanted, is_open=True)
        if self._day_limits == Limits():
            return None
        room = Room.LATER
        try:
            room = await self._reserve_day(_today(), entry, wanted)
        finally:
            if room is not Room.FREE:
                del self._booked[entry]
        return None if room is Room.FREE else ("DAY", room)

    async def _reserve_day(self, day: date, entry: str, wanted: Amount) -> Room:
        book = DayBook(self.jobs)
        try:
            room = await book.reserve(day, entry, wanted, self._day_limits)
            if room is None:
                await book.fill(day, await asyncio.to_thread(booked_on, self.store, day))
                room = await book.reserve(day, entry, wanted, self._day_limits)
        except JobStoreError:
            room = None
        if room is None:
            # Redis is away: the ledger alone decides, which is slower and lets two runs ask at the same moment.
            booked = await asyncio.to_thread(booked_on, self.store, day)
            booked.pop(entry, None)
            room = room_for(wanted, booked, self._day_limits)
        return room

    def _sentence(self, period: str, wanted: Amount) -> str:
        limits = self._run_limits if period == "RUN" else self._day_limits
        named = (
            ("GPU_SECONDS", limits.seconds, f"{wanted.seconds:.0f} s"),
            ("USD", limits.usd, f"{wanted.usd:.2f} USD"),
        )
        told = ", ".join(
            f"LIPSWAP_MAX_{unit}_PER_{period} is {limit:g}, the next attempt may need {most}"
            for unit, limit, most in named
            if limit is not None
        )
        return f"{told}; raise it{'' if period == 'RUN' else ' or wait until tomorrow (UTC)'}."


def entry_name(account: JobAccount, attempt: int) -> str:
    """Name an attempt in the books."""
    return f"{account.stage}/{account.fingerprint}/{attempt}"


def booked_on(store: ArtifactStore, day: date) -> dict[str, Booked]:
    """Count a day anew from the ledger: what has ended by its cost, what is open by the most that it can cost.

    Raises:
        StorageError: The bucket is away.
    """
    booked: dict[str, Booked] = {}
    begin = datetime.combine(day, datetime.min.time(), tzinfo=UTC)
    for account in read_accounts(store, since=begin):
        for execution in account.executions:
            if _day(execution.claimed_at) != day:
                continue
            entry = entry_name(account, execution.attempt)
            before = booked.get(entry, Booked(Amount(), is_open=False))
            is_open = execution.outcome == "open"
            most = execution.most if is_open else execution.spent
            amount = before.amount + Amount(seconds=most.gpu_seconds, usd=most.usd or 0.0)
            booked[entry] = Booked(amount, is_open=is_open or before.is_open)
    return booked


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _today() -> date:
    return datetime.now(UTC).date()
