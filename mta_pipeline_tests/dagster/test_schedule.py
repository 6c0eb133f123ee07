"""On Saturdays the week that has just ended is looked for, and any other not in the lake; late is no failure."""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster._utils.schedules import schedule_execution_time_iterator

from mta_pipeline.orchestration.automation import schedules
from mta_pipeline.orchestration.automation.schedules import SCHEDULE
from mta_pipeline.orchestration.keys import RIDERSHIP_JOB
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.dagster.automation import QUIET, requested_weeks
from mta_pipeline_tests.dagster.project import WEEKS, Project, steady_week, valid_week
from mta_pipeline_tests.support.feed_server import Fault, serve_feed

FIRST, SECOND, THIRD = WEEKS
NEW_YORK = ZoneInfo("America/New_York")
SATURDAY = dt.datetime(2024, 1, 27, 6, tzinfo=NEW_YORK)


@pytest.fixture
def make_project(short_calendar, tmp_path) -> Iterator[Callable[..., Project]]:
    """Makes a project; schedules open Dagster's records anew, so they lie in a directory."""
    with ExitStack() as open_instances:

        def make(**resources: object) -> Project:
            (tmp_path / "home").mkdir()
            instance = open_instances.enter_context(dg.DagsterInstance.local_temp(str(tmp_path / "home")))
            return Project(tmp_path, resources=resources, instance=instance)

        yield make


@pytest.fixture
def project(make_project) -> Project:
    made = make_project()
    for week in WEEKS:
        made.publish(week, valid_week(week))
    return made


def tick(project: Project, at: dt.datetime = SATURDAY) -> list[dg.RunRequest] | str:
    """What the schedule asks for at a time, or why it asks for nothing."""
    with dg.build_schedule_context(project.instance, at, project.sensor_resources) as context:
        found = project.defs.resolve_schedule_def(SCHEDULE).evaluate_tick(context)
    return list(found.run_requests) or found.skip_message


def carry_out(project: Project, requests: list[dg.RunRequest]) -> None:
    for request in requests:
        project.defs.resolve_job_def(RIDERSHIP_JOB).execute_in_process(
            instance=project.instance, tags=dict(request.tags), raise_on_error=False, run_config=QUIET
        )


def test_it_sweeps_all_weeks_that_are_not_in_the_lake_and_then_has_nothing_to_do(project):
    project.run(SECOND)
    requests = tick(project)
    assert requested_weeks(requests) == [(FIRST,), (THIRD,)]
    carry_out(project, requests)
    assert project.landed() == list(WEEKS)
    assert "All 3 weeks on offer" in tick(project)


def test_a_week_that_landed_and_got_no_further_is_swept_too(project):
    project.load_weeks_until(THIRD)
    (project.lake / "lake" / "complex_hourly" / f"week={SECOND}" / "part-0.parquet").unlink()
    assert requested_weeks(tick(project)) == [(SECOND,)]


def test_a_file_that_is_late_is_a_skip_and_is_found_later_that_day(project):
    project.load_weeks_until(SECOND)
    late = project.feed / file_name(THIRD)
    contents = late.read_bytes()
    late.unlink()
    reason = tick(project)
    assert f"Week {THIRD} is not published yet: no turnstile_240127.txt" in reason
    assert "looked for again at 9:00" in reason
    late.write_bytes(contents)
    assert requested_weeks(tick(project, SATURDAY.replace(hour=9))) == [(THIRD,)]


def test_a_week_whose_run_failed_is_not_asked_for_again_on_the_same_day_but_on_the_next_saturday(project):
    project.load_weeks_until(SECOND)
    project.publish(THIRD, b"<html>Not here</html>")
    carry_out(project, tick(project))
    assert f"Asked for already today, or on their way: {THIRD}" in tick(project, SATURDAY.replace(hour=9))
    assert requested_weeks(tick(project, SATURDAY + dt.timedelta(days=7))) == [(THIRD,)]


def test_weeks_that_a_run_is_at_are_left_to_it(project):
    job = project.defs.resolve_job_def(RIDERSHIP_JOB)
    project.instance.create_run_for_job(job, tags={PARTITION_NAME_TAG: FIRST}, status=dg.DagsterRunStatus.STARTED)
    assert requested_weeks(tick(project)) == [(SECOND, THIRD)]


def test_a_feed_out_of_reach_is_a_skip(tmp_path, make_project):
    (tmp_path / "feed").mkdir()
    with serve_feed(tmp_path / "feed") as server:
        project = make_project(feed=TurnstileFeed(location=server.index_url))
        server.fail("turnstile.html", Fault(status=503))
        assert "503" in tick(project)


def test_a_site_without_a_list_is_asked_for_the_week_that_has_just_ended(tmp_path, make_project):
    (tmp_path / "feed").mkdir()
    with serve_feed(tmp_path / "feed") as server:
        project = make_project(feed=TurnstileFeed(location=server.bare_url))
        assert "not published yet" in tick(project)
        project.publish(THIRD, steady_week(THIRD))
        assert requested_weeks(tick(project)) == [(THIRD,)]


@pytest.mark.parametrize(
    ("at", "newest"),
    [
        (dt.datetime(2024, 3, 9, 6, tzinfo=NEW_YORK), "2024-03-02"),
        (dt.datetime(2024, 3, 16, 6, tzinfo=NEW_YORK), "2024-03-09"),
        (dt.datetime(2024, 11, 2, 6, tzinfo=NEW_YORK), "2024-10-26"),
        (dt.datetime(2024, 11, 9, 21, tzinfo=NEW_YORK), "2024-11-02"),
    ],
)
def test_the_week_that_has_just_ended_is_the_right_one_around_changes_of_the_clock(project, at, newest, monkeypatch):
    monkeypatch.setattr(schedules, "weeks_complete", lambda _: set(WEEKS))
    assert f"Week {newest} is not published yet" in tick(project, at)


def test_ticks_come_six_times_a_saturday_by_the_clock_of_new_york(project):
    schedule = project.defs.resolve_schedule_def(SCHEDULE)
    start = dt.datetime(2024, 11, 1, tzinfo=NEW_YORK).timestamp()
    ticks = schedule_execution_time_iterator(start, schedule.cron_schedule, schedule.execution_timezone)
    local = [next(ticks).astimezone(NEW_YORK) for _ in range(12)]
    assert [(at.day, at.hour) for at in local] == [(day, hour) for day in (2, 9) for hour in (6, 9, 12, 15, 18, 21)]
