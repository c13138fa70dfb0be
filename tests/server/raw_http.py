"""HTTP by hand: what no client library would send, and clients that leave whenever they like."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from fairway.server.listening import Address


def connect(address: Address, timeout_s: float = 10) -> socket.socket:
    return socket.create_connection((address.host, address.port), timeout=timeout_s)


def post_bytes(path: str, body: dict, headers: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    data = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            data += piece
    return data


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data


def reset(connection: socket.socket) -> None:
    """Closes with a reset instead of a goodbye."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def eventually(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Waits until `condition` holds; fails with its last value."""
    end = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < end, f"still {value!r} after {within_s} s"
        time.sleep(0.005)
