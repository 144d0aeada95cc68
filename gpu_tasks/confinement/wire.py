"""Messages over a stream socket: eight bytes of length, then the content."""

import socket

_LENGTH_BYTES = 8


def send(door: socket.socket, content: bytes) -> None:
    """Send one message."""
    door.sendall(len(content).to_bytes(_LENGTH_BYTES, "big") + content)


def receive(door: socket.socket) -> bytes | None:
    """Receive one message; None when the other side is gone."""
    length = _exactly(door, _LENGTH_BYTES)
    return None if length is None else _exactly(door, int.from_bytes(length, "big"))


def _exactly(door: socket.socket, count: int) -> bytes | None:
    received = bytearray()
    while len(received) < count:
        piece = door.recv(min(count - len(received), 1 << 16))
        if not piece:
            return None
        received += piece
    return bytes(received)
