"""A trace collector to test against: a real HTTP server that accepts OTLP and returns the spans that it received."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """A span as the collector received it."""

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
    """The spans received so far, in any order."""

    spans: list[Span] = field(default_factory=list)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def path(self, span: Span) -> list[str]:
        """The names of a span and its ancestors, outermost first; '?' stands for a parent that was not received."""
        if not span.parent:
            return [span.name]
        (parent,) = [other for other in self.spans if other.id == span.parent] or [None]
        return [*(self.path(parent) if parent else ["?"]), span.name]


class Collector(Trace, ThreadingHTTPServer):
    """Accepts spans. Create it with `collecting`."""

    daemon_threads = True

    def __init__(self) -> None:
        Trace.__init__(self)
        ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), _Handler)
        self.may_respond = threading.Event()
        self.may_respond.set()
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        self.server.may_respond.wait()
        self.server.spans += parse_spans(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


def parse_spans(body: bytes) -> list[Span]:
    """Parse the spans of one OTLP request over HTTP."""
    request = ExportTraceServiceRequest.FromString(body)
    return [
        _to_span(span) for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
    ]


def _to_span(span: Any) -> Span:
    return Span(
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
    """Run a collector until the block ends."""
    with Collector() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.may_respond.set()
            server.shutdown()
