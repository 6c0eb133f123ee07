"""A real `dagster dev` with its daemon: automation loads published weeks into the lake, and nobody launches runs."""

import shutil
from pathlib import Path

import pytest

from mta_pipeline.tables import RIDERSHIP, STAGED
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.fault_injection.deployment import Deployment
from mta_pipeline_tests.fault_injection.sandbox import Sandbox, sandbox, wait_until
from mta_pipeline_tests.support.feed_server import FeedServer, serve_feed

pytestmark = pytest.mark.slow


@pytest.fixture
def place(processes):
    with sandbox(weeks=4, seed=0) as place:
        yield place


@pytest.fixture
def server(place: Sandbox):
    with serve_feed(Path(shutil.copytree(place.sample(), place.root / "published"))) as server:
        yield server


def publish(server: FeedServer, contents: Path) -> None:
    """Replace a file of the feed atomically, as a site does."""
    Path(shutil.copy(contents, server.directory / "fresh")).replace(server.directory / contents.name)


def inodes(lake: Path) -> dict[tuple[str, str], int]:
    """The inode of each weekly file, by table and week. A replaced file has another inode."""
    files = lake.glob("*/*/week=*/part-0.parquet")
    return {(path.parts[-3], path.parent.name.removeprefix("week=")): path.stat().st_ino for path in files}


def test_automation_loads_a_published_week_and_rebuilds_a_republished_one_and_the_traffic_of_the_week_after(
    place, server
):
    first, second, third, fourth = place.weeks
    newest = (server.directory / file_name(fourth)).rename(place.root / file_name(fourth))
    site = place.site(feed=server.index_url)
    site.environment["MTA_LOOK_EVERY"] = "1"
    site.expect_exit(site.start("mta-pipeline", "run", "--weeks", f"{first}...{third}"))
    deployed = Deployment(site)
    try:
        deployed.start_dev()
        deployed.turn_on_automation()
        publish(server, newest)
        deployed.wait_for_weeks(fourth)
        assert not site.due()
        deployed.wait_for_runs()

        before = inodes(site.lake)
        publish(server, place.sample(place.root / "again", republished=second) / file_name(second))
        wait_until(lambda: not site.due(), "the week to be rebuilt", every=0.5)
        deployed.turn_off_automation()
        rebuilt = {place for place, inode in inodes(site.lake).items() if before[place] != inode}
    finally:
        deployed.stop()
    staged, ridership = ({table.name for table in kind} for kind in (STAGED, RIDERSHIP))
    assert rebuilt == {(table, second) for table in staged | ridership} | {(table, third) for table in ridership}
