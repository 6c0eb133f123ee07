"""`make dev` starts the UI and the daemon without a warning."""

import logging
import os
import signal
import subprocess
import sys

import dagster as dg
import pytest
from dagster._daemon.auto_run_reexecution.event_log_consumer import DAGSTER_EVENT_TYPES, _fetch_persisted_cursors

from mta_pipeline.orchestration.dagster_internals import skip_older_events
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.containers.deployment import free_port
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


@pytest.mark.slow
def test_make_dev_starts_without_a_warning(processes, tmp_path):
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    (home / "dagster.yaml").symlink_to(REPOSITORY / "dagster.yaml")
    variables = {"DAGSTER_HOME": str(home), "LAKE_ROOT": str(tmp_path / "lake"), "VIRTUAL_ENV": sys.prefix}
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", "mta_pipeline.cli.dg", "dev", "--port", str(port)],
            cwd=REPOSITORY,
            env={**os.environ, **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            wait_until(Webserver(f"http://127.0.0.1:{port}").is_up, "the UI")
            daemons = set(instance.get_required_daemon_types())
            wait_until(lambda: daemons <= instance.get_daemon_heartbeats().keys(), "the daemon")
    finally:
        os.killpg(started.pid, signal.SIGINT)
        started.wait()
    shown = log.read_text()
    assert "Serving dagster-webserver" in shown
    assert not [line for line in shown.splitlines() if "WARN" in line or "Warning" in line or "ERROR" in line]
