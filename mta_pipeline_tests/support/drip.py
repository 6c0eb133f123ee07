"""Sends single bytes, as a slow or hostile server does."""

import io
import socket
import threading
from typing import Any

PAUSE = 0.02
"""Seconds after each byte."""


class Drip(io.BufferedIOBase):
    """Writes single bytes to a connection, with a pause after each.

    Args:
        hung_up: released if the other side closes the connection before the end.
        closing: when set, nothing more is sent.
        connection: where the bytes are sent.
        pause: seconds after each byte.
    """

    def __init__(
        self, hung_up: threading.Semaphore, closing: threading.Event, connection: socket.socket, pause: float = PAUSE
    ) -> None:
        self._hung_up, self._closing, self._connection, self._pause = hung_up, closing, connection, pause

    def write(self, data: Any) -> int:
        for byte in bytes(data):
            try:
                self._connection.sendall(bytes([byte]))
            except OSError:
                self._hung_up.release()
                raise
            if self._closing.wait(self._pause):
                break
        return len(data)
