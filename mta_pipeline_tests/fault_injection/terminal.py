"""Fault injection of `mta-pipeline run`: no daemon retries anything, only a new launch of the command helps."""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mta_pipeline.cli.exit_codes import ExitCode
from mta_pipeline.lake.raw_files import RAW_TABLE
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.fault_injection.lake_comparison import LakeComparison, half_written
from mta_pipeline_tests.fault_injection.sandbox import Sandbox, ScenarioError, Site, end
from mta_pipeline_tests.support.feed_server import Fault, serve_feed
from mta_pipeline_tests.support.locks import locked


def killed(sandbox: Sandbox, times: int) -> LakeComparison:
    """Runs are killed with SIGKILL at random moments, each time with an empty lake."""
    total = LakeComparison()
    for _ in range(times):
        site = sandbox.site()
        _kill_at_random(sandbox, site)
        damage = half_written(site.lake, sandbox.undisturbed)
        site.run()
        total += site.compare(sandbox.undisturbed) + LakeComparison(different=damage)
    return total


def killed_repeatedly(sandbox: Sandbox, times: int) -> LakeComparison:
    """Run after run over the same lake is killed with SIGKILL. Every second run rebuilds complete weeks, too."""
    site = sandbox.site()
    for attempt in range(times):
        _kill_at_random(sandbox, site, *(["--again"] if attempt % 2 else []))
    site.run()
    return site.compare(sandbox.undisturbed)


def two_concurrent_runs(sandbox: Sandbox) -> LakeComparison:
    """Two runs over the same weeks are started at the same moment."""
    site = sandbox.site()
    runs = [site.start_run("--again"), site.start_run("--again")]
    for run in runs:
        site.expect_exit(run)
    return site.compare(sandbox.undisturbed)


def every_second_request_fails(sandbox: Sandbox) -> LakeComparison:
    """The feed responds with 503 to every second request."""
    with serve_feed(sandbox.sample()) as server:
        undisturbed = sandbox.undisturbed_of(server.index_url, sandbox.weeks)
        site = sandbox.site(feed=server.index_url)
        server.every_second = Fault(status=503, headers={"Retry-After": "0"})
        before = len(server.requests)
        site.run()
        server.every_second = None
        requests = len(server.requests) - before
        sandbox.note(f"  {requests} requests, {requests // 2} of them answered 503")
        if requests < 2 * len(sandbox.weeks):
            raise ScenarioError("fewer than two requests per week")
        return site.compare(undisturbed)


def slow_feed(sandbox: Sandbox) -> LakeComparison:
    """The feed sends a file at one byte per second. The run names the file, and the next run completes the weeks."""
    with serve_feed(sandbox.sample()) as server:
        undisturbed = sandbox.undisturbed_of(server.index_url, sandbox.weeks)
        site = sandbox.site(feed=server.index_url)
        slow = file_name(sandbox.rng.choice(sandbox.weeks))
        server.fail(slow, Fault(drip="body", pause=1), times=1_000)
        site.expect_exit(site.start_impatient_run(), ExitCode.UNREACHABLE)
        _expect_in_log(site, slow)
        damage = half_written(site.lake, undisturbed)
        server.recover()
        site.run()
        return site.compare(undisturbed) + LakeComparison(different=damage)


def hung_lock(sandbox: Sandbox) -> LakeComparison:
    """A process that hangs holds the lock of a week, and then of Dagster's records. The run names it and gives up."""
    total = LakeComparison()
    for is_week in (True, False):
        site = sandbox.site()
        week = site.lake.joinpath(*RAW_TABLE, f"week={sandbox.rng.choice(sandbox.weeks)}")
        folder = week if is_week else site.home
        with locked(folder):
            site.expect_exit(site.start_impatient_run(), ExitCode.PROBLEMS, ExitCode.UNREACHABLE)
        _expect_in_log(site, f"{folder}: locked for more than 2 s by process {os.getpid()}")
        site.run()
        total += site.compare(sandbox.undisturbed)
    return total


def republished_during_run(sandbox: Sandbox, times: int) -> LakeComparison:
    """A week is republished at random moments of the run that loads it. The next run must find the new contents."""
    total = LakeComparison()
    week = sandbox.weeks[len(sandbox.weeks) // 2]
    republished = sandbox.sample(sandbox.root / "published-again", republished=week) / file_name(week)
    for n in range(times):
        feed = Path(shutil.copytree(sandbox.sample(), sandbox.root / f"feed-{n}"))
        site = sandbox.site(feed=str(feed))
        run = site.start_run()
        site.wait_for_files(sandbox.rng.randrange(site.expected_files), run)
        fresh = shutil.copy(republished, feed / "fresh")
        Path(fresh).replace(feed / file_name(week))
        sandbox.note(f"  week {week} republished when the lake had {site.files()} files")
        site.expect_exit(run)
        site.run()
        total += site.compare(sandbox.undisturbed_of(str(feed), sandbox.weeks))
    return total


def disk_full(sandbox: Sandbox) -> LakeComparison:
    """The lake's disk fills up during a run and has free space again afterwards."""
    site = sandbox.site()
    # Count weekly files only: the tables that are made from all weeks are written at the end of a run.
    sizes = [path.stat().st_size for path in sandbox.undisturbed.glob("*/*/week=*/*")]
    if _mounted(site.lake):
        try:
            fill = _fill(site.lake, sum(sizes))  # not enough: files take up whole pages
            site.expect_exit(site.start_run(), ExitCode.PROBLEMS)
            return _retry_with_room(sandbox, site, ("No space left on device",), fill.unlink)
        finally:
            _unmount(site.lake)
    # Without the right to mount, limit the size of a file to less than the largest file of the lake.
    sandbox.note(f"  file size limited to less than {max(sizes):,} bytes")
    del site.environment["DAGSTER_HOME"]  # Dagster's records are larger than the limit
    limit = (max(sizes) - 1, resource.RLIM_INFINITY)
    site.expect_exit(
        site.start_run(preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)), ExitCode.PROBLEMS
    )
    return _retry_with_room(sandbox, site, ("File too large",), lambda: None)


def disk_full_of_records(sandbox: Sandbox) -> LakeComparison:
    """The disk of the lake and of Dagster's records fills up at random moments. Needs the right to mount."""
    total = LakeComparison()
    for share in (0.1, 0.4, 0.7):
        site = sandbox.site()
        shutil.rmtree(site.disk)
        site.disk.mkdir()
        if not _mounted(site.disk):
            sandbox.note("  skipped: no right to mount")
            return total
        try:
            site.make_folders()
            fill = _fill(site.disk, int(share * sandbox.disk_of_a_run))
            site.expect_exit(site.start_run(), ExitCode.PROBLEMS, ExitCode.UNREACHABLE)
            # Whichever of the two is written first after the disk is full.
            full = f"in {site.home} cannot be written: the disk is full", f"No space left on device: '{site.lake}"
            total += _retry_with_room(sandbox, site, full, fill.unlink)
        finally:
            _unmount(site.disk)
    return total


def _fill(disk: Path, room: int) -> Path:
    """Write a file that leaves `room` bytes free on a disk."""
    free, fill = os.statvfs(disk), disk / "fill"
    fill.write_bytes(bytes(free.f_bavail * free.f_frsize - room))
    return fill


def _unmount(disk: Path) -> None:
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _mounted(place: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


def _retry_with_room(
    sandbox: Sandbox, site: Site, messages: Sequence[str], free_space: Callable[[], None]
) -> LakeComparison:
    _expect_in_log(site, *messages)
    temporary = len(list(site.lake.rglob("*.writing")))
    damage = half_written(site.lake, sandbox.undisturbed)
    free_space()
    site.environment["DAGSTER_HOME"] = str(site.home)
    site.run()
    return site.compare(sandbox.undisturbed) + LakeComparison(different=damage, leftovers=temporary)


def _expect_in_log(site: Site, *messages: str) -> None:
    """Raise a ScenarioError unless the log contains one of the messages."""
    if not any(message in site.log() for message in messages):
        raise ScenarioError(f"the log of the run contains none of {messages}:\n{site.log()[-2000:]}")


def _kill_at_random(sandbox: Sandbox, site: Site, *options: str) -> None:
    run = site.start_run(*options)
    before, start = site.files(), time.monotonic()
    if options or before == site.expected_files:
        time.sleep(sandbox.rng.uniform(2, 6))  # files that are replaced cannot be counted
    else:
        site.wait_for_files(sandbox.rng.randrange(before, site.expected_files) + 1, run)
        time.sleep(sandbox.rng.uniform(0, 0.1))
    run.send_signal(signal.SIGKILL)
    end(run)
    sandbox.note(f"  killed after {time.monotonic() - start:.1f} s with {site.files()} files in the lake")
