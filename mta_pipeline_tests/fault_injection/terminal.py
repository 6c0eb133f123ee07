"""Drills of `mta-pipeline run`: no daemon that could help, only launching again."""

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
from mta_pipeline_tests.fault_injection.sandbox import DrillError, Ground, Site, end
from mta_pipeline_tests.support.feed_server import Fault, serve_feed


def killed(ground: Ground, times: int) -> Verdict:
    """kill -9 at random moments of a run, each time in an empty lake."""
    total = Verdict()
    for _ in range(times):
        site = ground.site()
        _kill_at_random(ground, site)
        damage = half_written(site.lake, ground.undisturbed)
        site.run()
        total += site.judge(ground.undisturbed) + Verdict(different=damage)
    return total


def killed_again_and_again(ground: Ground, times: int) -> Verdict:
    """kill -9 of run after run over the same lake, some of them doing again what was complete."""
    site = ground.site()
    for attempt in range(times):
        _kill_at_random(ground, site, *(["--again"] if attempt % 2 else []))
    site.run()
    return site.judge(ground.undisturbed)


def two_at_once(ground: Ground) -> Verdict:
    """Two runs over the same weeks, started in the same moment."""
    site = ground.site()
    runs = [site.start_run("--again"), site.start_run("--again")]
    for run in runs:
        site.ends(run)
    return site.judge(ground.undisturbed)


def every_second_request_fails(ground: Ground) -> Verdict:
    """The feed answers 503 to every second request."""
    with serve_feed(ground.sample()) as server:
        undisturbed = ground.undisturbed_of(server.index_url, ground.weeks)
        site = ground.site(feed=server.index_url)
        server.every_second = Fault(status=503, headers={"Retry-After": "0"})
        asked = len(server.asked)
        site.run()
        server.every_second = None
        requests = len(server.asked) - asked
        ground.note(f"  {requests} requests, {requests // 2} of them answered 503")
        if requests < 2 * len(ground.weeks):
            raise DrillError("fewer requests than weeks, twice")
        return site.judge(undisturbed)


def published_again_in_flight(ground: Ground, times: int) -> Verdict:
    """A week gets other contents at random moments of the run that takes it in; the run after that finds them."""
    total = Verdict()
    week = ground.weeks[len(ground.weeks) // 2]
    renewed = ground.sample(ground.root / "published-again", republished=week) / file_name(week)
    for n in range(times):
        feed = Path(shutil.copytree(ground.sample(), ground.root / f"feed-{n}"))
        site = ground.site(feed=str(feed))
        run = site.start_run()
        site.wait_for_files(ground.rng.randrange(site.expected_files), run)
        fresh = shutil.copy(renewed, feed / "fresh")
        Path(fresh).replace(feed / file_name(week))
        ground.note(f"  week {week} published again when the lake had {site.files()} files")
        site.ends(run)
        site.run()
        total += site.judge(ground.undisturbed_of(str(feed), ground.weeks))
    return total


def disk_full(ground: Ground) -> Verdict:
    """The lake's disk fills up in the middle of a run, and there is room again afterwards."""
    site = ground.site()
    # Of the weeks: what is made from all of them at the end comes too late to be the middle of a run.
    sizes = [path.stat().st_size for path in ground.undisturbed.glob("*/*/week=*/*")]
    if _mounted(site.lake):
        try:
            fill = _fill(site.lake, sum(sizes))  # too little: files take up whole pages
            site.ends(site.start_run(), expect=1)
            return _with_room_again(ground, site, "No space left on device", fill.unlink)
        finally:
            _unmount(site.lake)
    # Without the right to mount: no file can get as large as the largest of the lake must.
    ground.note(f"  no file of {max(sizes):,} bytes")
    del site.environment["DAGSTER_HOME"]  # Dagster's records are larger
    limit = (max(sizes) - 1, resource.RLIM_INFINITY)
    site.ends(site.start_run(preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)), expect=1)
    return _with_room_again(ground, site, "File too large", lambda: None)


def disk_full_of_records(ground: Ground) -> Verdict:
    """The disk that holds lake and Dagster's records fills up at random moments; needs the right to mount."""
    total = Verdict()
    for share in (0.1, 0.4, 0.7):
        site = ground.site()
        shutil.rmtree(site.disk)
        site.disk.mkdir()
        if not _mounted(site.disk):
            ground.note("  left out: no right to mount")
            return total
        try:
            site.make_folders()
            fill = _fill(site.disk, int(share * ground.disk_of_a_run))
            site.ends(site.start_run(), expect=1)
            total += _with_room_again(ground, site, "full", fill.unlink)
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


def _with_room_again(ground: Ground, site: Site, told: str, make_room: Callable[[], None]) -> Verdict:
    if told not in site.log():
        raise DrillError(f"the run does not say {told!r}:\n{site.log()[-2000:]}")
    temporary = len(list(site.lake.rglob("*.writing")))
    damage = half_written(site.lake, ground.undisturbed)
    make_room()
    site.environment["DAGSTER_HOME"] = str(site.home)
    site.run()
    return site.judge(ground.undisturbed) + Verdict(different=damage, leftovers=temporary)


def _kill_at_random(ground: Ground, site: Site, *options: str) -> None:
    run = site.start_run(*options)
    before, start = site.files(), time.monotonic()
    if options or before == site.expected_files:
        time.sleep(ground.rng.uniform(2, 6))  # files that are replaced cannot be counted
    else:
        site.wait_for_files(ground.rng.randrange(before, site.expected_files) + 1, run)
        time.sleep(ground.rng.uniform(0, 0.1))
    run.send_signal(signal.SIGKILL)
    end(run)
    ground.note(f"  killed after {time.monotonic() - start:.1f} s, the lake has {site.files()} files")
