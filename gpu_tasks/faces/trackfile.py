"""The tracks artifact: every face of every frame of a clip in a compact file, read by frame.

    magic | length | header (JSON) | piece | piece | ...
    piece: lengths of two zlib streams | who is where (ids, scores, boxes) | meshes

A piece holds 64 frames and decodes alone. Coordinates are whole sixteenths of a pixel, meshes are differences from the
frame before, byte planes apart. Equal faces give equal files.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Segment
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.faces.mesh import box_of
from gpu_tasks.faces.tracker import TrackedFace

_MAGIC: Final = b"lipswap tracks\r\n"
_VERSION: Final = 1
_FRAMES_PER_PIECE: Final = 64
_UNITS_PER_PX: Final = 16
_POINTS: Final = 468
_MOST_FACES: Final = 255
_LENGTH = struct.Struct("<I")
_LENGTHS = struct.Struct("<II")
# Faster levels cost a tenth more bytes, slower ones gain nothing (measured on the sample).
_COMPRESSION: Final = 6


class TracksHeader(BaseModel):
    """Which clip was tracked: frames `clip` of a video of this size, rate and length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = _VERSION
    width: int
    height: int
    fps: Fraction
    target_frame_count: int
    clip: Segment


class FacePlace(NamedTuple):
    """Who is where in a frame, without the mesh: box edges in frame pixels."""

    track_id: int
    score: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height_px(self) -> float:
        return self.bottom - self.top

    @property
    def centre_x(self) -> float:
        return (self.left + self.right) / 2

    @property
    def centre_y(self) -> float:
        return (self.top + self.bottom) / 2


class TracksWriter:
    """Writes the faces of a clip frame by frame; a context. The file appears when it is whole.

    Raises:
        ValueError: At the end, when not every frame of the clip was written.
    """

    def __init__(self, path: Path, header: TracksHeader) -> None:
        self._path = path
        self._left = header.clip.frame_count
        self._partial = path.with_name(f"{path.name}.partial")
        self._piece: list[Sequence[TrackedFace]] = []
        self._file = self._partial.open("wb")
        text = header.model_dump_json().encode()
        self._file.write(_MAGIC + _LENGTH.pack(len(text)) + text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
                self._file.close()
                if self._left:
                    raise ValueError(f"{self._left} frames of the clip were not written")
                self._partial.replace(self._path)
        finally:
            self._file.close()
            self._partial.unlink(missing_ok=True)

    def write(self, faces: Sequence[TrackedFace]) -> None:
        """Add the faces of the next frame."""
        self._piece.append(faces[:_MOST_FACES])
        self._left -= 1
        if len(self._piece) == _FRAMES_PER_PIECE:
            self._flush()

    def _flush(self) -> None:
        if not self._piece:
            return
        faces = [face for frame in self._piece for face in frame]
        meshes = np.array([face.mesh_468 for face in faces], np.float64).reshape(-1, _POINTS, 3)
        units = np.rint(meshes * _UNITS_PER_PX).astype(np.int32)
        ids = np.array([face.track_id for face in faces], "<u4")
        places = b"".join(
            (
                bytes(len(frame) for frame in self._piece),
                ids.tobytes(),
                np.rint(np.array([face.score for face in faces]) * 0xFFFF).astype("<u2").tobytes(),
                _units(np.array([box_of(mesh) for mesh in units.astype(np.float32)]).reshape(-1, 4)).tobytes(),
            )
        )
        packed = zlib.compress(places, _COMPRESSION), zlib.compress(_packed(units, ids), _COMPRESSION)
        self._file.write(_LENGTHS.pack(*map(len, packed)))
        self._file.writelines(packed)
        self._piece.clear()


class _Places(NamedTuple):
    """One piece without meshes. `first[k]` is the first face of the piece's frame k."""

    first: NDArray[np.intp]
    ids: NDArray[np.uint32]
    scores: Floats
    boxes: Floats


class TracksReader:
    """Reads a tracks artifact; a context. Memory does not grow with the length of the clip.

    Raises:
        FaultError: OBJECT_CORRUPT when the file is not a whole tracks artifact of this version.
    """

    header: TracksHeader

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            self.header = _read_header(self._file)
            self._offsets = self._find_pieces()
        except BaseException:
            self._file.close()
            raise
        # Frames come in order, forwards or backwards: this piece and its neighbour are enough.
        self._meshes = lru_cache(maxsize=2)(self._read_meshes)
        self._places = lru_cache(maxsize=2)(self._read_places)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def faces(self, frame: int) -> tuple[TrackedFace, ...]:
        """Return the faces of a frame of the target, the longest tracked first.

        Raises:
            FaultError: REQUEST_INVALID when the frame lies outside the tracked clip; OBJECT_CORRUPT.
        """
        clip = self.header.clip
        if not clip.start_frame <= frame < clip.stop_frame:
            raise FaultError(FaultCode.REQUEST_INVALID, f"Frame {frame} was not tracked.")
        piece, place = divmod(frame - clip.start_frame, _FRAMES_PER_PIECE)
        places, meshes = self._places(piece), self._meshes(piece)
        return tuple(
            TrackedFace(int(places.ids[face]), meshes[face], float(places.scores[face]))
            for face in range(places.first[place], places.first[place + 1])
        )

    def places(self) -> Iterator[tuple[FacePlace, ...]]:
        """Yield who is where, frame by frame over the whole clip; meshes stay unread."""
        for piece in range(len(self._offsets)):
            places = self._read_places(piece)
            for first, stop in zip(places.first[:-1], places.first[1:], strict=True):
                yield tuple(
                    FacePlace(int(places.ids[face]), float(places.scores[face]), *places.boxes[face].tolist())
                    for face in range(first, stop)
                )

    def _find_pieces(self) -> list[tuple[int, int, int]]:
        """Walk over the pieces: offset, length of the places, length of the meshes."""
        size = self._file.seek(0, 2)
        offset = len(_MAGIC) + _LENGTH.size + self._header_bytes()
        found = []
        while offset < size:
            self._file.seek(offset)
            head = self._file.read(_LENGTHS.size)
            if len(head) < _LENGTHS.size:
                raise _corrupt()
            lengths = _LENGTHS.unpack(head)
            found.append((offset + _LENGTHS.size, *lengths))
            offset += _LENGTHS.size + sum(lengths)
        if offset != size or len(found) != -(-self.header.clip.frame_count // _FRAMES_PER_PIECE):
            raise _corrupt()
        return found

    def _header_bytes(self) -> int:
        self._file.seek(len(_MAGIC))
        return int(_LENGTH.unpack(self._file.read(_LENGTH.size))[0])

    def _frames_in(self, piece: int) -> int:
        return min(_FRAMES_PER_PIECE, self.header.clip.frame_count - piece * _FRAMES_PER_PIECE)

    def _read_places(self, piece: int) -> _Places:
        offset, length, _ = self._offsets[piece]
        content, frames = self._inflated(offset, length), self._frames_in(piece)
        counts = np.frombuffer(content[:frames], np.uint8)
        total = int(counts.sum())
        if len(content) != frames + total * (4 + 2 + 16):
            raise _corrupt()
        ids, scores, boxes = (frames + total * part for part in (0, 4, 6))
        return _Places(
            first=np.concatenate([[0], np.cumsum(counts, dtype=np.intp)]),
            ids=np.frombuffer(content, "<u4", total, ids),
            scores=(np.frombuffer(content, "<u2", total, scores) / 0xFFFF).astype(np.float32),
            boxes=_pixels(np.frombuffer(content, "<i4", total * 4, boxes).reshape(-1, 4)),
        )

    def _read_meshes(self, piece: int) -> Floats:
        offset, skipped, length = self._offsets[piece]
        return _pixels(_unpacked(self._inflated(offset + skipped, length), self._places(piece).ids))

    def _inflated(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        try:
            return zlib.decompress(self._file.read(length))
        except zlib.error as error:
            raise _corrupt() from error


def _read_header(file: BinaryIO) -> TracksHeader:
    head = file.read(len(_MAGIC) + _LENGTH.size)
    if not head.startswith(_MAGIC) or len(head) < len(_MAGIC) + _LENGTH.size:
        raise _corrupt()
    try:
        header = TracksHeader.model_validate_json(file.read(_LENGTH.unpack(head[len(_MAGIC) :])[0]))
    except ValidationError as error:
        raise _corrupt() from error
    if header.version != _VERSION:
        raise _corrupt()
    return header


def _packed(units: NDArray[np.int32], ids: NDArray[np.uint32]) -> bytes:
    """Differences along each track, signs folded in (0 -1 1 -2 ...), all low bytes before all higher ones."""
    steps = units.copy()
    for track_id in np.unique(ids):
        steps[ids == track_id] = np.diff(units[ids == track_id], axis=0, prepend=0)
    folded = ((steps << 1) ^ (steps >> 31)).astype("<u4")
    return folded.reshape(-1, 1).view(np.uint8).T.tobytes()


def _unpacked(content: bytes, ids: NDArray[np.uint32]) -> NDArray[np.int32]:
    if len(content) != len(ids) * _POINTS * 3 * 4:
        raise _corrupt()
    planes = np.frombuffer(content, np.uint8).reshape(4, -1)
    folded = np.ascontiguousarray(planes.T).view("<u4").reshape(-1, _POINTS, 3)
    units: NDArray[np.int32] = (folded >> 1).astype(np.int32) ^ -(folded & 1).astype(np.int32)
    for track_id in np.unique(ids):
        units[ids == track_id] = np.cumsum(units[ids == track_id], axis=0, dtype=np.int32)
    return units


def _units(values: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.asarray(np.rint(values), np.int32)


def _pixels(units: NDArray[np.int32]) -> Floats:
    return np.asarray(units / _UNITS_PER_PX, np.float32)


def _corrupt() -> FaultError:
    return FaultError(FaultCode.OBJECT_CORRUPT, "It is no whole tracks artifact of this version.")
