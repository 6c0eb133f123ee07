"""Lost and damaged raw files are found and land again, and nothing is made from less data because of them."""

import datetime as dt

import pytest

from mta_pipeline.lake.completeness import weeks_due
from mta_pipeline.lake.discovery import DiscoveryCursor, find_due_weeks
from mta_pipeline.orchestration.checks import files as file_checks
from mta_pipeline.orchestration.checks.files import DAYS_TO_READ_ALL, is_turn_of
from mta_pipeline.orchestration.keys import RAW_KEY
from mta_pipeline.settings import Settings
from mta_pipeline.sources.errors import FeedUnavailable
from mta_pipeline.sources.turnstile_files import open_feed
from mta_pipeline.weeks import file_name, weeks_between
from mta_pipeline_tests.dagster.automation import evaluate_standing_checks
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of, steady_week, valid_week
from mta_pipeline_tests.support.feed_server import Fault, serve_feed

FIRST, SECOND, THIRD = WEEKS

DAMAGE = {
    "deleted": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "corrupted": lambda path: path.write_bytes(b"rubbish"),
}


@pytest.fixture(params=DAMAGE.values(), ids=DAMAGE.keys())
def damaged(project, request):
    """A project with three weeks, of which the second has a damaged raw file."""
    project.load_weeks_until(THIRD)
    request.param(raw_file(project))
    return project


@pytest.fixture
def all_are_read(monkeypatch):
    """Let the check read all files at once."""
    monkeypatch.setattr(file_checks, "is_turn_of", lambda *_: True)


def raw_file(project, week=SECOND):
    return project.lake / "raw" / "turnstile_file" / f"week={week}" / project.raw.manifest(week).object


def due(project):
    return weeks_due(list(WEEKS), str(project.lake), project.source())


def test_every_file_is_read_once_a_month():
    days = [dt.date(2026, 1, 1) + dt.timedelta(n) for n in range(DAYS_TO_READ_ALL)]
    weeks = weeks_between("2014-01-04", "2024-01-06")
    assert all(sum(is_turn_of(week, day) for day in days) == 1 for week in weeks)


def test_the_check_names_a_damaged_file_sets_it_aside_and_the_week_lands_again(damaged, all_are_read):
    path = raw_file(damaged)
    check = evaluate_standing_checks(damaged)["raw_intact"]
    assert not check.passed
    assert f"week={SECOND}/{path.name}" in check.description
    assert "materialize raw/turnstile_file for 2024-01-13 again" in check.description
    assert not path.exists()
    assert due(damaged) == {SECOND: "damaged in the raw layer", THIRD: "the week before it has changed"}
    tick = find_due_weeks(
        damaged.source(),
        damaged.raw,
        DiscoveryCursor(),
        landed=set(WEEKS),
        calendar=set(WEEKS),
        in_progress=(),
        last_attempts=lambda _: {},
        now=dt.datetime.now(dt.UTC),
    )
    assert set(tick.due) == {SECOND}
    damaged.raw.land(damaged.source(), SECOND)
    assert due(damaged) == {}
    assert evaluate_standing_checks(damaged)["raw_intact"].passed


def test_a_damaged_week_that_the_feed_no_longer_has_keeps_its_tables_and_its_check_fails(project, all_are_read):
    project.load_weeks_until(THIRD)
    DAMAGE["corrupted"](raw_file(project))
    before = project.table("lake", "complex_daily", THIRD)
    (project.feed / file_name(SECOND)).unlink()
    for _ in range(2):
        check = evaluate_standing_checks(project)["raw_intact"]
        assert not check.passed
        assert SECOND in check.description
        assert due(project) == {}
    project.run(FIRST, THIRD)
    assert project.table("lake", "complex_daily", THIRD).equals(before)
    assert SECOND in project.landed()


def test_a_week_that_neither_feed_nor_raw_layer_have_is_not_due_and_named_by_the_check(project):
    project.load_weeks_until(THIRD)
    (project.feed / file_name(SECOND)).unlink()
    for path in raw_file(project).parent.iterdir():
        path.unlink()
    assert due(project) == {}
    check = evaluate_standing_checks(project)["raw_intact"]
    assert not check.passed
    assert f"week={SECOND}: there is no manifest" in check.description


def test_a_step_that_finds_a_damaged_file_names_it_and_sets_it_aside(project):
    project.run(FIRST, assets=[RAW_KEY])
    path = raw_file(project, FIRST)
    DAMAGE["truncated"](path)
    staged = [key for key in project.defs.resolve_asset_graph().get_all_asset_keys() if key.path[0] == "staged"]
    result = project.run(FIRST, assets=[key for key in staged if "turnstile" in key.path[-1]])
    assert not result.success
    assert str(path) in failure_of(result)
    assert not path.exists()
    assert path.with_name(f".{path.name}.damaged").exists()
    assert project.run(FIRST).success


# --- weeks with too few readings ---


def readings_check(project, week, *weeks):
    result = project.run(*(weeks or (week,)))
    [found] = [
        e for e in result.get_asset_check_evaluations() if (e.check_name, e.partition) == ("enough_readings", week)
    ]
    return found


def test_half_of_a_file_is_reported_when_it_is_new(project):
    half = valid_week(SECOND)
    project.publish(SECOND, half[: len(half) // 2])
    found = readings_check(project, SECOND, FIRST, THIRD)
    assert not found.passed
    assert found.severity.value == "ERROR"
    assert "20 readings, at least 25 are expected" in found.description


def test_the_first_weeks_of_a_lake_have_an_absolute_limit(tmp_path):
    settings = Settings(feed=str(tmp_path / "feed"), lake_root=str(tmp_path / "lake"), least_readings=43)
    project = Project(tmp_path, settings=settings)
    for week in WEEKS:
        project.publish(week, steady_week(week))
    found = readings_check(project, SECOND, FIRST, THIRD)
    assert not found.passed
    assert "42 readings, at least 43 are expected" in found.description


# --- a real feed ---


@pytest.mark.parametrize(
    "fault",
    [Fault(headers={"Content-Length": "3000"}), Fault(body=b"The service is not available.\n" * 9)],
    ids=["a Content-Length that is too short", "junk"],
)
def test_one_bad_response_over_a_good_week_changes_nothing_and_the_next_good_one_lands(project, fault):
    with serve_feed(project.feed) as server:
        project.raw.land(open_feed(server.listing_url), FIRST)
        good = steady_week(FIRST, start=5_000)
        project.publish(FIRST, good)
        server.fail(file_name(FIRST), fault)
        project.raw.land(open_feed(server.listing_url), FIRST)
        assert project.raw.read(FIRST) == valid_week(FIRST)
        assert project.raw.pending_problem(FIRST)
        project.raw.land(open_feed(server.listing_url), FIRST)
    assert project.raw.read(FIRST) == good
    assert project.raw.pending_problem(FIRST) is None


def test_a_transfer_that_ends_before_the_announced_length_is_an_error_and_changes_nothing(project):
    with serve_feed(project.feed) as server:
        project.raw.land(open_feed(server.listing_url), FIRST)
        project.publish(FIRST, steady_week(FIRST, start=5_000))
        server.fail(file_name(FIRST), Fault(cut_after=3_000), times=9)
        with pytest.raises(FeedUnavailable):
            project.raw.land(open_feed(server.listing_url, fail_fast=True), FIRST)
    assert project.raw.read(FIRST) == valid_week(FIRST)
