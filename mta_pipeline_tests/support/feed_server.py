"""A web site with weekly files to test against: a real HTTP server that produces real sites' faults on demand.

It serves one directory in three ways, as real sites do: `index_url` is an MTA-style page that links to files in another
directory, `listing_url` is a directory listing, and `bare_url` serves the files by name without an index.
"""

import contextlib
import email.utils
import hashlib
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mta_pipeline_tests.support.drip import PAUSE, Drip

INDEX = "/developers/turnstile.html"
INDEX_FILES = "/developers/data/nyct/turnstile/"
LISTING = "/listing/"
BARE = "/bare/"


@dataclass(frozen=True)
class Fault:
    """One fault of a response. A field that is not set leaves that part of the response correct.

    `Fault(status=503)`, `Fault(hang=2)`, `Fault(cut_after=100)`, `Fault(cut_after=100, hang=2)` (stalls there),
    `Fault(body=b"<html>…")`, `Fault(headers={"Content-Length": "7"})`, `Fault(status=302, headers={"Location": …})`,
    `Fault(drip="headers")`.
    """

    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """Headers to add or replace in the response; None removes a header."""
    body: bytes | None = None
    hang: float = 0
    """Seconds to wait before the response, or at the place where it is cut."""
    cut_after: int | None = None
    raw: bytes | None = None
    """The whole response, whatever it is, instead of all of the above. The connection is closed after it."""
    drip: str | None = None
    """`headers` or `body`: from there on, send single bytes with a pause after each."""
    pause: float = PAUSE
    """Seconds after each of the single bytes."""


@dataclass(frozen=True)
class ReceivedRequest:
    """One request that the server received."""

    method: str
    path: str
    headers: Mapping[str, str]


class FeedServer(ThreadingHTTPServer):
    """Serves the files of a directory. Create it with `serve_feed`."""

    daemon_threads = True

    def __init__(self, directory: Path, credentials: str | None, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.directory = directory
        self.credentials = credentials
        self.requests: list[ReceivedRequest] = []
        self.index_page: bytes | None = None
        """Served instead of the page made from the directory."""
        self.every_second: Fault | None = None
        """The fault of every second request, counted from the next one."""
        self.closing = threading.Event()
        self.hung_up = threading.Semaphore(0)
        """Released for each dripping response that the client did not wait for."""
        self._faults: dict[str, list[Fault]] = {}
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.host = f"127.0.0.1:{self.server_port}"
        self._root = f"{'http' if tls is None else 'https'}://{self.host}"

    @property
    def index_url(self) -> str:
        return self._root + INDEX

    @property
    def listing_url(self) -> str:
        return self._root + LISTING

    @property
    def bare_url(self) -> str:
        return self._root + BARE

    def fail(self, name: str, fault: Fault, times: int = 1) -> None:
        """Make the next requests whose path ends with `name` fail, such as `turnstile_240113.txt` or `/listing/`."""
        self._faults.setdefault(name, []).extend([fault] * times)

    def recover(self) -> None:
        """Respond correctly to all further requests."""
        self._faults.clear()

    def take_fault(self, path: str) -> Fault | None:
        if self.every_second is not None and len(self.requests) % 2:
            return self.every_second
        return next((faults.pop(0) for name, faults in self._faults.items() if faults and path.endswith(name)), None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that hang up: that is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FeedServer

    def do_GET(self) -> None:
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        self._respond(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: tests read `requests`."""

    def _respond(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append(ReceivedRequest(self.command, self.path, dict(self.headers)))
        status, headers, body = self._response_for(path)
        fault = self.server.take_fault(path) or Fault(status)
        if fault.raw is not None:
            self.wfile.write(fault.raw)
            self.close_connection = True
            return
        headers["Content-Length"] = str(len(body))
        if fault.status != status or fault.body is not None:
            body = fault.body or b""
            headers = {"Content-Length": str(len(body))}
        headers |= fault.headers
        if fault.cut_after is None:
            self.server.closing.wait(fault.hang)
        if fault.drip == "headers":
            self._drip(fault.pause)
        self.send_response(fault.status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        if fault.cut_after is not None or fault.headers:
            self.send_header("Connection", "close")
        self.end_headers()
        if fault.drip == "body":
            self._drip(fault.pause)
        if with_body:
            self.wfile.write(body[: fault.cut_after])
        if fault.cut_after is not None:
            self.wfile.flush()
            self.server.closing.wait(fault.hang)

    def _drip(self, pause: float) -> None:
        """Send everything from here on as single bytes."""
        self.wfile = Drip(self.server.hung_up, self.server.closing, self.connection, pause)

    def _response_for(self, path: str) -> tuple[int, dict[str, str | None], bytes]:
        wanted = self.server.credentials
        if wanted and self.headers.get("Authorization") != f"Basic {b64encode(wanted.encode()).decode()}":
            return HTTPStatus.UNAUTHORIZED, {}, b""
        if path in (INDEX, LISTING):
            page = self._index_page("data/nyct/turnstile/" * (path == INDEX))
            return self._conditional_response(page, {"Content-Type": "text/html"})
        for folder in (INDEX_FILES, LISTING, BARE):
            file = self.server.directory / path.removeprefix(folder)
            if path.startswith(folder) and "/" not in path.removeprefix(folder) and file.is_file():
                return self._file_response(file)
        return HTTPStatus.NOT_FOUND, {}, b"not here"

    def _file_response(self, file: Path) -> tuple[int, dict[str, str | None], bytes]:
        modified = email.utils.formatdate(file.stat().st_mtime, usegmt=True)
        return self._conditional_response(file.read_bytes(), {"Last-Modified": modified})

    def _conditional_response(
        self, body: bytes, headers: dict[str, str | None]
    ) -> tuple[int, dict[str, str | None], bytes]:
        headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        unchanged = self.headers.get("If-None-Match") == headers["ETag"]
        return (HTTPStatus.NOT_MODIFIED, headers, b"") if unchanged else (HTTPStatus.OK, headers, body)

    def _index_page(self, folder: str) -> bytes:
        if self.server.index_page is not None:
            return self.server.index_page
        names = sorted((file.name for file in self.server.directory.iterdir()), reverse=True)
        links = "".join(f'<a href="{folder}{name}">{name}</a><br>\n' for name in names)
        return f"<!DOCTYPE html><html><body><h1>Turnstile Data</h1>{links}</body></html>".encode()


@contextlib.contextmanager
def serve_feed(
    directory: Path, *, credentials: str | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[FeedServer]:
    """Run a server for a directory; `credentials` is the user:password that it requires."""
    with FeedServer(directory, credentials, tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
