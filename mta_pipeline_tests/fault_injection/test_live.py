"""`dagster dev` for real, with its own daemon: what is published comes into the lake, and nobody launches anything."""

import shutil
from pathlib import Path

import pytest

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
    """Put a file in the feed's place in one step, as a site does."""
    Path(shutil.copy(contents, server.directory / "fresh")).replace(server.directory / contents.name)


def written(lake: Path) -> dict[tuple[str, str], int]:
    """Which file each table has of each week; one that is replaced is another."""
    files = lake.glob("*/*/week=*/part-0.parquet")
    return {(path.parts[-3], path.parent.name.removeprefix("week=")): path.stat().st_ino for path in files}


def test_a_published_week_comes_into_the_lake_and_other_contents_renew_that_week_and_the_next_and_nothing_else(
    place, server
):
    first, second, third, fourth = place.weeks
    newest = (server.directory / file_name(fourth)).rename(place.root / file_name(fourth))
    site = place.site(feed=server.index_url)
    site.environment["MTA_LOOK_EVERY"] = "1"
    site.ends(site.start("mta-pipeline", "run", "--weeks", f"{first}...{third}"))
    deployed = Deployment(site)
    try:
        deployed.start_dev()
        deployed.turn_on_automation()
        publish(server, newest)
        deployed.wait_for_weeks(fourth)
        assert not site.due()
        deployed.wait_for_runs()

        before = written(site.lake)
        publish(server, place.sample(place.root / "again", republished=second) / file_name(second))
        wait_until(lambda: not site.due(), "the week to be renewed", every=0.5)
        deployed.turn_off_automation()
        renewed = {place for place, inode in written(site.lake).items() if before[place] != inode}
    finally:
        deployed.stop()
    staged, ridership = (
        {"turnstile_readings", "turnstile_rejects"},
        {"turnstile_traffic", "complex_daily", "complex_hourly"},
    )
    assert renewed == {(table, second) for table in staged | ridership} | {(table, third) for table in ridership}
