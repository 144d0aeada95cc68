"""Two things that onnxruntime does not do with a model file: read a matrix out of it, and free its batch size.

A model file is a protocol buffer (onnx.proto, version IR 3 and later). Read through a memory map, so that half a
gigabyte of weights is not held for one megabyte of it, and without the onnx package, which workers do not need.
"""

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats

# Field numbers of onnx.proto.
_MODEL_GRAPH: Final = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 5, 11, 12, 13
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_RAW = 1, 2, 4, 9
_INFO_NAME, _INFO_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM, _DIM_NAME = 1, 2, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DTYPES: Final[Mapping[int, np.dtype[np.floating]]] = {1: np.dtype("<f4"), 10: np.dtype("<f2")}
_BATCH_NAME: Final = b"batch"


class NotOnnxError(Exception):
    """The bytes are no model."""


class _Field(NamedTuple):
    """One field of a message: `value` of a number, else bytes [start, stop); `begin` is where its tag begins."""

    number: int
    kind: int
    value: int
    begin: int
    start: int
    stop: int


def matrix_of(path: Path, shape: tuple[int, int]) -> Floats | None:
    """Return the last weight of a shape.

    Args:
        path: A model file.
        shape: Rows and columns.

    Returns:
        `shape` float32; None when no weight has this shape.

    Raises:
        NotOnnxError: The file is no model.
    """
    with _mapped(path) as content:
        found = None
        for graph in _only(_fields(content, 0, len(content)), _MODEL_GRAPH):
            for tensor in _only(_fields(content, graph.start, graph.stop), _GRAPH_INITIALIZER):
                fields = tuple(_fields(content, tensor.start, tensor.stop))
                if tuple(_numbers(content, fields, _TENSOR_DIMS)) == shape:
                    found = _values(content, fields, shape)
        return found


def with_free_batch(path: Path, inputs: frozenset[str]) -> bytes:
    """Return a model in which the first size of the named inputs and of all outputs is any number.

    Shapes in between are dropped: the runtime infers them. Whether the graph itself agrees must be tried.

    Args:
        path: A model file.
        inputs: Names.

    Raises:
        NotOnnxError: The file is no model.
    """
    with _mapped(path) as content:
        made = bytearray()
        for field in _fields(content, 0, len(content)):
            if field.number != _MODEL_GRAPH:
                made += content[field.begin : field.stop]
                continue
            graph = bytearray()
            for part in _fields(content, field.start, field.stop):
                if part.number == _GRAPH_VALUE_INFO:
                    continue
                is_named = part.number == _GRAPH_OUTPUT or (
                    part.number == _GRAPH_INPUT and _name(content, part) in inputs
                )
                graph += _freed(content, part) if is_named else content[part.begin : part.stop]
            made += _message(_MODEL_GRAPH, bytes(graph))
        return bytes(made)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content
    except (IndexError, ValueError) as error:
        raise NotOnnxError(path.name) from error


def _fields(content: mmap.mmap, start: int, stop: int) -> Iterator[_Field]:
    at = start
    while at < stop:
        begin = at
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        value = 0
        if kind == _VARINT:
            value, end = _varint(content, at)
        elif kind == _BYTES:
            size, at = _varint(content, at)
            end = at + size
        elif kind in {_FIXED64, _FIXED32}:
            end = at + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError("unknown kind of field")
        if end > stop:
            raise ValueError("a field ends after its message")
        yield _Field(number, kind, value, begin, at, end)
        at = end


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follows
            return value, at
        shift += 7


def _only(fields: Iterator[_Field], number: int) -> Iterator[_Field]:
    return (field for field in fields if field.number == number and field.kind == _BYTES)


def _numbers(content: mmap.mmap, fields: tuple[_Field, ...], number: int) -> Iterator[int]:
    """Yield the numbers of a repeated field, each on its own or packed."""
    for field in fields:
        if field.number != number:
            continue
        if field.kind == _VARINT:
            yield field.value
            continue
        at = field.start
        while at < field.stop:
            value, at = _varint(content, at)
            yield value


def _values(content: mmap.mmap, fields: tuple[_Field, ...], shape: tuple[int, int]) -> Floats | None:
    kinds = {field.number: field for field in fields}
    dtype = _DTYPES.get(kinds[_TENSOR_TYPE].value) if _TENSOR_TYPE in kinds else None
    stored = kinds.get(_TENSOR_RAW) or kinds.get(_TENSOR_FLOATS)
    if dtype is None or stored is None or stored.stop - stored.start != shape[0] * shape[1] * dtype.itemsize:
        return None
    values: NDArray[np.generic] = np.frombuffer(content[stored.start : stored.stop], dtype)
    return values.reshape(shape).astype(np.float32)


def _name(content: mmap.mmap, info: _Field) -> str:
    for field in _only(_fields(content, info.start, info.stop), _INFO_NAME):
        return content[field.start : field.stop].decode("utf-8", "replace")
    return ""


def _freed(content: mmap.mmap, info: _Field) -> bytes:
    """Write a value's description anew, with a name instead of the first size of its shape."""

    def rewritten(message: _Field, path: tuple[int, ...]) -> bytes:
        made, is_first = bytearray(), True
        for field in _fields(content, message.start, message.stop):
            if field.number == path[0] and field.kind == _BYTES and is_first:
                is_first = False
                inner = rewritten(field, path[1:]) if len(path) > 1 else _message(_DIM_NAME, _BATCH_NAME)
                made += _message(field.number, inner)
            else:
                made += content[field.begin : field.stop]
        return bytes(made)

    return _message(info.number, rewritten(info, (_INFO_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM)))


def _message(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | _BYTES) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
