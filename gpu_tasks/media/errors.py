"""What can go wrong with media, and how FFmpeg's errors become faults.

FaultError
└── MediaError      a file is not sound media, or could not be written
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from av.error import FFmpegError

from gpu_tasks.contract.faults import FaultCode, FaultError

# EFBIG is the limit of a process (RLIMIT_FSIZE), EDQUOT that of a user: to a job each is a full disk.
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class MediaError(FaultError):
    """A file is not sound media, or could not be written."""


@contextmanager
def reading() -> Iterator[None]:
    """Turn FFmpeg's errors into MEDIA_UNREADABLE; its text (never the path) becomes the detail.

    A lack of memory stays MemoryError: it says nothing about the file.
    """
    try:
        yield
    except FFmpegError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from error
        raise MediaError(FaultCode.MEDIA_UNREADABLE, f"{error.strerror}.") from error


@contextmanager
def writing() -> Iterator[None]:
    """Turn a full disk into DISK_FULL; every other error passes as it is."""
    try:
        yield
    except (FFmpegError, OSError) as error:
        if error.errno in _NO_SPACE:
            raise MediaError(FaultCode.DISK_FULL) from error
        raise
