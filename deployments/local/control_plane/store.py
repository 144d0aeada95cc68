"""The queue on disk: every change of a job is written before it is answered, so a restart loses nothing."""

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Self

from deployments.local.control_plane.jobs import Job
from deployments.local.control_plane.messages import Submission

_SCHEMA = """
create table if not exists job (
    id text primary key, endpoint text not null, position integer not null, submission text not null,
    state text not null
) strict;
create index if not exists job_by_place on job (endpoint, position);
create table if not exists counter (
    endpoint text not null, name text not null, value integer not null, primary key (endpoint, name)
) strict;
create table if not exists worker (id text primary key, pid integer not null) strict;
"""


class Count(StrEnum):
    """What is counted per endpoint, over all restarts."""

    SUBMITTED = "submitted"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"
    REQUEUED = "requeued"
    RETRIED = "retried"
    THROTTLED = "throttled"
    FAULTS_INJECTED = "faults_injected"
    WEBHOOKS_DELIVERED = "webhooks_delivered"
    WEBHOOKS_LOST = "webhooks_lost"
    WORKERS_STARTED = "workers_started"
    WORKERS_CRASHED = "workers_crashed"


class Store:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        (last,) = connection.execute("select coalesce(max(position), 0) from job").fetchone()
        self._positions: Iterator[int] = itertools.count(last + 1)

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Self]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # inputs and results of jobs; SQLite's side files get the same mode
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("pragma journal_mode = wal")
            # Survives kill -9 of this process; only a power cut can lose the last changes.
            connection.execute("pragma synchronous = normal")
            connection.executescript(_SCHEMA)
            yield cls(connection)
        finally:
            connection.close()

    def next_position(self) -> int:
        """A place behind all others, of every endpoint."""
        return next(self._positions)

    def insert(self, job: Job) -> None:
        self._connection.execute(
            "insert into job values (?, ?, ?, ?, ?)",
            (job.id, job.endpoint_id, job.position, job.submission.model_dump_json(), _state(job)),
        )

    def update(self, job: Job) -> None:
        """Write the changed state; the submission, which may be megabytes, is written once only."""
        self._connection.execute(
            "update job set position = ?, state = ? where id = ?", (job.position, _state(job), job.id)
        )

    def delete(self, job_id: str) -> None:
        self._connection.execute("delete from job where id = ?", (job_id,))

    def jobs(self, endpoint_id: str) -> list[Job]:
        """All jobs of the endpoint in queue order."""
        rows = self._connection.execute(
            "select submission, state from job where endpoint = ? order by position", (endpoint_id,)
        )
        jobs = []
        for submission, state in rows:
            job = Job.model_validate_json(state)
            jobs.append(job.model_copy(update={"submission": Submission.model_validate_json(submission)}))
        return jobs

    def count(self, endpoint_id: str, name: Count, by: int = 1) -> None:
        self._connection.execute(
            "insert into counter values (?, ?, ?) on conflict do update set value = value + excluded.value",
            (endpoint_id, name, by),
        )

    def counts(self, endpoint_id: str) -> Counter[Count]:
        rows = self._connection.execute("select name, value from counter where endpoint = ?", (endpoint_id,))
        return Counter({Count(name): value for name, value in rows})

    def worker_started(self, worker_id: str, pid: int) -> None:
        self._connection.execute("insert or replace into worker values (?, ?)", (worker_id, pid))

    def worker_ended(self, worker_id: str) -> None:
        self._connection.execute("delete from worker where id = ?", (worker_id,))

    def workers(self) -> dict[str, int]:
        """The process id of each worker that was started and not seen to end."""
        return dict(self._connection.execute("select id, pid from worker").fetchall())


_WRITTEN_ELSEWHERE = Submission(input=None)


def _state(job: Job) -> str:
    return job.model_copy(update={"submission": _WRITTEN_ELSEWHERE}).model_dump_json()
