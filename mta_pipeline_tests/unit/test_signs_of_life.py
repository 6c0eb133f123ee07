"""The machine on Google Cloud logs a heartbeat and failed runs, and nothing if the webserver responds wrongly."""

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from dagster_graphql.schema import create_schema
from graphql import parse, validate

from mta_pipeline_tests.conftest import REPOSITORY

_SPEC = importlib.util.spec_from_file_location("heartbeat", REPOSITORY / "deploy" / "google" / "heartbeat.py")
signs_of_life = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(signs_of_life)


@pytest.fixture
def webserver():
    """A webserver that returns the answer that a test sets, and keeps the requests that it received."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            server.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": {"runsOrError": server.answer}}).encode())

        def log_message(self, *_): ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def entries_written(monkeypatch, webserver, tmp_path):
    """The entries written to Cloud Logging."""
    entries = []
    monkeypatch.setattr(signs_of_life, "write", lambda *entry: entries.append(entry))
    monkeypatch.setattr(signs_of_life, "SINCE", tmp_path / "since")
    address = f"http://127.0.0.1:{webserver.server_port}"
    monkeypatch.setattr(signs_of_life.failed_runs, "__defaults__", (address,))
    return entries


def test_the_query_is_valid_in_dagsters_schema():
    assert validate(create_schema().graphql_schema, parse(signs_of_life.FAILED_RUNS)) == []


def test_a_failed_run_is_logged_once_and_the_heartbeat_every_time(webserver, entries_written):
    webserver.answer = {"__typename": "Runs", "results": [{"runId": "7", "jobName": "weekly_ridership"}]}
    signs_of_life.main()
    webserver.answer = {"__typename": "Runs", "results": []}
    signs_of_life.main()
    life = ("mta-alive", "the webserver answers", "INFO")
    assert entries_written == [("mta-failed-runs", "run failed: weekly_ridership 7", "ERROR"), life, life]
    first, second = (request["variables"]["since"] for request in webserver.requests)
    assert 0 < second - first < 360


@pytest.mark.parametrize("answer", [{"__typename": "PythonError"}, None], ids=["an error", "nothing"])
def test_an_invalid_response_of_the_webserver_gives_no_heartbeat(webserver, entries_written, answer):
    webserver.answer = answer
    with pytest.raises((OSError, TypeError)):
        signs_of_life.main()
    assert entries_written == []
