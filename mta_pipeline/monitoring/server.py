"""The HTTP server for health: a status page at /, Prometheus metrics at /metrics."""

import datetime as dt
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client.exposition import choose_encoder

from mta_pipeline.monitoring.health import Health
from mta_pipeline.monitoring.metrics import registry
from mta_pipeline.monitoring.status import page

_FRESH: Final = dt.timedelta(seconds=5)
"""Maximum age of figures that are reused for another request."""

_TEXT: Final = "text/plain; charset=utf-8"

_log = logging.getLogger(__name__)


@dataclass
class OneAtATime:
    """Reads health once for all requests within a few seconds. Only one thread reads at a time."""

    read: Callable[[], Health]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _latest: Health | None = None

    def __call__(self) -> Health:
        """The figures, at most a few seconds old."""
        with self._lock:
            if self._latest is None or dt.datetime.now(dt.UTC) - self._latest.at > _FRESH:
                self._latest = self.read()
            return self._latest


class HealthServer(ThreadingHTTPServer):
    """Serves health at an address. It answers 503 if health cannot be read; Prometheus then reports `up == 0`."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], read: Callable[[], Health]) -> None:
        super().__init__(address, _Handler)
        self.read = OneAtATime(read)
        self.registry = registry(self.read)


class _Handler(BaseHTTPRequestHandler):
    server: HealthServer
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        try:
            if path == "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, kind, encode(self.server.registry))
            elif path == "/":
                self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page(self.server.read()).encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"Not found. Available pages: / and /metrics.\n")
        except Exception:
            # The reason may contain an address or a path, which not every client may see.
            _log.exception("Health cannot be read")
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"Health cannot be read. See the log.\n")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log requests."""
