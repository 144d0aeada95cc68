"""What a simulated day is told, and what it tells."""

from pydantic import BaseModel, ConfigDict, Field


class StageLoad(BaseModel):
    """One endpoint: how long a job keeps a worker busy, and how many workers there may be."""

    model_config = ConfigDict(frozen=True)

    name: str
    job_seconds: float = Field(gt=0)
    max_workers: int = Field(ge=1)
    min_workers: int = Field(default=0, ge=0)
    cold_seconds: float = Field(default=20.0, ge=0)
    idle_seconds: float = Field(default=30.0, ge=0)


class HostLoad(BaseModel):
    """The CPU processes of all orchestrators, and for how long a job keeps one busy at each of its visits."""

    model_config = ConfigDict(frozen=True)

    processes: int = Field(ge=1)
    before_seconds: tuple[float, ...] = ()
    after_seconds: tuple[float, ...] = ()


class Load(BaseModel):
    """Jobs of a day, and how unevenly they come: `peak` is how many times the mean the busiest hour has."""

    model_config = ConfigDict(frozen=True)

    jobs_per_day: int = Field(gt=0)
    around_seconds: float = Field(default=5.0, ge=0)
    peak: float = Field(default=1.0, ge=1)
    seed: int = 0


class StageOutcome(BaseModel):
    """Seconds are sums over all workers; billed ones include starting and idling."""

    model_config = ConfigDict(frozen=True)

    name: str
    busy_seconds: float
    billed_seconds: float
    cold_starts: int
    most_workers: int
    longest_queue: int
    utilisation: float


class HostOutcome(BaseModel):
    """Seconds are sums over all CPU processes; `utilisation` is from the first arrival to the last end."""

    model_config = ConfigDict(frozen=True)

    processes: int
    busy_seconds: float
    longest_queue: int
    utilisation: float


class Outcome(BaseModel):
    """What a day looked like. `jobs_per_hour` is the throughput from the first arrival to the last end."""

    model_config = ConfigDict(frozen=True)

    jobs: int
    jobs_per_hour: float
    median_seconds: float
    p95_seconds: float
    longest_seconds: float
    stages: tuple[StageOutcome, ...]
    host: HostOutcome | None
