"""Yearly exports as the feed: the sensor requests their weeks, and a run lands them."""

import os
from pathlib import Path

import pytest

from mta_pipeline.lake.feeds import feed_at
from mta_pipeline.settings import Settings
from mta_pipeline.sources.turnstile_files import unused_files
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS
from mta_pipeline_tests.dagster.automation import Automation, requested_weeks
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of, valid_week
from mta_pipeline_tests.support.exports import export
from mta_pipeline_tests.support.published_files import HEADER

FIRST, SECOND, THIRD = WEEKS
NAME = "Turnstile_Usage_Data__2024.csv"


def rows_of(*weeks: str) -> list[str]:
    lines = [line.strip() for week in weeks for line in valid_week(week).decode().splitlines()]
    return [line for line in lines if line != HEADER]


def publish(folder: Path, contents: bytes, name: str = NAME) -> None:
    before = (folder / name).stat().st_mtime if (folder / name).exists() else 1_700_000_000
    (folder / name).write_bytes(contents)
    os.utime(folder / name, (before + 10, before + 10))


@pytest.fixture
def project(tmp_path) -> Project:
    """A project whose feed is an export of the three weeks."""
    # The calendar ends with the third week, so that the sensor requests no other week of the export's year.
    settings = Settings(feed=str(tmp_path / "feed"), lake_root=str(tmp_path / "lake"), last_week=THIRD)
    project = Project(tmp_path, settings=settings)
    publish(project.feed, export(rows_of(*WEEKS), seed=1))
    return project


def test_a_run_stages_the_readings_of_the_weekly_files_with_the_lines_of_the_export(project, tmp_path):
    (tmp_path / "other").mkdir()
    weekly = Project(tmp_path / "other")
    for week in WEEKS:
        weekly.publish(week, valid_week(week))
    results = [each.run(FIRST, THIRD) for each in (project, weekly)]

    assert [result.success for result in results] == [True, True], failure_of(results[0])
    published = (project.feed / NAME).read_text().splitlines()
    for week in WEEKS:
        staged, expected = (
            each.table(TURNSTILE_READINGS.layer, TURNSTILE_READINGS.name, week) for each in (project, weekly)
        )
        assert staged.drop("source_line").equals(expected.drop("source_line"))
        lines = [published[number - 1].split(",") for number in staged["source_line"]]
        assert [(line[0], int(line[9])) for line in lines] == list(
            staged.select("control_area", "entries_register").rows()
        )
        for layer, table in (("lake", "turnstile_traffic"), ("lake", "complex_daily"), ("lake", "complex_hourly")):
            assert project.table(layer, table, week).equals(weekly.table(layer, table, week))
    assert project.checks(results[0]) == weekly.checks(results[1])


def test_the_sensor_requests_the_weeks_of_the_year_and_after_the_run_nothing_more(project):
    automation = Automation(project)
    requests = automation.tick_sensor()
    [(first, last)] = requested_weeks(requests)
    assert (first, last) == ("2023-12-30", THIRD)

    [result] = automation.land(requests)

    assert result.success, failure_of(result)
    assert project.raw.weeks() == set(WEEKS)
    for _ in range(2):
        assert automation.tick_sensor() == []
        assert "3 have landed and nothing is new" in automation.reasons[-1]


def test_an_export_in_another_order_is_read_again_but_no_week_is_rebuilt(project):
    automation = Automation(project)
    automation.land(automation.tick_sensor())
    before = project.files()
    publish(project.feed, export(rows_of(*WEEKS), seed=2))

    for result in automation.land(automation.tick_sensor()):
        assert result.success, failure_of(result)

    weekly = {path: contents for path, contents in before.items() if "turnstile_export" not in path}
    assert {path: contents for path, contents in project.files().items() if "turnstile_export" not in path} == weekly
    assert automation.tick_sensor() == []


def test_a_week_that_lost_days_fails_with_their_dates_and_keeps_its_tables(project):
    assert project.run(FIRST, THIRD).success
    before = project.table("lake", "complex_daily", SECOND)
    publish(project.feed, export([row for row in rows_of(*WEEKS) if ",01/17/2024," not in row]))

    result = project.run(FIRST, THIRD)

    assert not result.success
    assert "has no rows of 2024-01-17" in failure_of(result)
    assert project.table("lake", "complex_daily", SECOND).equals(before)


def test_an_unusable_file_in_the_folder_is_named_and_the_weeks_land(project):
    publish(project.feed, b"station,borough\n", "turnstile_stations.csv")
    automation = Automation(project)
    results = automation.land(automation.tick_sensor())
    assert [failure_of(result) for result in results] == ["", ""]
    assert project.raw.weeks() == set(WEEKS)
    assert automation.tick_sensor() == []
    [note] = unused_files(feed_at(str(project.feed), str(project.lake), fail_fast=True))
    assert "turnstile_stations.csv: line 1 is not the header of an export" in note
