"""Turnstile assets end with the last week of the sample or of the declared source; the portal's other data sets do not.

Two calendars of one deployment start at the same time and end at different ones.
"""

import datetime as dt
import socket

import dagster as dg
import pytest

from mta_pipeline.build import last_week
from mta_pipeline.cli.run import settings_for
from mta_pipeline.hourly_ridership.contract import ENTRY_FACTOR
from mta_pipeline.orchestration.keys import FEED_KEY, WEEKLY_KEYS, asset_key
from mta_pipeline.settings import SAMPLE_FEED, Settings
from mta_pipeline.weeks import file_name, saturday
from mta_pipeline_tests.dagster.automation import requested_weeks
from mta_pipeline_tests.dagster.project import WEEKS, Project, valid_week

FIRST, SECOND, THIRD = WEEKS


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("Loading definitions sends a request")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def last_week_of(feed: object, lake: object = "lake", **settings: object) -> str | None:
    found = last_week(Settings(feed=str(feed), lake_root=str(lake), **settings))
    return found and str(found)


@pytest.mark.parametrize(
    ("files", "last"),
    [
        ([file_name(FIRST), file_name(SECOND) + ".gz"], SECOND),
        ([file_name(FIRST), "Turnstile_Usage_Data__2019.csv"], FIRST),
        (["Turnstile_Usage_Data__2019.csv.gz", "Turnstile_Usage_Data__2018.csv"], "2019-12-21"),
        (["Turnstile_Usage_Data__2022.csv"], "2022-12-24"),
        ([file_name(FIRST), "turnstile_usage.csv"], None),
        (["notes.txt"], None),
        ([], None),
    ],
)
def test_a_directory_ends_with_its_newest_week_and_an_export_with_the_year_in_its_name(tmp_path, files, last):
    for name in files:
        (tmp_path / name).touch()
    assert last_week_of(tmp_path) == last


def test_a_directory_that_had_a_new_week_lately_is_open_because_more_may_come(tmp_path):
    today = dt.datetime.now(dt.UTC).date()
    for weeks_ago, last in ((10, saturday(today - dt.timedelta(weeks=10))), (3, None)):
        (tmp_path / file_name(saturday(today - dt.timedelta(weeks=weeks_ago)))).touch()
        assert last_week_of(tmp_path) == last


def test_a_week_that_has_landed_stays_in_the_calendar_when_its_file_is_moved_away(project):
    project.raw.land(project.source(), THIRD)
    (project.feed / file_name(THIRD)).unlink()
    assert last_week_of(project.feed, project.lake) == THIRD


def test_the_portal_ends_with_its_last_data_set_and_other_sources_are_open(tmp_path):
    assert last_week_of("https://data.ny.gov") == last_week_of("soda+https://portal.example") == "2022-12-24"
    for feed in ("https://feed.example/turnstile.html", "gs://bucket/turnstile", tmp_path / "nowhere"):
        assert last_week_of(feed) is None


def test_the_sample_ends_with_its_last_week_before_it_is_made_and_the_setting_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert last_week_of(SAMPLE_FEED) == last_week_of("http://feed:8000") == "2014-10-18"
    assert last_week_of(SAMPLE_FEED, last_week=dt.date(2014, 10, 25)) == "2014-10-25"
    assert last_week_of("https://data.ny.gov", last_week=dt.date(2014, 10, 25)) == "2014-10-25"


def test_turnstile_assets_and_checks_end_and_those_of_a_portal_stay_open(project):
    settings = Settings(feed=str(project.feed), lake_root=str(project.lake), soda="https://portal.example")
    graph = Project(project.root, settings=settings).defs.resolve_asset_graph()

    def last(key: dg.AssetKey | dg.AssetCheckKey) -> str | None:
        partitions = graph.get(key).partitions_def
        return partitions and partitions.get_last_partition_key()

    turnstile = {FEED_KEY, *WEEKLY_KEYS}
    weekly = {key: last(key) for key in (*graph.get_all_asset_keys(), *graph.asset_check_keys) if last(key)}
    assert {key for key, week in weekly.items() if week == THIRD} == {
        key for key in weekly if (key.asset_key if isinstance(key, dg.AssetCheckKey) else key) in turnstile
    }
    assert {week > "2026" for key, week in weekly.items() if week != THIRD} == {True}


def test_without_a_portal_a_backfill_can_select_a_week_of_all_assets(project):
    graph = Project(project.root).defs.resolve_asset_graph()
    partitioned = [key for key in graph.get_all_asset_keys() if graph.get(key).is_partitioned]
    assert len({graph.get(key).partitions_def for key in partitioned}) == 1


def test_a_table_that_reads_both_calendars_is_made_from_all_weeks_of_each(project):
    settings = Settings(feed=str(project.feed), lake_root=str(project.lake), soda="https://portal.example")
    rebuilt = Project(project.root, settings=settings)
    assert rebuilt.run(FIRST, THIRD).success
    assert rebuilt.run(job="__ASSET_JOB", assets=[asset_key(ENTRY_FACTOR)]).success


def test_a_week_after_the_end_is_named_until_the_code_location_is_loaded_again(project):
    (project.feed / file_name(THIRD)).unlink()
    loaded = Project(project.root, instance=project.instance)
    loaded.run(FIRST, SECOND)
    project.publish(THIRD, valid_week(THIRD))
    with dg.build_sensor_context(loaded.instance, resources=loaded.sensor_resources) as context:
        found = loaded.defs.resolve_sensor_def("published_weeks").evaluate_tick(context)
    assert found.run_requests == []
    assert found.skip_message.endswith(
        "; 1 available weeks come after the calendar, which ends with 2024-01-13: reload the code location to add "
        "them, unless MTA_LAST_WEEK sets the end"
    )
    again = Project(project.root, instance=project.instance)
    with dg.build_sensor_context(again.instance, resources=again.sensor_resources) as context:
        found = again.defs.resolve_sensor_def("published_weeks").evaluate_tick(context)
    assert requested_weeks(found.run_requests) == [(THIRD,)]


def test_the_terminal_command_also_takes_weeks_after_the_end_unless_the_setting_ends_the_calendar(project):
    settings = Settings(feed=str(project.feed), lake_root=str(project.lake))
    assert last_week(settings_for([FIRST], settings)) == dt.date(2024, 1, 20)
    assert last_week(settings_for([THIRD, "2024-01-27"], settings)) == dt.date(2024, 1, 27)
    ended = settings.model_copy(update={"last_week": dt.date(2024, 1, 13)})
    assert last_week(settings_for([THIRD], ended)) == dt.date(2024, 1, 13)
