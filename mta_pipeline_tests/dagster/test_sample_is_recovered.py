"""The pipeline recovers the truth of the sample exactly where readings are valid, and gives null elsewhere."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mta_pipeline.sample import Faults, SampleFeed, SampleWeek
from mta_pipeline.turnstile.clock import clock_change
from mta_pipeline.turnstile.complexes import control_areas
from mta_pipeline.turnstile.contract import RejectReason, Status
from mta_pipeline.turnstile.readings import TURNSTILE, stage
from mta_pipeline.turnstile.ridership import is_subway
from mta_pipeline.turnstile.traffic import traffic
from mta_pipeline.weeks import week_after, week_before
from mta_pipeline_tests.dagster.project import Project
from mta_pipeline_tests.unit.test_sample_truth import any_faults

WEEKS = LEGACY, MODERN, LAST = ("2014-10-04", "2014-10-11", "2014-10-18")
"""The layout changes by date after the first week."""
REGISTERS = ("entries", "exits")
TRAFFIC_COLUMNS = ("division", "complex_id", "started_at", "ended_at", *REGISTERS, "entries_status", "exits_status")


def expected_traffic(truth: pl.DataFrame) -> pl.DataFrame:
    """The truth as turnstile_traffic must hold it: riders only where the status allows them."""
    return truth.with_columns(
        pl.when(pl.col(f"{register}_status").is_in(Status.IN_TOTALS)).then(f"true_{register}").alias(register)
        for register in REGISTERS
    ).select(*TURNSTILE, *TRAFFIC_COLUMNS)


def assert_recovered(weeks: list[SampleWeek]) -> None:
    """Assert that readings, rejects and traffic of each week, computed from two files, equal the truth."""
    staged = {week.week: stage(week.text, week.week, control_areas()) for week in weeks}
    for week in weeks:
        now, before = staged[week.week], staged.get(week_before(week.week))
        found = traffic(now.readings, before and before.readings, control_areas())
        assert_frame_equal(
            found.select(*TURNSTILE, *TRAFFIC_COLUMNS), expected_traffic(week.truth), check_row_order=False
        )
        assert now.rejects_by_reason == week.rejects


def any_feed() -> st.SearchStrategy[SampleFeed]:
    return st.builds(
        SampleFeed,
        seed=st.integers(0, 2**32),
        turnstiles=st.integers(8, 40),
        first_week=st.just(LEGACY),
        faults=st.one_of(st.sampled_from([Faults.typical(), Faults.all()]), any_faults()),
        layout=st.sampled_from(["modern", "legacy", None]),
        unpublished=st.sampled_from([frozenset(), frozenset({MODERN})]),
        republished=st.frozensets(st.sampled_from(WEEKS)),
    )


@settings(max_examples=settings.default.max_examples // 5)
@given(any_feed())
def test_pure_functions_recover_the_truth_in_spite_of_any_faults(feed):
    assert_recovered(list(feed.stream(WEEKS)))


@pytest.mark.parametrize("layout", ["modern", "legacy"])
def test_the_truth_is_recovered_if_every_fault_occurs_at_once(layout):
    feed = SampleFeed(11, 40, LEGACY, faults=Faults.all(), layout=layout)
    weeks = list(feed.stream(WEEKS))
    assert {status for week in weeks for status in week.truth["exits_status"]} == set(Status)
    assert_recovered(weeks)


@pytest.mark.parametrize("layout", ["modern", "legacy"])
@pytest.mark.parametrize("week", ["2014-11-01", "2015-03-07"])
def test_the_truth_is_recovered_if_the_clocks_change(week, layout):
    feed = SampleFeed(11, 300, week_before(week), faults=Faults.all(), layout=layout)
    weeks = list(feed.stream([week_before(week), week, week_after(week)]))
    assert_recovered(weeks)
    change = clock_change(week)
    in_hour = pl.col("ended_at").is_between(change.until - dt.timedelta(hours=1), change.until, closed="left")
    assert weeks[1].truth.filter(in_hour).is_empty()


@pytest.fixture
def feed():
    return SampleFeed(5, 30, LEGACY, faults=Faults.all())


def subway_totals(project: Project, week: str) -> tuple[int, ...]:
    return project.table("lake", "turnstile_traffic", week).filter(is_subway()).select(pl.col(REGISTERS).sum()).row(0)


def assert_lake_equals(project: Project, truth: pl.DataFrame) -> None:
    """Assert that riders and rejects in the lake equal the sample's `truth/weeks.csv`."""
    for row in truth.iter_rows(named=True):
        week = row["week"]
        assert subway_totals(project, week) == (row["recoverable_entries"], row["recoverable_exits"])
        assert project.table("staged", "turnstile_readings", week).height == row["readings"]
        rejects = dict(project.table("staged", "turnstile_rejects", week)["reason"].value_counts().rows())
        assert rejects == {reason: row[reason] for reason in RejectReason if row[reason]}


def test_every_recoverable_rider_of_a_sample_reaches_the_lake(tmp_path, feed):
    project = Project(tmp_path)
    truth = feed.write(project.feed, WEEKS)
    result = project.run(LEGACY, LAST)
    assert result.success
    evaluations = result.get_asset_check_evaluations()
    assert [(e.check_name, e.partition) for e in evaluations if not e.passed] == []
    assert len(evaluations) == len(WEEKS) * 13
    assert_lake_equals(project, truth)
    for week in WEEKS:
        assert_frame_equal(
            project.table("lake", "turnstile_traffic", week).select(*TURNSTILE, *TRAFFIC_COLUMNS),
            expected_traffic(pl.read_parquet(project.feed / "truth" / f"week={week}.parquet")),
            check_row_order=False,
        )


def test_the_first_modern_week_carries_in_from_the_last_legacy_week(tmp_path, feed):
    project = Project(tmp_path)
    feed.write(project.feed, WEEKS)
    result = project.run(LEGACY, MODERN)
    layouts = {
        event.partition: event.materialization.metadata["layout"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key.path[-1] == "turnstile_readings"
    }
    assert layouts == {LEGACY: "legacy", MODERN: "modern"}
    border = project.table("lake", "turnstile_traffic", MODERN).filter(
        pl.col("started_at") < pl.lit(MODERN).str.to_datetime()
    )
    assert border.height > 20
    assert border["entries"].sum() > 0


def test_a_republished_week_is_recovered_together_with_the_week_after(tmp_path, feed):
    project = Project(tmp_path)
    first = feed.write(project.feed, WEEKS)
    project.run(LEGACY, LAST)
    again = feed.after_republishing(MODERN).write(project.feed, WEEKS)
    assert not again.equals(first)
    assert project.run(MODERN, LAST).success
    assert_lake_equals(project, again)


def test_after_an_unpublished_week_no_riders_are_invented(tmp_path):
    project = Project(tmp_path)
    feed = SampleFeed(5, 30, LEGACY, faults=Faults(), unpublished=frozenset({MODERN}))
    truth = feed.write(project.feed, WEEKS)
    assert project.run(LEGACY, LAST).success
    assert project.landed() == [LEGACY, LAST]
    assert_lake_equals(project, truth)
    statuses = project.table("lake", "turnstile_traffic", LAST)["exits_status"].value_counts()
    assert dict(statuses.rows())[Status.FIRST] == 30
