"""Automation lands new weeks, materializes everything downstream of them, and nothing else."""

import os

import dagster as dg
import pytest

from mta_pipeline import tables
from mta_pipeline.lake.completeness import weeks_due
from mta_pipeline.orchestration.checks import weekly
from mta_pipeline.orchestration.keys import NO_VERSION_PENDING, RAW_INTACT, RAW_KEY
from mta_pipeline.turnstile.parsing import count_data_lines
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.dagster.automation import Automation
from mta_pipeline_tests.dagster.project import WEEKS, Project, steady_week, valid_week

FIRST, SECOND, THIRD = WEEKS
STAGED, RIDERSHIP = ([f"{table.layer}/{table.name}" for table in kind] for kind in (tables.STAGED, tables.RIDERSHIP))


@pytest.fixture
def automation(many_runs, project) -> Automation:
    """Two valid weeks are available. The third is not published yet."""
    (project.feed / file_name(THIRD)).unlink()
    return Automation(project)


def made(*, landed: set[str], ridership: set[str]) -> dict[str, set[str]]:
    """The weeks made, by table, if `landed` have landed and `ridership` have traffic."""
    return {"raw/turnstile_file": landed, **dict.fromkeys(STAGED, landed), **dict.fromkeys(RIDERSHIP, ridership)}


@pytest.mark.slow
def test_all_available_weeks_are_loaded_into_the_lake_and_then_nothing_is_due(automation, project):
    assert automation.settle() == made(landed={FIRST, SECOND}, ridership={FIRST, SECOND})
    assert project.landed() == [FIRST, SECOND]
    assert automation.settle() == {}


@pytest.mark.slow
def test_the_lake_is_the_same_as_after_a_manual_run(automation, project, tmp_path):
    automation.settle()
    by_automation = project.files()
    (tmp_path / "manual").mkdir()
    manual = Project(tmp_path / "manual")
    for week in (FIRST, SECOND):
        manual.publish(week, valid_week(week))
    manual.run(FIRST, SECOND)
    weekly = {path: data for path, data in manual.files().items() if "week=" in path}
    assert {path: data for path, data in by_automation.items() if "week=" in path} == weekly


@pytest.mark.slow
def test_a_republished_week_is_rebuilt_with_the_traffic_of_the_week_after_and_nothing_else(automation, project):
    project.publish(THIRD, valid_week(THIRD))
    automation.settle()
    before = project.files()
    project.publish(FIRST, steady_week(FIRST, start=1_001))
    assert automation.settle() == made(landed={FIRST}, ridership={FIRST, SECOND})
    changed = {path for path, data in project.files().items() if before.get(path) != data}
    assert not [path for path in changed if THIRD in path]
    assert project.table("lake", "turnstile_traffic", SECOND)["entries"][0] != 10


@pytest.mark.slow
def test_a_week_that_lands_again_just_after_it_was_staged_is_staged_again(automation, project):
    automation.land(automation.tick_sensor())
    automation.execute(automation.tick_conditions())
    project.publish(SECOND, steady_week(SECOND, start=1_421))
    automation.land(automation.tick_sensor())
    automation.follow()
    assert weeks_due([FIRST, SECOND], str(project.lake), project.source()) == {}


@pytest.mark.slow
def test_a_touched_file_with_the_same_contents_causes_no_run(automation, project):
    automation.settle()
    os.utime(project.feed / file_name(SECOND), (0, 1_000_000_000))
    assert automation.settle() == {}


@pytest.mark.slow
def test_traffic_is_built_without_the_week_before_and_rebuilt_when_that_week_is_published(automation, project):
    (project.feed / file_name(FIRST)).unlink()
    assert automation.settle() == made(landed={SECOND}, ridership={SECOND})
    project.publish(FIRST, valid_week(FIRST))
    assert automation.settle() == made(landed={FIRST}, ridership={FIRST, SECOND})


@pytest.mark.slow
def test_the_next_week_is_processed_alone(automation, project):
    automation.settle()
    project.publish(THIRD, valid_week(THIRD))
    assert automation.settle() == made(landed={THIRD}, ridership={THIRD})


def test_a_new_deployment_starts_with_the_reference_tables_and_makes_no_empty_marts(tmp_path):
    empty = Automation(Project(tmp_path, has_reference_tables=False), groups=None)
    requested = {key.to_user_string() for request in empty.tick_conditions() for key in request.asset_selection or ()}
    assert requested == {"lake/control_areas", "lake/station_complexes"}


@pytest.mark.slow
def test_marts_are_materialized_once_after_all_weeks(automation):
    automation.land(automation.tick_sensor())
    made = automation.follow(layers=("staged", "lake", "warehouse", "marts"))
    assert {"marts/station_daily", "warehouse/fact_turnstile"} <= made.keys()
    assert automation.tick_conditions() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "contents",
    [b"<html>Not here</html>", b"C/A,UNIT,no data\n" * 9],
    ids=["does not land", "lands but cannot be staged"],
)
def test_a_bad_file_is_tried_once_and_again_after_it_is_replaced(automation, project, contents):
    project.publish(SECOND, contents)
    for _ in range(3):
        automation.settle()
    assert automation.failed_runs() == 1
    assert project.landed() == [FIRST]
    project.publish(SECOND, valid_week(SECOND))
    automation.settle()
    assert project.landed() == [FIRST, SECOND]


@pytest.mark.slow
def test_the_downstream_tables_of_a_killed_landing_are_built(automation, project):
    """The files are in the lake, but Dagster has no record of them, so nothing downstream would run."""
    project.raw.land(project.source(), SECOND)
    assert automation.settle() == made(landed={FIRST, SECOND}, ridership={FIRST, SECOND})


@pytest.mark.slow
def test_a_failed_blocking_check_stops_downstream_tables_until_it_passes(automation, project, monkeypatch):
    second, third = valid_week(SECOND), valid_week(THIRD)
    (project.feed / file_name(FIRST)).unlink()
    monkeypatch.setattr(weekly, "count_data_lines", lambda data: 7 if data == second else count_data_lines(data))
    project.publish(SECOND, second)
    automation.settle()
    project.publish(THIRD, third)
    automation.settle()
    assert project.landed() == []
    monkeypatch.undo()
    project.publish(SECOND, steady_week(SECOND, start=1_421))
    automation.settle()
    assert project.landed() == [SECOND, THIRD]


def test_a_landing_requests_the_check_for_pending_versions(project):
    automation = Automation(project)
    project.load_weeks_until(FIRST)
    automation.tick_conditions()
    project.instance.report_runless_asset_event(dg.AssetMaterialization(RAW_KEY, partition=FIRST))
    requested = {key for request in automation.tick_conditions() for key in request.asset_check_keys or ()}
    assert dg.AssetCheckKey(RAW_KEY, NO_VERSION_PENDING) in requested
    assert dg.AssetCheckKey(RAW_KEY, RAW_INTACT) not in requested


@pytest.mark.slow
def test_a_pending_version_is_requested_once_and_its_week_is_rebuilt_when_it_is_accepted(automation, project):
    automation.settle()
    project.publish(SECOND, valid_week(SECOND)[:3_000])
    automation.settle()
    assert automation.tick_sensor() == []
    assert project.table("staged", "turnstile_readings", SECOND).height == 42
    project.raw.accept(SECOND)
    project.instance.report_runless_asset_event(dg.AssetMaterialization(RAW_KEY, partition=SECOND))
    automation.follow()
    assert automation.tick_sensor() == []
    assert project.table("staged", "turnstile_readings", SECOND).height == 22


@pytest.mark.slow
def test_a_damaged_raw_file_lands_again_and_nothing_else_does(automation, project):
    automation.settle()
    assert automation.tick_sensor() == []
    path = project.raw.path(SECOND) / project.raw.manifest(SECOND).object
    path.write_bytes(b"rubbish")
    project.raw.set_damaged_aside(SECOND)
    assert automation.settle()["raw/turnstile_file"] == {SECOND}
    assert project.raw.problem(SECOND) is None
    assert automation.tick_sensor() == []
