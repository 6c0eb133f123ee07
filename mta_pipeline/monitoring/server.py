"""The HTTP server for health: a status page at /, Prometheus metrics at /metrics."""

import logging
import math
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, TypeVar

from prometheus_client.exposition import choose_encoder

from mta_pipeline.monitoring.health import Health
from mta_pipeline.monitoring.metrics import registry
from mta_pipeline.monitoring.status import page

_FRESH: Final = 5.0
"""Seconds for which a reading, or the failure to read, is reused."""
_MAX_ANSWERS: Final = 8
"""Number of answers that are kept. The client chooses the version in a content type, so there can be many."""

_TEXT: Final = "text/plain; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"

T = TypeVar("T")

_log = logging.getLogger(__name__)


class HealthServer(ThreadingHTTPServer):
    """Serves health at an address. It answers 503 if health cannot be read; Prometheus then reports `up == 0`.

    One thread at a time reads health and makes answers of it. The others wait for these.
    """

    daemon_threads = True
    request_queue_size = 128
    """Connections that can wait. The system drops others, and their clients try again after a second or more."""

    def __init__(self, address: tuple[str, int], read: Callable[[], Health]) -> None:
        super().__init__(address, _Handler)
        self._read = read
        self._lock = threading.Lock()
        self._read_until = -math.inf
        self._health: Health | None = None
        self._answers: dict[str, bytes | None] = {}

    def answer(self, kind: str, make: Callable[[Health], bytes]) -> bytes | None:
        """Return an answer of this content type, a few seconds old at most, or None if health cannot be read."""
        with self._lock:
            if time.monotonic() >= self._read_until:
                self._health = _or_none(self._read)
                self._read_until = time.monotonic() + _FRESH
                self._answers.clear()
            health = self._health
            if kind not in self._answers:
                if len(self._answers) == _MAX_ANSWERS:
                    self._answers.clear()
                self._answers[kind] = None if health is None else _or_none(lambda: make(health))
            return self._answers[kind]


class _Handler(BaseHTTPRequestHandler):
    server: HealthServer
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = _encoder(self.headers.get("Accept", ""))
            self._answer_with(kind, lambda health: encode(registry(lambda: health)))
        elif path == "/":
            self._answer_with(_HTML, lambda health: page(health).encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"Not found. Available pages: / and /metrics.\n")

    def _answer_with(self, kind: str, make: Callable[[Health], bytes]) -> None:
        body = self.server.answer(kind, make)
        if body is None:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"Health cannot be read. See the log.\n")
        else:
            self._answer(HTTPStatus.OK, kind, body)

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log requests."""


def _or_none(call: Callable[[], T]) -> T | None:
    """The result of a call, or None if it fails. The log has the reason, which clients do not get."""
    try:
        return call()
    except Exception:  # Its message may contain an address or a path, which not every client may see.
        _log.exception("Health cannot be read")
        return None


def _encoder(accept: str) -> tuple[Callable[[Any], bytes], str]:
    """The encoder and the content type for an `Accept` header. An invalid one gets the default text format."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")
