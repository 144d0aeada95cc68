"""What stands in an MP4 outside of what is signed: the standard leaves some boxes out of the digest."""

from collections.abc import Iterator
from typing import IO

_HEAD_BYTES, _LARGE_HEAD_BYTES = 8, 16
# ISO/IEC 14496-12, 4.2: the true size follows, or the box goes to the end of the file.
_SIZE_FOLLOWS, _TO_THE_END = 1, 0
_FRAMES = "mdat"
# Our files have one of these last, as the writers of MP4 do that we use.
_LAST = frozenset({_FRAMES, "moov"})


def has_appendix(file: IO[bytes]) -> bool:
    """Tell whether something other than frames and their index stands behind the first frames of an MP4.

    The digest of C2PA (`c2pa.hash.bmff`) passes over boxes of free space, so that anybody could hang something on.
    """
    kinds = iter(_kinds(file))
    for kind in kinds:
        if kind == _FRAMES:
            break
    return any(kind not in _LAST for kind in kinds)


def _kinds(file: IO[bytes]) -> Iterator[str]:
    """Yield the names of the boxes at the top, in order; the last one is empty when what is left is no box."""
    end, place = file.seek(0, 2), 0
    while place < end:
        file.seek(place)
        head = file.read(_LARGE_HEAD_BYTES)
        size = int.from_bytes(head[:4], "big")
        if size == _TO_THE_END:
            size = end - place
        elif size == _SIZE_FOLLOWS:
            size = int.from_bytes(head[_HEAD_BYTES:], "big")
        if size < _HEAD_BYTES or place + size > end:
            yield ""
            return
        yield head[4:_HEAD_BYTES].decode("latin-1")
        place += size
