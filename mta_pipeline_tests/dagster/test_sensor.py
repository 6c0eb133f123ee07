"""The sensor gives a reason for each skip, reports an unreachable feed once, and sends few requests."""

import dagster as dg
import pytest

from mta_pipeline.lake.discovery import DiscoveryCursor
from mta_pipeline.orchestration.keys import FEED_KEY, RAW_KEY, WEEKLY_KEYS
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.weeks import weeks_between
from mta_pipeline_tests.dagster.automation import Automation, requested_weeks
from mta_pipeline_tests.dagster.project import WEEKS, Project, steady_week, valid_week
from mta_pipeline_tests.support.feed_server import Fault, FeedServer, serve_feed

FIRST, SECOND, THIRD = WEEKS
MANY = weeks_between("2010-05-01", "2012-08-11")
"""More weeks than one tick probes."""


@pytest.fixture
def automation_and_server(tmp_path) -> tuple[Automation, FeedServer]:
    """The automation of a project whose feed is a web site."""
    (tmp_path / "feed").mkdir()
    with serve_feed(tmp_path / "feed") as server:
        project = Project(tmp_path, resources={"feed": TurnstileFeed(location=server.index_url)})
        for week in WEEKS:
            project.publish(week, valid_week(week))
        yield Automation(project), server


def test_consecutive_weeks_are_requested_in_one_run_and_their_versions_are_recorded(automation_and_server):
    automation, _ = automation_and_server
    requests = automation.tick_sensor()
    assert requested_weeks(requests) == [(FIRST, THIRD)]
    [result] = automation.land(requests)
    assert result.success
    seen = automation.project.instance.fetch_observations(FEED_KEY, limit=10).records
    assert {record.partition_key for record in seen} == set(WEEKS)
    assert automation.tick_sensor() == []
    assert "3 have landed and nothing is new" in automation.reasons[-1]


def test_a_request_that_is_repeated_after_a_crash_has_the_same_run_key(automation_and_server):
    automation, _ = automation_and_server
    first, automation.sensor_cursor = automation.tick_sensor(), None
    assert [r.run_key for r in automation.tick_sensor()] == [r.run_key for r in first]


def test_long_histories_are_requested_in_several_runs(automation_and_server):
    automation, _ = automation_and_server
    for week in weeks_between("2011-01-01", "2012-02-04"):
        automation.project.publish(week, steady_week(week))
    assert requested_weeks(automation.tick_sensor()) == [
        ("2011-01-01", "2011-12-24"),
        ("2011-12-31", "2012-02-04"),
        (FIRST, THIRD),
    ]


def test_an_unreachable_feed_is_skipped_with_a_reason_and_reported_once(automation_and_server):
    automation, server = automation_and_server
    server.fail("turnstile.html", Fault(status=503), times=5)
    for _ in range(5):
        assert automation.tick_sensor() == []
    assert "503" in automation.reasons[0]
    assert "5 times in a row" in automation.reasons[-1]
    [alarm] = automation.check_evaluations
    assert (alarm.check_name, alarm.passed) == ("reachable", False)
    assert "3 requests in a row failed" in alarm.description
    assert automation.tick_sensor()
    assert [(check.check_name, check.passed) for check in automation.check_evaluations[1:]] == [("reachable", True)]


def test_a_short_outage_is_not_reported(automation_and_server):
    automation, server = automation_and_server
    server.fail("turnstile.html", Fault(status=503), times=2)
    for _ in range(3):
        automation.tick_sensor()
    assert automation.check_evaluations == []


def test_an_unchanged_index_page_is_not_transferred_again(automation_and_server):
    automation, server = automation_and_server
    automation.land(automation.tick_sensor())
    automation.tick_sensor()
    server.requests.clear()
    automation.tick_sensor()
    pages = [request for request in server.requests if request.path.endswith(".html")]
    assert ["If-None-Match" in page.headers for page in pages][:1] == [True]


def test_with_many_landed_weeks_a_tick_sends_few_requests_and_reports_it(tmp_path):
    project = Project(tmp_path)
    for week in MANY:
        project.publish(week, b"not read")
        project.raw.land(project.source(), week)
        project.instance.report_runless_asset_event(dg.AssetMaterialization(RAW_KEY, partition=week))
    automation = Automation(project)
    for _ in range(2):
        assert automation.tick_sensor() == []
    assert f"{len(MANY)} weeks available" in automation.reasons[-1]
    assert "100 weeks checked" in automation.reasons[-1]
    cursor = DiscoveryCursor.model_validate_json(automation.sensor_cursor)
    assert cursor.looked_at == MANY[199 % len(MANY)]
    assert len(automation.sensor_cursor) < 300


def test_a_conditions_tick_with_many_landed_weeks_requests_only_the_changed_week(tmp_path):
    project = Project(tmp_path)
    automation = Automation(project)
    weeks = MANY[:40]
    for key in WEEKLY_KEYS:
        for week in weeks:
            project.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=week))
    automation.tick_conditions()
    project.instance.report_runless_asset_event(dg.AssetMaterialization(RAW_KEY, partition=weeks[30]))
    requests = automation.tick_conditions()
    requested = {
        key.to_user_string(): requested_weeks([request]) for request in requests for key in request.asset_selection
    }
    assert requested["staged/turnstile_readings"] == [(weeks[30],)]
