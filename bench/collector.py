"""A trace collector that accepts all requests, for benchmarks of runs with traces."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Collector(ThreadingHTTPServer):
    """Counts requests and bytes. Use it through `collecting`."""

    daemon_threads = True
    requests = 0
    bytes = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.bytes += len(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector for the duration of the block."""
    with Collector(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
