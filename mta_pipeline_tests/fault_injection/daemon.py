"""Drills of backfills through Dagster's daemon, which must bring them to their end by itself."""

import os
import shutil
import signal
import time
from contextlib import suppress

from mta_pipeline_tests.fault_injection.deployment import Deployment, deployment
from mta_pipeline_tests.fault_injection.lake_comparison import Verdict, half_written
from mta_pipeline_tests.fault_injection.sandbox import DrillError, Ground


def worker_killed(ground: Ground, times: int) -> Verdict:
    """kill -9 of the run worker at random moments of a backfill, each time in an empty lake."""
    total = Verdict()
    with deployment(ground) as deployed:
        for _ in range(times):
            backfill = deployed.backfill()
            _wait_for_a_random_moment(ground, deployed)
            damage = _kill_worker(ground, deployed, backfill)
            deployed.wait_for_backfills(backfill)
            total += deployed.site.judge(ground.undisturbed) + Verdict(different=damage)
            _empty(deployed)
    return total


def daemon_killed(ground: Ground) -> Verdict:
    """kill -9 of the daemon in the middle of a backfill, and another daemon half a second later."""
    with deployment(ground) as deployed:
        backfill = deployed.backfill()
        _wait_for_a_random_moment(ground, deployed)
        deployed.kill("daemon")
        time.sleep(0.5)
        deployed.start_daemon()
        deployed.wait_for_backfills(backfill)
        return deployed.site.judge(ground.undisturbed)


def webserver_killed(ground: Ground) -> Verdict:
    """kill -9 of the webserver in the middle of a backfill that it has launched."""
    with deployment(ground) as deployed:
        backfill = deployed.backfill()
        _wait_for_a_random_moment(ground, deployed)
        deployed.kill("webserver")
        deployed.wait_for_backfills(backfill)
        deployed.start_webserver()
        return deployed.site.judge(ground.undisturbed)


def power_cut(ground: Ground) -> Verdict:
    """kill -9 of everything in the middle of a backfill: daemon, webserver, code servers, run worker."""
    with deployment(ground) as deployed:
        backfill = deployed.backfill()
        _wait_for_a_random_moment(ground, deployed)
        deployed.power_cut()
        damage = half_written(deployed.site.lake, ground.undisturbed)
        deployed.start_daemon()
        deployed.wait_for_backfills(backfill)
        return deployed.site.judge(ground.undisturbed) + Verdict(different=damage)


def two_backfills(ground: Ground) -> Verdict:
    """Two backfills over the same weeks, launched in the same moment."""
    with deployment(ground) as deployed:
        backfills = deployed.backfill(), deployed.backfill()
        deployed.wait_for_backfills(*backfills)
        return deployed.site.judge(ground.undisturbed)


def run_per_week(ground: Ground) -> Verdict:
    """A run per week, all of them in the queue at once."""
    with deployment(ground) as deployed:
        start = time.monotonic()
        deployed.run_per_week()
        deployed.wait_for_runs()
        ground.note(f"  {len(deployed.runs())} runs in {time.monotonic() - start:.0f} s")
        return deployed.site.judge(ground.undisturbed)


def _wait_for_a_random_moment(ground: Ground, deployed: Deployment) -> None:
    site = deployed.site
    site.wait_for_files(ground.rng.randrange(site.expected_files - len(site.weeks)))
    time.sleep(ground.rng.uniform(0, 0.1))
    ground.note(f"  the lake has {site.files()} files")


def _kill_worker(ground: Ground, deployed: Deployment, backfill: str) -> int:
    while pid := deployed.wait_for_worker(backfill):
        with suppress(ProcessLookupError):  # it ended just now; a backfill has several runs
            os.kill(pid, signal.SIGKILL)
            break
    else:
        raise DrillError("the backfill ended before anything could happen to it")
    return half_written(deployed.site.lake, ground.undisturbed)


def _empty(deployed: Deployment) -> None:
    for layer in ("raw", "staged"):
        shutil.rmtree(deployed.site.lake / layer)
    for table in ("turnstile_traffic", "complex_daily", "complex_hourly"):
        shutil.rmtree(deployed.site.lake / "lake" / table)
