"""Fault injection under automation: the daemon polls the feed, and nobody launches runs."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mta_pipeline.weeks import file_name
from mta_pipeline_tests.fault_injection.deployment import Deployment, deployment
from mta_pipeline_tests.fault_injection.lake_comparison import LakeComparison
from mta_pipeline_tests.fault_injection.sandbox import Sandbox, ScenarioError, wait_until
from mta_pipeline_tests.support.feed_server import Fault, FeedServer, serve_feed


def fails_three_ticks(sandbox: Sandbox, fault: Fault) -> LakeComparison:
    """The page of the feed is faulty for three sensor ticks, which are skipped. Then the feed recovers."""
    with _automated_deployment(sandbox) as (deployed, server):
        server.fail("turnstile.html", fault, times=3)
        deployed.turn_on_automation()
        deployed.wait_for_weeks(*sandbox.weeks)
        deployed.turn_off_automation()
        skip_reasons = [
            tick.skip_reason for tick in deployed.ticks() if "Request to the feed failed" in (tick.skip_reason or "")
        ]
        if len(skip_reasons) != 3:
            raise ScenarioError(f"{len(skip_reasons)} ticks report an unreachable feed: {skip_reasons}")
        if failed := [tick.error for tick in deployed.ticks() if tick.error]:
            raise ScenarioError(f"ticks failed: {failed}")
        return deployed.site.compare(sandbox.undisturbed_of(server.index_url, sandbox.weeks))


def republished_during_runs(sandbox: Sandbox) -> LakeComparison:
    """A week is republished with other contents while the automation processes it."""
    week = sandbox.weeks[len(sandbox.weeks) // 2]
    republished = sandbox.sample(sandbox.root / "published-again", republished=week) / file_name(week)
    with _automated_deployment(sandbox) as (deployed, server):
        deployed.turn_on_automation()
        deployed.site.wait_for_files(sandbox.rng.randrange(deployed.site.expected_files - 1) + 1)
        shutil.copy(republished, server.directory / "fresh")
        (server.directory / "fresh").replace(server.directory / file_name(week))
        sandbox.note(f"  week {week} republished when the lake had {deployed.site.files()} files")
        undisturbed = sandbox.undisturbed_of(server.index_url, sandbox.weeks)
        wait_until(lambda: not deployed.site.due(), "the lake to be up to date with the feed", every=1)
        deployed.turn_off_automation()
        return deployed.site.compare(undisturbed)


def daemon_killed_repeatedly(sandbox: Sandbox) -> LakeComparison:
    """The daemon is killed with SIGKILL three times while weeks are processed."""
    with _automated_deployment(sandbox) as (deployed, server):
        deployed.turn_on_automation()
        for _ in range(3):
            time.sleep(sandbox.rng.uniform(1, 8))
            deployed.kill("daemon")
            sandbox.note(f"  daemon killed when the lake had {deployed.site.files()} files")
            deployed.start_daemon()
        deployed.wait_for_weeks(*sandbox.weeks)
        deployed.turn_off_automation()
        return deployed.site.compare(sandbox.undisturbed_of(server.index_url, sandbox.weeks))


@contextmanager
def _automated_deployment(sandbox: Sandbox) -> Iterator[tuple[Deployment, FeedServer]]:
    """A deployment with an empty lake whose feed is a separate web site, polled every second."""
    directory = Path(shutil.copytree(sandbox.sample(), sandbox.root / "feed-of-a-site"))
    with serve_feed(directory) as server, deployment(sandbox, feed=server.index_url, poll_interval=1) as deployed:
        yield deployed, server
