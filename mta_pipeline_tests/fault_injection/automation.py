"""Fault injection of the automation: the daemon watches the feed, and nobody launches anything."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mta_pipeline.weeks import file_name
from mta_pipeline_tests.fault_injection.deployment import Deployment, deployment
from mta_pipeline_tests.fault_injection.lake_comparison import Verdict
from mta_pipeline_tests.fault_injection.sandbox import Sandbox, ScenarioError, wait_until
from mta_pipeline_tests.support.feed_server import Fault, FeedServer, serve_feed


def feed_down_for_three_ticks(sandbox: Sandbox) -> Verdict:
    """The feed answers 503 for three looks of the sensor, and then as it should."""
    with _watching(sandbox) as (deployed, server):
        server.fail("turnstile.html", Fault(status=503), times=3)
        deployed.turn_on_automation()
        deployed.wait_for_weeks(*sandbox.weeks)
        deployed.turn_off_automation()
        told = [
            tick.skip_reason for tick in deployed.ticks() if "Request to the feed failed" in (tick.skip_reason or "")
        ]
        if len(told) != 3:
            raise ScenarioError(f"{len(told)} ticks tell of a feed out of reach: {told}")
        if failed := [tick.error for tick in deployed.ticks() if tick.error]:
            raise ScenarioError(f"ticks failed: {failed}")
        return deployed.site.judge(sandbox.undisturbed_of(server.index_url, sandbox.weeks))


def published_again_in_flight(sandbox: Sandbox) -> Verdict:
    """A week gets other contents while the automation is at work on it."""
    week = sandbox.weeks[len(sandbox.weeks) // 2]
    renewed = sandbox.sample(sandbox.root / "published-again", republished=week) / file_name(week)
    with _watching(sandbox) as (deployed, server):
        deployed.turn_on_automation()
        deployed.site.wait_for_files(sandbox.rng.randrange(deployed.site.expected_files - 1) + 1)
        shutil.copy(renewed, server.directory / "fresh")
        (server.directory / "fresh").replace(server.directory / file_name(week))
        sandbox.note(f"  week {week} published again when the lake had {deployed.site.files()} files")
        undisturbed = sandbox.undisturbed_of(server.index_url, sandbox.weeks)
        wait_until(lambda: not deployed.site.due(), "the lake to be made from what is on offer", every=1)
        deployed.turn_off_automation()
        return deployed.site.judge(undisturbed)


def daemon_killed_again_and_again(sandbox: Sandbox) -> Verdict:
    """kill -9 of the daemon three times while weeks come in."""
    with _watching(sandbox) as (deployed, server):
        deployed.turn_on_automation()
        for _ in range(3):
            time.sleep(sandbox.rng.uniform(1, 8))
            deployed.kill("daemon")
            sandbox.note(f"  daemon killed when the lake had {deployed.site.files()} files")
            deployed.start_daemon()
        deployed.wait_for_weeks(*sandbox.weeks)
        deployed.turn_off_automation()
        return deployed.site.judge(sandbox.undisturbed_of(server.index_url, sandbox.weeks))


@contextmanager
def _watching(sandbox: Sandbox) -> Iterator[tuple[Deployment, FeedServer]]:
    """A deployment with an empty lake, whose feed is a web site of its own and is looked at every second."""
    directory = Path(shutil.copytree(sandbox.sample(), sandbox.root / "feed-of-a-site"))
    with serve_feed(directory) as server, deployment(sandbox, feed=server.index_url, look_every=1) as deployed:
        yield deployed, server
