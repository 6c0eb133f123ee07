"""A trace collector for a deployment under test: keeps the requests that it receives and returns all of them on GET."""

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class Spool(BaseHTTPRequestHandler):
    bodies: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.bodies.append(base64.b64encode(self.rfile.read(int(self.headers["Content-Length"]))).decode())
        self._respond(b"")

    def do_GET(self) -> None:
        self._respond(json.dumps(self.bodies).encode())

    def _respond(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", 4318), Spool).serve_forever()
