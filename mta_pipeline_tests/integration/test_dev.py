"""`make dev` starts one UI per directory of records, on a free port and without a warning."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import dagster as dg
import pytest
from dagster._daemon.auto_run_reexecution.event_log_consumer import DAGSTER_EVENT_TYPES, _fetch_persisted_cursors

from mta_pipeline.orchestration.dagster_internals import skip_older_events
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.fault_injection.sandbox import wait_until
from mta_pipeline_tests.support.webserver import Webserver


def test_the_first_start_of_the_daemon_ignores_older_failures_without_a_warning(caplog):
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("table"))
        skip_older_events(instance)
        cursors = _fetch_persisted_cursors(instance, DAGSTER_EVENT_TYPES, logging.getLogger("daemon"))
        assert caplog.messages == []
        assert set(cursors.values()) == {1}
        instance.report_runless_asset_event(dg.AssetMaterialization("table"))
        skip_older_events(instance)
        assert _fetch_persisted_cursors(instance, DAGSTER_EVENT_TYPES, logging.getLogger("daemon")) == cursors


def start(home: Path, ui: int, log: IO[str]) -> subprocess.Popen:
    lake = home.parent / "lake"
    variables = {"DAGSTER_HOME": str(home), "LAKE_ROOT": str(lake), "MTA_UI": f"http://127.0.0.1:{ui}"}
    return subprocess.Popen(
        [sys.executable, "-m", "mta_pipeline.cli.dev"],
        cwd=REPOSITORY,
        env={**os.environ, **variables, "VIRTUAL_ENV": sys.prefix},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.mark.slow
def test_make_dev_starts_once_on_a_free_port_without_a_warning(processes, tmp_path):
    home, log = tmp_path / "home", tmp_path / "log.txt"
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as in_use, log.open("w") as output:
        taken = in_use.getsockname()[1]
        first = start(home, taken, output)
        try:
            wait_until(lambda: (home / ".dev").exists() and (home / ".dev").read_text(), "the address")
            address, process = (home / ".dev").read_text().split()
            assert (int(urlsplit(address).port) > taken, int(process)) == (True, first.pid)
            wait_until(Webserver(address).is_up, "the UI")
            with dg.DagsterInstance.from_config(str(home)) as instance:
                daemons = set(instance.get_required_daemon_types())
                wait_until(lambda: daemons <= instance.get_daemon_heartbeats().keys(), "the daemon")
            with (tmp_path / "second.txt").open("w") as refused:
                assert start(home, taken, refused).wait() == 1
        finally:
            first.terminate()  # as the message to the second one says
            first.wait()
    problem = (tmp_path / "second.txt").read_text()
    running = f"Error: make dev is already running: open {address} (process {first.pid}, records in {home}). "
    assert problem.startswith(running)
    assert len(problem.splitlines()) == 1
    shown = log.read_text()
    assert "Serving dagster-webserver" in shown
    assert not [line for line in shown.splitlines() if "WARN" in line or "Warning" in line or "ERROR" in line]
