"""A receiver of notifications on 127.0.0.1: a real HTTP server that keeps what Apprise's `json://` sends it."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Got:
    """One message as it came in."""

    title: str
    body: str
    tone: str

    def line(self, name: str) -> str:
        """What the body says after a name: `Weeks`, `Since`, `Likely cause`, `Link`, `To do`."""
        [said] = [line.removeprefix(f"{name}: ") for line in self.body.splitlines() if line.startswith(f"{name}: ")]
        return said


class Webhook(ThreadingHTTPServer):
    """Use it through `serve_webhook`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[Got] = []
        self.status = 200
        """What is answered; a message that is not answered with 200 is not kept."""

    @property
    def url(self) -> str:
        return f"json://user:secret-word@127.0.0.1:{self.server_port}/hook/secret-word"

    def new(self) -> list[Got]:
        """What has come in since this was last asked."""
        got, self.got = self.got, []
        return got


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200:
            self.server.got.append(Got(sent["title"], sent["message"], sent["type"]))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve_webhook() -> Iterator[Webhook]:
    """A receiver that runs until the block ends."""
    with Webhook() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()
