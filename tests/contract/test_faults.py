import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

from gpu_tasks.contract.faults import MEANINGS, Fault, FaultCode, FaultError
from gpu_tasks.contract.receipts import JobReply
from gpu_tasks.storage import StorageError

# What the RunPod SDK takes out of a handler's answer for itself.
SDK_KEYS = {"error", "refresh_worker", "stopPod"}


@pytest.mark.parametrize("code", FaultCode)
def test_every_code_says_something_to_a_person(code: FaultCode) -> None:
    meaning = MEANINGS[code]
    assert meaning.sentence.endswith(".")
    assert meaning.sentence[0].isupper()
    assert FaultError(code).fault == Fault(code=code, detail=meaning.sentence)
    assert FaultError(code).fault.is_retryable is meaning.retryable


def test_no_meaning_is_left_without_a_code() -> None:
    assert set(MEANINGS) == set(FaultCode)


def test_the_original_services_codes_are_kept() -> None:
    assert {
        "runpod_submit_failed",
        "runpod_status_failed",
        "runpod_job_failed",
        "runpod_job_timeout",
        "no_face_detected",
        "audio_merge_failed",
        "missing_audio_key",
        "facefusion_not_configured",
    } <= {code.value for code in FaultCode}


@pytest.mark.parametrize("kind", [FaultError, StorageError])
def test_an_error_survives_pickling_with_all_it_says(kind: type[FaultError]) -> None:
    error = kind(FaultCode.OBJECT_MISSING, "Key: uploads/a.", stage="ingest")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is kind
    assert copy.fault == error.fault
    assert str(copy) == str(error)


def fail_in_another_process() -> None:
    raise StorageError(FaultCode.OBJECT_EMPTY, "Key: uploads/a.", stage="ingest")


def test_an_error_comes_whole_out_of_a_process_pool() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises(StorageError) as caught,
    ):
        pool.submit(fail_in_another_process).result(timeout=120)
    assert caught.value.fault.code is FaultCode.OBJECT_EMPTY
    assert caught.value.fault.stage == "ingest"


@pytest.mark.parametrize("code", FaultCode)
def test_no_reply_holds_a_key_that_the_sdk_takes_for_its_own(code: FaultCode) -> None:
    wire = JobReply(fault=FaultError(code, stage="wav2lip").fault).model_dump(mode="json", exclude_none=True)
    assert not SDK_KEYS & set(wire)
    assert JobReply.model_validate(wire).fault == FaultError(code, stage="wav2lip").fault


def test_a_reply_is_either_a_receipt_or_a_fault() -> None:
    with pytest.raises(ValueError, match="either a receipt or a fault"):
        JobReply()
