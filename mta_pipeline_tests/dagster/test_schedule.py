"""On Saturdays the schedule requests the week that just ended and all other missing weeks. A late file is a skip."""

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
from mta_pipeline.turnstile.contract import COMPLEX_HOURLY
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.dagster.automation import QUIET, requested_weeks
from mta_pipeline_tests.dagster.project import WEEKS, Project, steady_week, valid_week
from mta_pipeline_tests.support.feed_server import Fault, serve_feed

FIRST, SECOND, THIRD = WEEKS
NEW_YORK = ZoneInfo("America/New_York")
SATURDAY = dt.datetime(2024, 1, 27, 6, tzinfo=NEW_YORK)


@pytest.fixture
def make_project(short_calendar, tmp_path) -> Iterator[Callable[..., Project]]:
    """Makes a project. Its Dagster records are on disk, because schedules open them again."""
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
    """The run requests of the schedule at a time, or its skip reason."""
    with dg.build_schedule_context(project.instance, at, project.sensor_resources) as context:
        found = project.defs.resolve_schedule_def(SCHEDULE).evaluate_tick(context)
    return list(found.run_requests) or found.skip_message


def execute(project: Project, requests: list[dg.RunRequest]) -> None:
    for request in requests:
        project.defs.resolve_job_def(RIDERSHIP_JOB).execute_in_process(
            instance=project.instance, tags=dict(request.tags), raise_on_error=False, run_config=QUIET
        )


def test_it_requests_all_weeks_that_are_not_in_the_lake_and_then_skips(project):
    project.run(SECOND)
    requests = tick(project)
    assert requested_weeks(requests) == [(FIRST,), (THIRD,)]
    execute(project, requests)
    assert project.landed() == list(WEEKS)
    assert "All 3 weeks available" in tick(project)


def test_it_also_requests_a_week_that_landed_but_lacks_tables(project):
    project.load_weeks_until(THIRD)
    (project.lake / "lake" / "complex_hourly" / f"week={SECOND}" / "part-0.parquet").unlink()
    assert requested_weeks(tick(project)) == [(SECOND,)]


def test_it_also_requests_weeks_made_with_older_rules_until_they_are_rebuilt(project, monkeypatch):
    project.load_weeks_until(THIRD)
    assert "All 3 weeks available" in tick(project)
    monkeypatch.setitem(vars(COMPLEX_HOURLY), "rules", COMPLEX_HOURLY.rules + 1)
    requests = tick(project)
    assert requested_weeks(requests) == [(FIRST, THIRD)]
    execute(project, requests)
    assert "All 3 weeks available" in tick(project)


def test_a_late_file_gives_a_skip_and_is_found_later_that_day(project):
    project.load_weeks_until(SECOND)
    late = project.feed / file_name(THIRD)
    contents = late.read_bytes()
    late.unlink()
    reason = tick(project)
    assert f"Week {THIRD} is not published yet: no turnstile_240127.txt" in reason
    assert "Next check at 9:00" in reason
    late.write_bytes(contents)
    assert requested_weeks(tick(project, SATURDAY.replace(hour=9))) == [(THIRD,)]


def test_a_week_whose_run_failed_is_not_requested_again_on_the_same_day_but_on_the_next_saturday(project):
    project.load_weeks_until(SECOND)
    project.publish(THIRD, b"<html>Not here</html>")
    execute(project, tick(project))
    assert f"Already requested today, or in progress: {THIRD}" in tick(project, SATURDAY.replace(hour=9))
    assert requested_weeks(tick(project, SATURDAY + dt.timedelta(days=7))) == [(THIRD,)]


def test_weeks_of_a_run_in_progress_are_not_requested(project):
    job = project.defs.resolve_job_def(RIDERSHIP_JOB)
    project.instance.create_run_for_job(job, tags={PARTITION_NAME_TAG: FIRST}, status=dg.DagsterRunStatus.STARTED)
    assert requested_weeks(tick(project)) == [(SECOND, THIRD)]


def test_an_unreachable_feed_gives_a_skip(tmp_path, make_project):
    (tmp_path / "feed").mkdir()
    with serve_feed(tmp_path / "feed") as server:
        project = make_project(feed=TurnstileFeed(location=server.index_url))
        server.fail("turnstile.html", Fault(status=503))
        assert "503" in tick(project)


def test_a_site_without_an_index_is_probed_for_the_week_that_has_just_ended(tmp_path, make_project):
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
def test_the_week_that_has_just_ended_is_right_around_clock_changes(project, at, newest, monkeypatch):
    monkeypatch.setattr(schedules, "weeks_complete", lambda _: set(WEEKS))
    assert f"Week {newest} is not published yet" in tick(project, at)


def test_ticks_come_six_times_on_a_saturday_in_new_york_time(project):
    schedule = project.defs.resolve_schedule_def(SCHEDULE)
    start = dt.datetime(2024, 11, 1, tzinfo=NEW_YORK).timestamp()
    ticks = schedule_execution_time_iterator(start, schedule.cron_schedule, schedule.execution_timezone)
    local = [next(ticks).astimezone(NEW_YORK) for _ in range(12)]
    assert [(at.day, at.hour) for at in local] == [(day, hour) for day in (2, 9) for hour in (6, 9, 12, 15, 18, 21)]


def test_after_the_end_of_the_calendar_the_tick_is_skipped_and_names_later_weeks(project):
    for week in (SECOND, THIRD):
        (project.feed / file_name(week)).unlink()
    ended = Project(project.root, instance=project.instance)
    execute(ended, tick(ended))
    assert "All 1 weeks available" in tick(ended)
    project.publish(SECOND, valid_week(SECOND))
    assert tick(ended).endswith(
        "which ends with 2024-01-06: reload the code location to add them, unless MTA_LAST_WEEK sets the end."
    )
    (project.feed / file_name(FIRST)).unlink()
    assert "All 0 weeks available" in tick(ended)
