"""Fault injection of backfills in Dagster's daemon, which must complete them without help."""

import os
import shutil
import signal
import time
from contextlib import suppress

from mta_pipeline.tables import RIDERSHIP
from mta_pipeline_tests.fault_injection.deployment import Deployment, deployment
from mta_pipeline_tests.fault_injection.lake_comparison import LakeComparison, half_written
from mta_pipeline_tests.fault_injection.sandbox import Sandbox, ScenarioError


def worker_killed(sandbox: Sandbox, times: int) -> LakeComparison:
    """The run worker is killed with SIGKILL at random moments of a backfill, each time with an empty lake."""
    total = LakeComparison()
    with deployment(sandbox) as deployed:
        for _ in range(times):
            backfill = deployed.backfill()
            _wait_for_a_random_moment(sandbox, deployed)
            damage = _kill_worker(sandbox, deployed, backfill)
            deployed.wait_for_backfills(backfill)
            total += deployed.site.compare(sandbox.undisturbed) + LakeComparison(different=damage)
            _empty(deployed)
    return total


def daemon_killed(sandbox: Sandbox) -> LakeComparison:
    """The daemon is killed with SIGKILL during a backfill, and a new daemon starts half a second later."""
    with deployment(sandbox) as deployed:
        backfill = deployed.backfill()
        _wait_for_a_random_moment(sandbox, deployed)
        deployed.kill("daemon")
        time.sleep(0.5)
        deployed.start_daemon()
        deployed.wait_for_backfills(backfill)
        return deployed.site.compare(sandbox.undisturbed)


def webserver_killed(sandbox: Sandbox) -> LakeComparison:
    """The webserver is killed with SIGKILL during a backfill that it launched."""
    with deployment(sandbox) as deployed:
        backfill = deployed.backfill()
        _wait_for_a_random_moment(sandbox, deployed)
        deployed.kill("webserver")
        deployed.wait_for_backfills(backfill)
        deployed.start_webserver()
        return deployed.site.compare(sandbox.undisturbed)


def power_cut(sandbox: Sandbox) -> LakeComparison:
    """Daemon, webserver, code servers and run worker are killed with SIGKILL during a backfill."""
    with deployment(sandbox) as deployed:
        backfill = deployed.backfill()
        _wait_for_a_random_moment(sandbox, deployed)
        deployed.power_cut()
        damage = half_written(deployed.site.lake, sandbox.undisturbed)
        deployed.start_daemon()
        deployed.wait_for_backfills(backfill)
        return deployed.site.compare(sandbox.undisturbed) + LakeComparison(different=damage)


def two_backfills(sandbox: Sandbox) -> LakeComparison:
    """Two backfills of the same weeks are launched at the same moment."""
    with deployment(sandbox) as deployed:
        backfills = deployed.backfill(), deployed.backfill()
        deployed.wait_for_backfills(*backfills)
        return deployed.site.compare(sandbox.undisturbed)


def run_per_week(sandbox: Sandbox) -> LakeComparison:
    """One run per week, all of them queued at once."""
    with deployment(sandbox) as deployed:
        start = time.monotonic()
        deployed.run_per_week()
        deployed.wait_for_runs()
        sandbox.note(f"  {len(deployed.runs())} runs in {time.monotonic() - start:.0f} s")
        return deployed.site.compare(sandbox.undisturbed)


def _wait_for_a_random_moment(sandbox: Sandbox, deployed: Deployment) -> None:
    site = deployed.site
    site.wait_for_files(sandbox.rng.randrange(site.expected_files - len(site.weeks)))
    time.sleep(sandbox.rng.uniform(0, 0.1))
    sandbox.note(f"  the lake has {site.files()} files")


def _kill_worker(sandbox: Sandbox, deployed: Deployment, backfill: str) -> int:
    while pid := deployed.wait_for_worker(backfill):
        with suppress(ProcessLookupError):  # the run ended just now, and the backfill has further runs
            os.kill(pid, signal.SIGKILL)
            break
    else:
        raise ScenarioError("the backfill ended before its worker could be killed")
    return half_written(deployed.site.lake, sandbox.undisturbed)


def _empty(deployed: Deployment) -> None:
    for layer in ("raw", "staged"):
        shutil.rmtree(deployed.site.lake / layer)
    for table in RIDERSHIP:
        shutil.rmtree(deployed.site.lake / table.layer / table.name)
