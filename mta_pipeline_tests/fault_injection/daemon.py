"""Fault injection of backfills through Dagster's daemon, which must bring them to their end by itself."""

import os
import shutil
import signal
import time
from contextlib import suppress

from mta_pipeline_tests.fault_injection.deployment import Deployment, deployment
from mta_pipeline_tests.fault_injection.lake_comparison import Verdict, half_written
from mta_pipeline_tests.fault_injection.sandbox import Sandbox, ScenarioError


def worker_killed(sandbox: Sandbox, times: int) -> Verdict:
    """kill -9 of the run worker at random moments of a backfill, each time in an empty lake."""
    total = Verdict()
    with deployment(sandbox) as deployed:
        for _ in range(times):
            backfill = deployed.backfill()
            _wait_for_a_random_moment(sandbox, deployed)
            damage = _kill_worker(sandbox, deployed, backfill)
            deployed.wait_for_backfills(backfill)
            total += deployed.site.judge(sandbox.undisturbed) + Verdict(different=damage)
            _empty(deployed)
    return total


def daemon_killed(sandbox: Sandbox) -> Verdict:
    """kill -9 of the daemon in the middle of a backfill, and another daemon half a second later."""
    with deployment(sandbox) as deployed:
        backfill = deployed.backfill()
        _wait_for_a_random_moment(sandbox, deployed)
        deployed.kill("daemon")
        time.sleep(0.5)
        deployed.start_daemon()
        deployed.wait_for_backfills(backfill)
        return deployed.site.judge(sandbox.undisturbed)


def webserver_killed(sandbox: Sandbox) -> Verdict:
    """kill -9 of the webserver in the middle of a backfill that it has launched."""
    with deployment(sandbox) as deployed:
        backfill = deployed.backfill()
        _wait_for_a_random_moment(sandbox, deployed)
        deployed.kill("webserver")
        deployed.wait_for_backfills(backfill)
        deployed.start_webserver()
        return deployed.site.judge(sandbox.undisturbed)


def power_cut(sandbox: Sandbox) -> Verdict:
    """kill -9 of everything in the middle of a backfill: daemon, webserver, code servers, run worker."""
    with deployment(sandbox) as deployed:
        backfill = deployed.backfill()
        _wait_for_a_random_moment(sandbox, deployed)
        deployed.power_cut()
        damage = half_written(deployed.site.lake, sandbox.undisturbed)
        deployed.start_daemon()
        deployed.wait_for_backfills(backfill)
        return deployed.site.judge(sandbox.undisturbed) + Verdict(different=damage)


def two_backfills(sandbox: Sandbox) -> Verdict:
    """Two backfills over the same weeks, launched in the same moment."""
    with deployment(sandbox) as deployed:
        backfills = deployed.backfill(), deployed.backfill()
        deployed.wait_for_backfills(*backfills)
        return deployed.site.judge(sandbox.undisturbed)


def run_per_week(sandbox: Sandbox) -> Verdict:
    """A run per week, all of them in the queue at once."""
    with deployment(sandbox) as deployed:
        start = time.monotonic()
        deployed.run_per_week()
        deployed.wait_for_runs()
        sandbox.note(f"  {len(deployed.runs())} runs in {time.monotonic() - start:.0f} s")
        return deployed.site.judge(sandbox.undisturbed)


def _wait_for_a_random_moment(sandbox: Sandbox, deployed: Deployment) -> None:
    site = deployed.site
    site.wait_for_files(sandbox.rng.randrange(site.expected_files - len(site.weeks)))
    time.sleep(sandbox.rng.uniform(0, 0.1))
    sandbox.note(f"  the lake has {site.files()} files")


def _kill_worker(sandbox: Sandbox, deployed: Deployment, backfill: str) -> int:
    while pid := deployed.wait_for_worker(backfill):
        with suppress(ProcessLookupError):  # it ended just now; a backfill has several runs
            os.kill(pid, signal.SIGKILL)
            break
    else:
        raise ScenarioError("the backfill ended before anything could happen to it")
    return half_written(deployed.site.lake, sandbox.undisturbed)


def _empty(deployed: Deployment) -> None:
    for layer in ("raw", "staged"):
        shutil.rmtree(deployed.site.lake / layer)
    for table in ("turnstile_traffic", "complex_daily", "complex_hourly"):
        shutil.rmtree(deployed.site.lake / "lake" / table)
