"""The standing checks list missing and failed weeks with a reason. Old weeks do not make the freshness check pass."""

import datetime as dt
import re
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from mta_pipeline.orchestration.keys import FEED_KEY, RAW_KEY
from mta_pipeline.settings import Settings
from mta_pipeline.weeks import NEW_YORK, ONE_WEEK, file_name, week_after, week_start
from mta_pipeline_tests.dagster.automation import evaluate_standing_checks
from mta_pipeline_tests.dagster.project import WEEKS, Project, steady_week

FIRST, SECOND, THIRD = WEEKS


def weeks_left_out(project: Project) -> list[tuple[str, str]]:
    check = evaluate_standing_checks(project)["no_week_left_out"]
    records = check.metadata["weeks"].records if "weeks" in check.metadata else []
    assert check.passed == (not records)
    return [(record.data["week"], record.data["state"]) for record in records]


def test_all_checks_pass_if_all_weeks_are_in_the_lake(project):
    project.load_weeks_until(THIRD)
    checks = evaluate_standing_checks(project)
    assert all(check.passed for check in checks.values())
    assert checks["no_week_left_out"].description == f"{FIRST} to {THIRD}: 3 weeks complete"


def test_files_that_look_like_data_and_are_not_used_are_named_by_the_check_and_in_the_log_of_a_run(project):
    (project.feed / "turnstile_240127.csv").write_bytes(b"data")
    reachable = evaluate_standing_checks(project)["reachable"]
    result = project.run(FIRST, assets=[RAW_KEY])
    assert reachable.passed
    messages = [entry.user_message for entry in project.instance.all_logs(result.run_id)]
    for text in (reachable.description, "\n".join(messages)):
        assert re.search("1 file is not used at .*: turnstile_240127.csv", text)


def test_an_empty_lake_has_no_missing_weeks(project):
    assert weeks_left_out(project) == []


def test_an_available_week_that_has_not_landed_is_missing_and_an_unavailable_week_is_not(project):
    project.load_weeks_until(FIRST)
    project.run(THIRD)
    assert weeks_left_out(project) == [(SECOND, "missing")]
    (project.feed / file_name(SECOND)).unlink()
    assert weeks_left_out(project) == []


def test_a_bad_week_is_failed_with_its_reason_until_it_is_replaced(project):
    project.publish(SECOND, b"<html>Not here</html>")
    project.run(FIRST, THIRD)
    project.run(FIRST)
    project.run(THIRD)
    assert weeks_left_out(project) == [(SECOND, "failed")]
    [record] = evaluate_standing_checks(project)["no_week_left_out"].metadata["weeks"].records
    assert "web page" in record.data["reason"]
    project.publish(SECOND, steady_week(SECOND))
    project.run(SECOND)
    assert weeks_left_out(project) == []


def test_a_week_that_landed_but_has_no_ridership_is_failed(project):
    project.load_weeks_until(THIRD)
    (project.lake / "lake" / "complex_daily" / f"week={SECOND}" / "part-0.parquet").unlink()
    assert weeks_left_out(project) == [(SECOND, "failed")]


def test_an_unreachable_feed_fails_its_check_and_hides_no_failed_week(project):
    project.load_weeks_until(THIRD)
    (project.lake / "lake" / "complex_daily" / f"week={SECOND}" / "part-0.parquet").unlink()
    project.feed.rename(project.feed.with_name("away"))
    checks = evaluate_standing_checks(project)
    assert not checks["reachable"].passed
    assert not checks["no_week_left_out"].passed
    assert not checks["newest_week_landed"].passed


# --- freshness ---


def observe(project: Project, week: str) -> None:
    project.instance.report_runless_asset_event(dg.AssetObservation(FEED_KEY, partition=week))


@pytest.fixture
def fresh_week(project) -> str:
    """An available week that ended so recently that it does not have to be in the lake yet."""
    today = dt.datetime.now(ZoneInfo(NEW_YORK)).date()
    week = (today - dt.timedelta(days=(today.isoweekday() + 1) % 7) - ONE_WEEK).isoformat()
    project.publish(week, steady_week(week))
    return week


def test_a_new_week_has_one_day_to_land(project, fresh_week):
    project.load_weeks_until(THIRD)
    observe(project, fresh_week)
    assert evaluate_standing_checks(project)["newest_week_landed"].passed
    project.run(fresh_week)
    assert evaluate_standing_checks(project)["newest_week_landed"].description == f"week {fresh_week} is in the lake"


def test_an_overdue_week_is_reported_and_an_old_backfill_does_not_hide_it(project):
    late = week_after(THIRD)
    project.publish(late, steady_week(late))
    for _ in range(2):
        check = evaluate_standing_checks(project)["newest_week_landed"]
        assert not check.passed
        assert f"week {late} has been available since {week_start(late) + ONE_WEEK}" in check.description
        project.run(FIRST, THIRD)


def test_a_feed_that_has_ended_is_not_expected_to_have_new_weeks(tmp_path):
    project = Project(tmp_path)
    project.publish(THIRD, steady_week(THIRD))
    ended = Project(tmp_path, settings=Settings(feed=str(project.feed), lake_root=str(project.lake), last_week=THIRD))
    check = evaluate_standing_checks(ended)["newest_week_landed"]
    assert check.passed
    assert check.description.startswith("not applicable")
