"""Connections that give up at a deadline, however the answer arrives.

The timeouts of requests and urllib3 limit single reads. A server that sends one byte per second never exceeds them.
"""

import io
import socket
import time
from contextlib import suppress
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any, Final

import urllib3
from requests.adapters import HTTPAdapter


class Deadline:
    """When an exchange must be over: connecting, headers, body and redirects.

    Args:
        seconds: until the deadline.
        pause: maximum seconds without a byte.
    """

    def __init__(self, seconds: float, pause: float) -> None:
        self._started = time.monotonic()
        self._pause = pause
        self.seconds = seconds
        """May be raised while the answer arrives."""

    def wait(self) -> float:
        """Return how many seconds to wait for the next byte.

        Raises:
            TimeoutError: the deadline has passed.
        """
        left = self._started + self.seconds - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, self._pause)

    @property
    def has_passed(self) -> bool:
        """Whether the exchange must be over."""
        return time.monotonic() >= self._started + self.seconds


CURRENT: Final = ContextVar[Deadline]("CURRENT")
"""The deadline of the request that is being sent. Set it before: connections are told nothing else of a request."""


class DeadlineAdapter(HTTPAdapter):
    """Sends requests over connections that keep the deadline in CURRENT."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Make the pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):  # these need their own connections
            manager.pool_classes_by_scheme = _POOLS
        return manager


class _Received(io.RawIOBase):
    """The bytes that a socket receives until a deadline."""

    def __init__(self, connection: socket.socket, received: io.RawIOBase, deadline: Deadline) -> None:
        self._socket, self._received, self._deadline = connection, received, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._deadline.wait())
        return self._received.readinto(buffer)

    def readall(self) -> bytes:
        # A chunk of negative length would read everything into memory. No other caller reads without a limit.
        raise ValueError("the length of a chunk is negative")

    def close(self) -> None:
        self._received.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Received(sock, self.fp.detach(), CURRENT.get()))


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        most = min(self.timeout or CURRENT.get().wait(), CURRENT.get().wait())
        addresses: list[Any] = []
        with suppress(OSError, UnicodeError):  # the call below reports it
            addresses = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        self.timeout = most / max(1, len(addresses))  # urllib3 waits so long for each of them
        connection = super()._new_conn()
        connection.settimeout(min(most, CURRENT.get().wait()))  # for the handshake
        return connection


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS: Final = {"http": _Pool, "https": _TlsPool}
