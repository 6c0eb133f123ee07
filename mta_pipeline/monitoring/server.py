"""The small server that shows health: a page for people at /, metrics for Prometheus at /metrics."""

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

_log = logging.getLogger(__name__)


@dataclass
class OneAtATime:
    """Reads health for whoever asks, once for all that ask within a few seconds."""

    read: Callable[[], Health]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _latest: Health | None = None

    def __call__(self) -> Health:
        """The figures, at most some seconds old."""
        with self._lock:
            if self._latest is None or dt.datetime.now(dt.UTC) - self._latest.at > _FRESH:
                self._latest = self.read()
            return self._latest


class HealthServer(ThreadingHTTPServer):
    """Serves health at an address; what cannot be read is a 503, which Prometheus shows as down."""

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
                self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"There is / and /metrics.\n")
        except Exception:
            # The reason may hold an address or a path that is not for everyone who can ask.
            _log.exception("Health cannot be read")
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", b"Not known; see the log.\n")

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Who asks is not news."""
