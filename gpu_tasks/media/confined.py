"""Decoding a stranger's file in a process that may do little: `gpu_tasks.confinement`, in the words of media."""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel

from gpu_tasks.confinement.confined import Confinement, Confines
from gpu_tasks.confinement.errors import (
    BrokenError,
    KilledError,
    NotStartedError,
    StumbledError,
    TooLongError,
    TooMuchError,
)
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.media.errors import MediaError

Request = TypeVar("Request", bound=BaseModel)
Reply = TypeVar("Reply", bound=BaseModel)

_CONFINEMENT = Confinement("gpu_tasks.media.gate", "gpu_tasks.media.normalise", "gpu_tasks.media.pictures")


def run_confined(
    function: Callable[[Request], Reply], request: Request, *, reply: type[Reply], confines: Confines
) -> Reply:
    """Call `function(request)` in a confined child; see `Confinement.run`.

    Raises:
        MediaError: The fault that the function raised; MEDIA_TOO_COSTLY when it took more than it may; MEDIA_UNREADABLE
            when the child died of the file; OUT_OF_MEMORY when somebody else ended child or template, as the memory
            guard of the system does; INTERNAL when there is no template.
    """
    try:
        return _CONFINEMENT.run(function, request, reply=reply, confines=confines)
    except FaultError as error:
        raise MediaError(*error.args) from error
    except (TooMuchError, TooLongError) as error:
        raise MediaError(FaultCode.MEDIA_TOO_COSTLY) from error
    except BrokenError as error:
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "It breaks the decoder.") from error
    except StumbledError as error:
        raise MediaError(FaultCode.MEDIA_UNREADABLE) from error
    except KilledError as error:
        raise MediaError(FaultCode.OUT_OF_MEMORY, "The process that reads files was ended.") from error
    except NotStartedError as error:
        raise MediaError(FaultCode.INTERNAL, "The process that reads files did not start.") from error
