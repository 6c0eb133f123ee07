"""A receiver of traces to test against: a real HTTP server that takes OTLP, and tells what it got."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    """A span as it came."""

    trace: str
    id: str
    parent: str
    name: str
    began: int
    ended: int
    attributes: dict[str, Any]
    failure: str = ""
    errors: list[dict[str, Any]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Trace:
    """Spans that have come, in any order."""

    spans: list[Received] = field(default_factory=list)

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    def path(self, span: Received) -> list[str]:
        """The names of the spans around one, from the outermost; a parent that has not come is a '?'."""
        if not span.parent:
            return [span.name]
        (above,) = [other for other in self.spans if other.id == span.parent] or [None]
        return [*(self.path(above) if above else ["?"]), span.name]


class Collector(Trace, ThreadingHTTPServer):
    """Takes spans; use it through `collecting`."""

    daemon_threads = True

    def __init__(self) -> None:
        Trace.__init__(self)
        ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), _Handler)
        self.answers_after = threading.Event()
        self.answers_after.set()
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        self.server.answers_after.wait()
        self.server.spans += received(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


def received(body: bytes) -> list[Received]:
    """The spans of one request, as OTLP over HTTP has them."""
    request = ExportTraceServiceRequest.FromString(body)
    return [
        _received(span) for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
    ]


def _received(span: Any) -> Received:
    return Received(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span.attributes),
        span.status.message,
        [_attributes(event.attributes) for event in span.events],
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(item) for item in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that runs as long as the block lasts."""
    with Collector() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.answers_after.set()
            server.shutdown()
