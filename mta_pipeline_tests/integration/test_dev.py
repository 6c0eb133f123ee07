"""`make dev` starts one UI per directory of records."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mta_pipeline_tests.conftest import REPOSITORY

UI = "import sys; print(*sys.argv[1:], flush=True); sys.stdin.read()"


def start(home: Path) -> subprocess.Popen[str]:
    """Start `make dev` with a program that prints its arguments instead of `dg dev`."""
    return subprocess.Popen(
        [sys.executable, "-m", "mta_pipeline.cli.dev", sys.executable, "-c", UI],
        cwd=REPOSITORY,
        env={**os.environ, "DAGSTER_HOME": str(home), "LAKE_ROOT": str(home), "MTA_UI": "http://127.0.0.1:3190"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_second_ui_is_refused_with_the_address_and_the_process_of_the_first(processes, tmp_path):
    with start(tmp_path) as first:
        option, port = first.stdout.readline().split()
        assert option == "--port"
        second = start(tmp_path)
        shown, problem = second.communicate()
        assert (second.returncode, shown) == (1, "")
        running = (
            f"make dev is already running: open http://127.0.0.1:{port} (process {first.pid}, records in {tmp_path})"
        )
        assert problem.startswith(f"Error: {running}. ")
        assert len(problem.splitlines()) == 1
        first.stdin.close()
    with start(tmp_path) as third:
        assert third.stdout.readline().startswith("--port")
        third.stdin.close()


@pytest.mark.slow
def test_a_port_that_is_in_use_is_left_alone(processes, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 3190))
        other.listen()
        with start(tmp_path) as ui:
            assert int(ui.stdout.readline().split()[1]) > 3190
            ui.stdin.close()
