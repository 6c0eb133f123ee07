"""A folder that another process has locked is reported, and not waited for without end."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from upath import UPath

from mta_pipeline.cli.exit_codes import ExitCode
from mta_pipeline.lake import storage
from mta_pipeline.lake.storage import LockedFolder, folder_lock
from mta_pipeline.telemetry.run_traces import LOG_SETTINGS
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of, valid_week
from mta_pipeline_tests.support.locks import locked
from mta_pipeline_tests.unit.test_cli import run_command


@pytest.fixture
def impatient(monkeypatch):
    """Warnings and timeouts come at once."""
    monkeypatch.setattr(storage, "_LOCK_REPORT", 0.0)
    monkeypatch.setattr(storage, "_LOCK_TIMEOUT", 0.1)


def lock(folder: Path, *, is_held_long: bool = False) -> None:
    with folder_lock(UPath(folder), is_held_long=is_held_long):
        pass


def test_the_error_for_a_locked_folder_names_it_its_holder_and_what_to_do(tmp_path, impatient, caplog):
    with locked(tmp_path), pytest.raises(LockedFolder) as raised:
        lock(tmp_path)
    holder = f"process {os.getpid()} (" if Path("/proc/locks").exists() else "another process"
    for message in (str(raised.value), caplog.text):
        assert f"{tmp_path}: " in message
        assert holder in message
    assert "If that process hangs, end it. Then launch again" in str(raised.value)
    lock(tmp_path)


@pytest.mark.parametrize("locks", ["", "no such format\n", "1: FLOCK  ADVISORY  WRITE 0 {identity} 0 EOF\n"])
def test_a_holder_that_cannot_be_found_is_another_process(tmp_path, impatient, monkeypatch, locks):
    found = tmp_path.stat()
    identity = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: locks.format(identity=identity))
    with locked(tmp_path), pytest.raises(LockedFolder, match="by another process"):
        lock(tmp_path)


def test_a_lock_that_is_held_for_hours_is_reported_and_waited_for(tmp_path, impatient, monkeypatch, caplog):
    holder = locked(tmp_path)
    holder.__enter__()
    days = SimpleNamespace(monotonic=iter((0, 86_400)).__next__, sleep=lambda _: holder.__exit__(None, None, None))
    monkeypatch.setattr(storage, "time", days)
    lock(tmp_path, is_held_long=True)
    assert f"{tmp_path}: waiting for the lock" in caplog.text


def test_a_file_system_without_locks_needs_none(tmp_path, monkeypatch):
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    lock(tmp_path)


def test_a_locked_week_fails_the_run_and_its_log_has_the_warning(tmp_path, impatient):
    with dg.DagsterInstance.ephemeral(settings=dict(LOG_SETTINGS)) as instance:
        project = Project(tmp_path, instance=instance)
        for week in WEEKS[:2]:
            project.publish(week, valid_week(week))
        folder = project.lake / "staged" / "turnstile_readings" / f"week={WEEKS[0]}"
        with locked(folder):
            result = project.run(*WEEKS[:2])
        warnings = [e for e in instance.all_logs(result.run_id) if e.level == logging.WARNING]
    assert not result.success
    assert f"{folder}: locked for more than" in failure_of(result)
    assert f"week {WEEKS[0]}: " not in failure_of(result)
    assert f"{folder}: waiting for the lock of" in "\n".join(entry.user_message for entry in warnings)


def test_locked_records_end_the_command(tmp_path, impatient, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / file_name(WEEKS[0])).touch()
    with locked(tmp_path / "home"):
        result = run_command(
            "run", "--weeks", WEEKS[0], MTA_FEED=".", LAKE_ROOT="lake", DAGSTER_HOME=str(tmp_path / "home")
        )
    assert result.exit_code == ExitCode.UNREACHABLE
    assert f"Error: {tmp_path}/home: locked for more than" in result.output


@pytest.mark.slow
def test_a_stopped_process_that_holds_a_lock_is_named_with_its_command(processes, tmp_path, impatient):
    script = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX); print(1, flush=True); input()"
    command = [sys.executable, "-c", script, tmp_path, "https://user:s3cret@host/"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline()
            holder.send_signal(signal.SIGSTOP)
            with pytest.raises(LockedFolder) as raised:
                lock(tmp_path)
        finally:
            holder.kill()
    assert f"by process {holder.pid} ({sys.executable} -c import" in str(raised.value)
    assert f"{tmp_path} https://host/)." in str(raised.value)
