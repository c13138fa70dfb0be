"""Where the server listens: a free port, the real address, and who could reach it.

Decides before anything is served; opens one socket. The rule: nothing but this machine can reach a
server without a key unless that was asked for.
"""

from __future__ import annotations

import errno
import socket
import sys
from dataclasses import dataclass
from ipaddress import ip_address

from fairway.errors import SettingsError
from fairway.server.settings import FIRST_PORT, ServerSettings

PORTS_TO_TRY = 100


@dataclass(frozen=True)
class Address:
    """What the socket is really bound to."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """An address to open on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def listen(settings: ServerSettings) -> tuple[socket.socket, Address]:
    """A bound socket. A port that was asked for is used or refused; otherwise the next free one."""
    family, host = _resolve(settings.host)
    refuse_exposure(settings, host)
    if settings.port is not None:
        return _bind_or_refuse(family, host, settings.port)
    for port in range(FIRST_PORT, FIRST_PORT + PORTS_TO_TRY):
        try:
            return _bind(family, host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _cannot(host, port, error) from error
    last = FIRST_PORT + PORTS_TO_TRY - 1
    raise SettingsError(f"Ports {FIRST_PORT} to {last} are all taken.", hint="Choose one with --port.")


def refuse_exposure(settings: ServerSettings, host: str) -> None:
    """Raises `SettingsError` when others could use the server without a key."""
    if settings.has_keys or settings.allow_no_auth or ip_address(host.partition("%")[0]).is_loopback:
        return
    raise SettingsError(
        f"Listening on {settings.host} without an API key would let anyone on the network use this server.",
        hint="Set a key with --api-key or FAIRWAY_SERVER_API_KEYS, or say --allow-no-auth.",
    )


def _resolve(host: str) -> tuple[socket.AddressFamily, str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"There is no address {host!r}.", hint="127.0.0.1 is this machine.") from error
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, str(address[0])


def _bind_or_refuse(family: socket.AddressFamily, host: str, port: int) -> tuple[socket.socket, Address]:
    try:
        return _bind(family, host, port)
    except OSError as error:
        raise _cannot(host, port, error) from error


def _bind(family: socket.AddressFamily, host: str, port: int) -> tuple[socket.socket, Address]:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        # Taken from here on: a second server that tries the same port must fail, not share it.
        opened.listen(2048)
    except OSError:
        opened.close()
        raise
    opened.setblocking(False)
    return opened, Address(host, opened.getsockname()[1])


def _cannot(host: str, port: int, error: OSError) -> SettingsError:
    if error.errno == errno.EADDRINUSE:
        return SettingsError(f"Port {port} on {host} is taken.", hint="Choose another, or leave --port out.")
    if error.errno == errno.EACCES:
        return SettingsError(f"Port {port} on {host} needs more rights.", hint="Choose one above 1023.")
    return SettingsError(f"This machine cannot listen on {host} port {port}: {error.strerror}.")
