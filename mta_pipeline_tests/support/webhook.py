"""A receiver of notifications on 127.0.0.1: a real HTTP server that keeps what Apprise's `json://` sends."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Message:
    """One message as it was received."""

    title: str
    body: str
    tone: str

    def line(self, name: str) -> str:
        """Return the value of a line of the body: `Weeks`, `Since`, `Likely cause`, `Link`, `To do`."""
        [value] = [line.removeprefix(f"{name}: ") for line in self.body.splitlines() if line.startswith(f"{name}: ")]
        return value


class Webhook(ThreadingHTTPServer):
    """Create it with `serve_webhook`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Message] = []
        self.status = 200
        """The status of responses. A message with another response than 200 is not kept."""

    @property
    def url(self) -> str:
        return f"json://user:secret-word@127.0.0.1:{self.server_port}/hook/secret-word"

    def new(self) -> list[Message]:
        """Return the messages received since the last call."""
        received, self.received = self.received, []
        return received


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200:
            self.server.received.append(Message(sent["title"], sent["message"], sent["type"]))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def serve_webhook() -> Iterator[Webhook]:
    """Run a receiver until the block ends."""
    with Webhook() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()
