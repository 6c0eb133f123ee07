"""The machine on Google Cloud says that it lives and which runs failed, and says nothing when it cannot know."""

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from dagster_graphql.schema import create_schema
from graphql import parse, validate

from mta_pipeline_tests.conftest import REPOSITORY

_SPEC = importlib.util.spec_from_file_location("signs_of_life", REPOSITORY / "deploy" / "google" / "signs_of_life.py")
signs_of_life = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(signs_of_life)


@pytest.fixture
def webserver():
    """A webserver that gives the answer it is told to, and keeps what it was asked."""

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
def written(monkeypatch, webserver, tmp_path):
    """What is written to Cloud Logging."""
    entries = []
    monkeypatch.setattr(signs_of_life, "write", lambda *entry: entries.append(entry))
    monkeypatch.setattr(signs_of_life, "SINCE", tmp_path / "since")
    address = f"http://127.0.0.1:{webserver.server_port}"
    monkeypatch.setattr(signs_of_life.failed_runs, "__defaults__", (address,))
    return entries


def test_the_question_is_one_that_dagster_answers():
    assert validate(create_schema().graphql_schema, parse(signs_of_life.FAILED_RUNS)) == []


def test_a_run_that_failed_is_told_once_and_life_every_time(webserver, written):
    webserver.answer = {"__typename": "Runs", "results": [{"runId": "7", "jobName": "weekly_ridership"}]}
    signs_of_life.main()
    webserver.answer = {"__typename": "Runs", "results": []}
    signs_of_life.main()
    life = ("mta-alive", "the webserver answers", "INFO")
    assert written == [("mta-failed-runs", "run failed: weekly_ridership 7", "ERROR"), life, life]
    first, second = (asked["variables"]["since"] for asked in webserver.requests)
    assert 0 < second - first < 360


@pytest.mark.parametrize("answer", [{"__typename": "PythonError"}, None], ids=["an error", "nothing"])
def test_a_webserver_that_answers_nonsense_is_no_sign_of_life(webserver, written, answer):
    webserver.answer = answer
    with pytest.raises((OSError, TypeError)):
        signs_of_life.main()
    assert written == []
