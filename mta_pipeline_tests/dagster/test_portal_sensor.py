"""The sensor and its runs over a portal as the feed: new weeks, corrections, and few requests."""

from collections.abc import Iterator

import polars as pl
import pytest

from mta_pipeline.lake import discovery
from mta_pipeline.lake.portal import usage_data_sets
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.sample import SampleFeed
from mta_pipeline.sample.portal import serve
from mta_pipeline.sample.usage import sample_usage
from mta_pipeline.weeks import weeks_between
from mta_pipeline_tests.dagster.automation import Automation, requested_weeks
from mta_pipeline_tests.dagster.project import Project
from mta_pipeline_tests.support.faulty_portal import FaultyPortal

WEEKS = weeks_between("2018-12-15", "2019-01-05")
BORDER, LAST = WEEKS[2], WEEKS[3]
OLD, NEW = "bjcb-yee3", "xfn5-qji9"
DATA_SETS = len(usage_data_sets())


@pytest.fixture(scope="module")
def data_sets() -> dict[str, pl.DataFrame]:
    return dict(sample_usage(SampleFeed(3, 2, WEEKS[0]), WEEKS, usage_data_sets())[0])


@pytest.fixture
def portal(data_sets) -> Iterator[FaultyPortal]:
    with serve(FaultyPortal(data_sets)) as portal:
        yield portal


@pytest.fixture
def automation(portal, tmp_path) -> Automation:
    return Automation(Project(tmp_path, resources={"feed": TurnstileFeed(location=f"soda+{portal.url}")}))


def tick(automation: Automation, portal: FaultyPortal) -> tuple[list[tuple[str, ...]], dict[str, int]]:
    """One tick, and the landing of what it requests: the requested weeks, and the requests of the tick by kind."""
    portal.asked.clear()
    due = automation.tick_sensor()
    asked = dict(portal.requests())
    assert all(result.success for result in automation.land(due))
    return requested_weeks(due), asked


def test_new_weeks_are_requested_and_an_unchanged_portal_costs_the_metadata_of_its_data_sets(automation, portal):
    # One count per week, and a second one for the week that is in two data sets.
    first = {"view": DATA_SETS, "days": DATA_SETS, "count": len(WEEKS) + 1}
    assert tick(automation, portal) == ([(WEEKS[0], LAST)], first)
    assert automation.project.raw.weeks() == set(WEEKS)
    for _ in range(2):
        assert tick(automation, portal) == ([], {"view": DATA_SETS})
    assert "list of weeks unchanged" in automation.reasons[-1]
    assert f"{len(WEEKS)} weeks checked" in automation.reasons[-1]


def test_a_run_requests_the_list_once_and_each_week_with_two_counts_and_its_pages(automation, portal):
    due = automation.tick_sensor()
    portal.asked.clear()
    automation.land(due)
    in_two = 1  # the week around New Year has counts and pages in two data sets
    assert portal.requests() == {
        "view": DATA_SETS + 2,  # the list, and the two data sets of the weeks
        "days": DATA_SETS,
        "count": 2 * (len(WEEKS) + in_two),
        "page": len(WEEKS) + in_two,
    }


def test_a_corrected_row_leads_to_a_run_over_its_week_alone(automation, portal):
    tick(automation, portal)
    portal.correct(NEW, 0, entries="7")
    due, _ = tick(automation, portal)
    assert due == [(BORDER,)]
    assert b",7," in automation.project.raw.read(BORDER)
    assert tick(automation, portal) == ([], {"view": DATA_SETS})


def test_a_correction_is_found_although_the_list_is_unchanged(automation, portal):
    tick(automation, portal)
    portal.correct(OLD, 0, entries="7")
    cursor = discovery.DiscoveryCursor.model_validate_json(automation.sensor_cursor)
    # The last tick read the list after the correction, and had no time left for landed weeks.
    listing = automation.project.defs.resources["feed"].open("", fail_fast=True).listing_unless(None)
    automation.sensor_cursor = cursor.model_copy(update={"listing": listing.version}).model_dump_json()
    assert tick(automation, portal)[0] == [(WEEKS[0],)]


def test_a_week_that_is_appended_is_requested(data_sets, tmp_path):
    before = data_sets[NEW].filter(pl.col("date").dt.to_string("%Y-%m-%d") < LAST)
    with serve(FaultyPortal({**data_sets, NEW: before})) as portal:
        location = TurnstileFeed(location=f"soda+{portal.url}")
        automation = Automation(Project(tmp_path, resources={"feed": location}))
        assert tick(automation, portal)[0] == [(WEEKS[0], BORDER)]
        portal.replace(NEW, data_sets[NEW])
        assert tick(automation, portal)[0] == [(BORDER, LAST)]  # its rows have other times of change
        assert tick(automation, portal) == ([], {"view": DATA_SETS})
        assert automation.project.raw.manifest(BORDER).sha256 is not None


def test_a_tick_that_is_out_of_time_checks_no_week_and_the_next_one_continues(automation, portal, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(discovery, "SECONDS_PER_TICK", -1.0)
        assert tick(automation, portal) == ([], {"view": DATA_SETS, "days": DATA_SETS})
    assert tick(automation, portal)[0] == [(WEEKS[0], LAST)]


def test_probes_of_a_tick_are_limited(automation, portal, monkeypatch):
    monkeypatch.setattr(discovery, "MAX_PROBES_PER_TICK", 2)
    assert tick(automation, portal)[0] == [(WEEKS[0], WEEKS[1])]
    assert tick(automation, portal)[0] == [(BORDER, LAST)]
