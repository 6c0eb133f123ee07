"""The sensor tells why it asks for nothing, is heard of once when the feed is out of reach, and asks little."""

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
"""More weeks than a look asks about."""


@pytest.fixture
def served(tmp_path) -> tuple[Automation, FeedServer]:
    """The automation of a project whose feed is a web site."""
    (tmp_path / "feed").mkdir()
    with serve_feed(tmp_path / "feed") as server:
        project = Project(tmp_path, resources={"feed": TurnstileFeed(location=server.index_url)})
        for week in WEEKS:
            project.publish(week, valid_week(week))
        yield Automation(project), server


def test_consecutive_weeks_are_asked_for_in_one_run_and_what_was_seen_is_noted(served):
    automation, _ = served
    requests = automation.tick_sensor()
    assert requested_weeks(requests) == [(FIRST, THIRD)]
    [result] = automation.land(requests)
    assert result.success
    seen = automation.project.instance.fetch_observations(FEED_KEY, limit=10).records
    assert {record.partition_key for record in seen} == set(WEEKS)
    assert automation.tick_sensor() == []
    assert "3 have landed and nothing is new" in automation.reasons[-1]


def test_a_request_repeated_after_a_crash_is_the_same_request(served):
    automation, _ = served
    first, automation.sensor_cursor = automation.tick_sensor(), None
    assert [r.run_key for r in automation.tick_sensor()] == [r.run_key for r in first]


def test_long_histories_are_asked_for_in_several_runs(served):
    automation, _ = served
    for week in weeks_between("2011-01-01", "2012-02-04"):
        automation.project.publish(week, steady_week(week))
    assert requested_weeks(automation.tick_sensor()) == [
        ("2011-01-01", "2011-12-24"),
        ("2011-12-31", "2012-02-04"),
        (FIRST, THIRD),
    ]


def test_a_feed_out_of_reach_is_a_skip_with_a_reason_and_told_of_once_when_it_stays_so(served):
    automation, server = served
    server.fail("turnstile.html", Fault(status=503), times=5)
    for _ in range(5):
        assert automation.tick_sensor() == []
    assert "503" in automation.reasons[0]
    assert "5 times in a row" in automation.reasons[-1]
    [alarm] = automation.check_evaluations
    assert (alarm.check_name, alarm.passed) == ("reachable", False)
    assert "3 times in vain" in alarm.description
    assert automation.tick_sensor()
    assert [(word.check_name, word.passed) for word in automation.check_evaluations[1:]] == [("reachable", True)]


def test_a_short_outage_is_not_worth_a_word(served):
    automation, server = served
    server.fail("turnstile.html", Fault(status=503), times=2)
    for _ in range(3):
        automation.tick_sensor()
    assert automation.check_evaluations == []


def test_an_index_page_that_has_not_changed_is_not_sent_again(served):
    automation, server = served
    automation.land(automation.tick_sensor())
    automation.tick_sensor()
    server.requests.clear()
    automation.tick_sensor()
    pages = [request for request in server.requests if request.path.endswith(".html")]
    assert ["If-None-Match" in page.headers for page in pages][:1] == [True]


def test_with_many_weeks_landed_a_look_asks_little_and_says_so(tmp_path):
    project = Project(tmp_path)
    for week in MANY:
        project.publish(week, b"not looked into")
        project.raw.land(project.source(), week)
        project.instance.report_runless_asset_event(dg.AssetMaterialization(RAW_KEY, partition=week))
    automation = Automation(project)
    for _ in range(2):
        assert automation.tick_sensor() == []
    assert f"{len(MANY)} weeks on offer" in automation.reasons[-1]
    assert "100 weeks looked at" in automation.reasons[-1]
    cursor = DiscoveryCursor.model_validate_json(automation.sensor_cursor)
    assert cursor.looked_at == MANY[199 % len(MANY)]
    assert len(automation.sensor_cursor) < 300


def test_an_automation_tick_with_many_weeks_landed_asks_for_the_changed_week_and_the_one_after(tmp_path):
    project = Project(tmp_path)
    automation = Automation(project)
    weeks = MANY[:40]
    for key in WEEKLY_KEYS:
        for week in weeks:
            project.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=week))
    automation.tick_conditions()
    project.instance.report_runless_asset_event(dg.AssetMaterialization(RAW_KEY, partition=weeks[30]))
    requests = automation.tick_conditions()
    asked = {
        key.to_user_string(): requested_weeks([request]) for request in requests for key in request.asset_selection
    }
    assert asked["staged/turnstile_readings"] == [(weeks[30],)]
