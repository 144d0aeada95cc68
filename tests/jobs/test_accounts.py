"""Accounts of jobs, from what flow and workers leave in the bucket."""

from datetime import UTC, datetime, timedelta

import pytest

from flows.accounts import Traces, account_of
from flows.retrying import AT_THE_DOOR, OF_ANOTHER_RELEASE, RETRIES, Retry
from gpu_tasks.contract.faults import MEANINGS, FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.prices import price_table
from gpu_tasks.contract.receipts import AttemptEnd, Claim, StartMarker

BEGAN = datetime(2026, 11, 25, 12, tzinfo=UTC)
FINGERPRINT = "a" * 64


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def claim(attempt: int = 1, cause: str = "first", **terms: float) -> Claim:
    return Claim(
        fingerprint=FINGERPRINT,
        stage=Stage.WAV2LIP,
        attempt=attempt,
        task_id=f"run-{attempt}",
        cause=cause,
        claimed_at=BEGAN,
        endpoint_id="lips",
        job_id=f"job-{attempt}",
        **terms,
    )


def started(execution: int, seconds: float, *, attempt: int = 1) -> StartMarker:
    return StartMarker(
        fingerprint=FINGERPRINT,
        stage=Stage.WAV2LIP,
        attempt=attempt,
        execution=execution,
        job_id=f"job-{attempt}",
        worker_id=f"worker-{execution}",
        started_at=after(seconds),
    )


def ended(seconds: float, *, attempt: int = 1, billed: float | None = None, **facts: object) -> AttemptEnd:
    return AttemptEnd(
        fingerprint=FINGERPRINT,
        stage=Stage.WAV2LIP,
        attempt=attempt,
        ended_at=after(seconds),
        execution_seconds=billed,
        **{"status": "FAILED", "fault": FaultCode.RUNPOD_JOB_FAILED, **facts},
    )


def test_every_execution_beyond_the_first_has_a_cause() -> None:
    traces = Traces(
        "wav2lip",
        FINGERPRINT,
        claims=(claim(), claim(2, "runpod_job_failed")),
        markers=(started(1, 0), started(2, 30), started(1, 100, attempt=2)),
        ends=(ended(90, billed=50),),
    )
    account = account_of(traces, now=after(110))
    assert [(entry.attempt, entry.execution, entry.cause) for entry in account.worked] == [
        (1, 1, "first"),
        (1, 2, "restarted_by_runpod"),
        (2, 1, "runpod_job_failed"),
    ]
    assert [entry.gpu_seconds for entry in account.worked] == [30, 50, 10]
    assert [entry.is_estimate for entry in account.worked] == [True, False, True]
    assert all(entry.cause != "first" for entry in account.repeats)
    assert account.spent("run-2").gpu_seconds == 10


def test_an_execution_that_nobody_saw_end_cost_no_more_than_runpod_allowed() -> None:
    traces = Traces("wav2lip", FINGERPRINT, claims=(claim(execution_seconds=20.0),), markers=(started(1, 0),))
    (execution,) = account_of(traces, now=after(9999)).executions
    assert (execution.gpu_seconds, execution.outcome) == (20, "open")


def test_seconds_are_billed_in_full_and_without_a_price_nothing_is_said() -> None:
    priced = Traces("wav2lip", FINGERPRINT, (claim(usd_per_second=0.5),), ends=(ended(5, billed=2.3),))
    assert account_of(priced, now=after(9)).spent().usd == 1.5
    unpriced = Traces("wav2lip", FINGERPRINT, (claim(),), ends=(ended(5, billed=2.3),))
    assert account_of(unpriced, now=after(9)).spent().usd is None


def test_work_that_no_claim_names_is_named_so() -> None:
    traces = Traces("wav2lip", FINGERPRINT, markers=(started(1, 0),))
    assert [entry.cause for entry in account_of(traces, now=after(1)).executions] == ["unclaimed"]


def test_every_fault_has_a_retry_and_what_helps_is_told_as_retryable() -> None:
    assert set(RETRIES) == set(FaultCode)
    told = {code for code, meaning in MEANINGS.items() if meaning.retryable} - AT_THE_DOOR
    helped = {code for code, retry in RETRIES.items() if retry in {Retry.ATTEMPT, Retry.WAIT}}
    # Another run took over: nothing for a caller to repeat. No capacity: another endpoint or another hour.
    assert helped - told == {FaultCode.SUPERSEDED} | OF_ANOTHER_RELEASE
    assert told - helped == {FaultCode.RUNPOD_NO_CAPACITY}


def test_the_price_table_has_a_source_a_day_and_positive_prices() -> None:
    table = price_table()
    assert table.source.startswith("https://docs.runpod.io/")
    assert table.read_on <= datetime.now(UTC).date()
    assert all(0 < price < 0.01 for price in table.usd_per_second.values())
    assert table.price_of("4090 PRO") == pytest.approx(0.00031)
