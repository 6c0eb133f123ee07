"""Fault injection of `mta-pipeline run`: no daemon that could help, only launching again."""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from mta_pipeline.weeks import file_name
from mta_pipeline_tests.fault_injection.lake_comparison import Verdict, half_written
from mta_pipeline_tests.fault_injection.sandbox import Sandbox, ScenarioError, Site, end
from mta_pipeline_tests.support.feed_server import Fault, serve_feed


def killed(sandbox: Sandbox, times: int) -> Verdict:
    """kill -9 at random moments of a run, each time in an empty lake."""
    total = Verdict()
    for _ in range(times):
        site = sandbox.site()
        _kill_at_random(sandbox, site)
        damage = half_written(site.lake, sandbox.undisturbed)
        site.run()
        total += site.judge(sandbox.undisturbed) + Verdict(different=damage)
    return total


def killed_again_and_again(sandbox: Sandbox, times: int) -> Verdict:
    """kill -9 of run after run over the same lake, some of them doing again what was complete."""
    site = sandbox.site()
    for attempt in range(times):
        _kill_at_random(sandbox, site, *(["--again"] if attempt % 2 else []))
    site.run()
    return site.judge(sandbox.undisturbed)


def two_at_once(sandbox: Sandbox) -> Verdict:
    """Two runs over the same weeks, started in the same moment."""
    site = sandbox.site()
    runs = [site.start_run("--again"), site.start_run("--again")]
    for run in runs:
        site.ends(run)
    return site.judge(sandbox.undisturbed)


def every_second_request_fails(sandbox: Sandbox) -> Verdict:
    """The feed answers 503 to every second request."""
    with serve_feed(sandbox.sample()) as server:
        undisturbed = sandbox.undisturbed_of(server.index_url, sandbox.weeks)
        site = sandbox.site(feed=server.index_url)
        server.every_second = Fault(status=503, headers={"Retry-After": "0"})
        asked = len(server.asked)
        site.run()
        server.every_second = None
        requests = len(server.asked) - asked
        sandbox.note(f"  {requests} requests, {requests // 2} of them answered 503")
        if requests < 2 * len(sandbox.weeks):
            raise ScenarioError("fewer requests than weeks, twice")
        return site.judge(undisturbed)


def published_again_in_flight(sandbox: Sandbox, times: int) -> Verdict:
    """A week gets other contents at random moments of the run that takes it in; the run after that finds them."""
    total = Verdict()
    week = sandbox.weeks[len(sandbox.weeks) // 2]
    renewed = sandbox.sample(sandbox.root / "published-again", republished=week) / file_name(week)
    for n in range(times):
        feed = Path(shutil.copytree(sandbox.sample(), sandbox.root / f"feed-{n}"))
        site = sandbox.site(feed=str(feed))
        run = site.start_run()
        site.wait_for_files(sandbox.rng.randrange(site.expected_files), run)
        fresh = shutil.copy(renewed, feed / "fresh")
        Path(fresh).replace(feed / file_name(week))
        sandbox.note(f"  week {week} published again when the lake had {site.files()} files")
        site.ends(run)
        site.run()
        total += site.judge(sandbox.undisturbed_of(str(feed), sandbox.weeks))
    return total


def disk_full(sandbox: Sandbox) -> Verdict:
    """The lake's disk fills up in the middle of a run, and there is room again afterwards."""
    site = sandbox.site()
    # Of the weeks: what is made from all of them at the end comes too late to be the middle of a run.
    sizes = [path.stat().st_size for path in sandbox.undisturbed.glob("*/*/week=*/*")]
    if _mounted(site.lake):
        try:
            fill = _fill(site.lake, sum(sizes))  # too little: files take up whole pages
            site.ends(site.start_run(), expect=1)
            return _with_room_again(sandbox, site, "No space left on device", fill.unlink)
        finally:
            _unmount(site.lake)
    # Without the right to mount: no file can get as large as the largest of the lake must.
    sandbox.note(f"  no file of {max(sizes):,} bytes")
    del site.environment["DAGSTER_HOME"]  # Dagster's records are larger
    limit = (max(sizes) - 1, resource.RLIM_INFINITY)
    site.ends(site.start_run(preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)), expect=1)
    return _with_room_again(sandbox, site, "File too large", lambda: None)


def disk_full_of_records(sandbox: Sandbox) -> Verdict:
    """The disk that holds lake and Dagster's records fills up at random moments; needs the right to mount."""
    total = Verdict()
    for share in (0.1, 0.4, 0.7):
        site = sandbox.site()
        shutil.rmtree(site.disk)
        site.disk.mkdir()
        if not _mounted(site.disk):
            sandbox.note("  left out: no right to mount")
            return total
        try:
            site.make_folders()
            fill = _fill(site.disk, int(share * sandbox.disk_of_a_run))
            site.ends(site.start_run(), expect=1)
            total += _with_room_again(sandbox, site, "full", fill.unlink)
        finally:
            _unmount(site.disk)
    return total


def _fill(disk: Path, room: int) -> Path:
    """A file that leaves so many bytes of a disk."""
    free, fill = os.statvfs(disk), disk / "fill"
    fill.write_bytes(bytes(free.f_bavail * free.f_frsize - room))
    return fill


def _unmount(disk: Path) -> None:
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _mounted(place: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


def _with_room_again(sandbox: Sandbox, site: Site, told: str, make_room: Callable[[], None]) -> Verdict:
    if told not in site.log():
        raise ScenarioError(f"the run does not say {told!r}:\n{site.log()[-2000:]}")
    temporary = len(list(site.lake.rglob("*.writing")))
    damage = half_written(site.lake, sandbox.undisturbed)
    make_room()
    site.environment["DAGSTER_HOME"] = str(site.home)
    site.run()
    return site.judge(sandbox.undisturbed) + Verdict(different=damage, leftovers=temporary)


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
    sandbox.note(f"  killed after {time.monotonic() - start:.1f} s, the lake has {site.files()} files")
