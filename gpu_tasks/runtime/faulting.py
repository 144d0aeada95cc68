"""From any exception to the fault that the caller may see."""

import errno

import cv2
from pydantic import ValidationError

from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.contract.jobs import Stage

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def fault_of(error: BaseException, stage: Stage) -> Fault:
    """Return what to tell the caller; everything that nobody foresaw is INTERNAL, without a word of the exception."""
    if isinstance(error, FaultError):
        return error.fault.model_copy(update={"stage": error.fault.stage or stage})
    return FaultError(_code_of(error), stage=stage).fault


def invalid_job(error: ValidationError) -> FaultError:
    """Return the fault that names the first wrong field, without its value.

    A field that nobody here knows is no caller's mistake: only flows write jobs, and one of a newer release has written
    this one. That is CONTRACT_MISMATCH, for which the job goes to another worker; anything else is REQUEST_INVALID.
    """
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    is_news = all(problem["type"] == "extra_forbidden" for problem in problems)
    return FaultError(FaultCode.CONTRACT_MISMATCH if is_news else FaultCode.REQUEST_INVALID, first_problem(error))


def first_problem(error: ValidationError) -> str:
    """Return `field: what is wrong` for the first problem, without the value: it may be a secret."""
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc']) or 'job'}: {problem['msg']}."


def _code_of(error: BaseException) -> FaultCode:
    match error:
        case MemoryError():
            return FaultCode.OUT_OF_MEMORY
        case cv2.error(code=cv2.Error.StsNoMem):
            return FaultCode.OUT_OF_MEMORY
        case OSError(errno=errno.ENOMEM):
            return FaultCode.OUT_OF_MEMORY
        case OSError() if error.errno in _NO_SPACE:
            return FaultCode.DISK_FULL
        case _:
            return FaultCode.INTERNAL
