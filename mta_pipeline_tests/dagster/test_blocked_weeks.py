"""A failed blocking check keeps its week out of the tables downstream. The other weeks of the run get theirs."""

import dagster as dg
import polars as pl
import pytest

from mta_pipeline.build import build_defs
from mta_pipeline.orchestration.blocked_weeks import are_left_to_later_steps
from mta_pipeline.orchestration.checks import weekly
from mta_pipeline.orchestration.keys import (
    BLOCKED_BY,
    FAILED_WEEKS,
    RIDERSHIP_JOB,
    SUBWAY_TURNSTILES_PRESENT,
    WEEKLY_KEYS,
    asset_key,
)
from mta_pipeline.settings import Settings
from mta_pipeline.tables import RIDERSHIP
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, STAGED, TURNSTILE_READINGS, TURNSTILE_TRAFFIC
from mta_pipeline.turnstile.parsing import count_data_lines
from mta_pipeline.weeks import file_name, week_start
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.dagster.daemons import daemons
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of, steady_week, valid_week

FIRST, SECOND, THIRD = WEEKS
RIDERSHIP_KEYS = [asset_key(table) for table in RIDERSHIP]
CORRECTED = steady_week(SECOND, start=1_421)
CHECK = "staged/turnstile_readings, check every_line_accounted_for"


@pytest.fixture
def lost_lines(monkeypatch):
    """Every check of the second week's lines fails, until its file is corrected."""
    spoiled = valid_week(SECOND)
    monkeypatch.setattr(weekly, "count_data_lines", lambda data: 7 if data == spoiled else count_data_lines(data))


def weeks_recorded(instance: dg.DagsterInstance, run_id: str, key: dg.AssetKey) -> list[str]:
    """The weeks of a table that a run has recorded as materialized."""
    records = instance.fetch_materializations(key, limit=100).records
    return sorted(record.partition_key for record in records if record.run_id == run_id)


def recorded(project: Project, result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> list[str]:
    return weeks_recorded(project.instance, result.run_id, key)


def failed_weeks(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, str]]:
    """The weeks that each failed step names, with reasons."""
    events = result.filter_events(lambda event: event.is_step_failure)
    metadata = {event.step_key: event.step_failure_data.user_failure_data.metadata for event in events}
    return {step: found[FAILED_WEEKS].value for step, found in metadata.items()}


def test_a_week_that_fails_a_check_is_left_out_of_its_run_which_fails_and_names_it(project, lost_lines):
    result = project.run(FIRST, THIRD)
    assert not result.success
    assert f"week {SECOND}: {CHECK}: 7 data lines, 42 readings and 0 rejects" in failure_of(result)
    assert {step: list(weeks) for step, weeks in failed_weeks(result).items()} == {
        "check_complex_daily": [SECOND],
        "check_complex_hourly": [SECOND],
    }
    assert {key: recorded(project, result, key) for key in WEEKLY_KEYS} == {
        key: [FIRST, THIRD] if key in RIDERSHIP_KEYS else [*WEEKS] for key in WEEKLY_KEYS
    }
    assert project.landed() == [FIRST, THIRD]
    # The third week starts from the readings of the second week, which are in the lake.
    traffic = project.table("lake", "turnstile_traffic", THIRD)
    assert traffic.filter(pl.col("started_at") < week_start(THIRD)).height == 1


def test_weekly_tables_name_the_blocking_checks_of_all_tables_upstream(tmp_path):
    graph = build_defs(Settings(feed=str(tmp_path), lake_root=str(tmp_path))).resolve_asset_graph()
    readings = [f"staged/turnstile_readings:{name}" for name in ("every_line_accounted_for", SUBWAY_TURNSTILES_PRESENT)]
    traffic = [f"lake/turnstile_traffic:{name}" for name in ("an_interval_per_reading", "riders_found")]
    assert graph.get(asset_key(TURNSTILE_TRAFFIC)).metadata[BLOCKED_BY] == readings
    assert graph.get(asset_key(COMPLEX_DAILY)).metadata[BLOCKED_BY] == traffic + readings
    assert graph.get(dg.AssetKey(["lake", "daily_ridership"])).metadata[BLOCKED_BY] == [
        f"staged/daily_ridership:{name}" for name in ("every_row_accounted_for", "reject_share_at_most")
    ]
    for key in [*map(asset_key, STAGED), dg.AssetKey(["marts", "station_daily"])]:
        assert BLOCKED_BY not in graph.get(key).metadata


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (None, True),
        (["check_turnstile_readings", "lake__turnstile_traffic"], True),
        (["check_turnstile_readings", "lake__complex_daily"], False),
    ],
)
def test_blocked_weeks_are_left_to_a_later_step_only_if_the_run_executes_it(tmp_path, steps, expected):
    defs = build_defs(Settings(feed=str(tmp_path), lake_root=str(tmp_path)))
    run = dg.DagsterRun(job_name=RIDERSHIP_JOB, step_keys_to_execute=steps)
    left = are_left_to_later_steps(defs.resolve_job_def(RIDERSHIP_JOB), run, asset_key(TURNSTILE_READINGS))
    assert left is expected


@pytest.mark.slow
@pytest.mark.usefixtures("many_runs")
def test_a_check_in_the_middle_keeps_the_week_out_of_the_sums_and_its_old_tables_stay(project):
    project.load_weeks_until(THIRD)
    before = project.files()
    project.publish(SECOND, steady_week(SECOND, start=1_410, riders=0))
    result = project.run(FIRST, THIRD)
    assert recorded(project, result, asset_key(TURNSTILE_TRAFFIC)) == [SECOND, THIRD]
    assert recorded(project, result, asset_key(COMPLEX_DAILY)) == [THIRD]
    assert "check riders_found: 0 entries" in failed_weeks(result)["check_complex_daily"][SECOND]
    assert ("riders_kept", SECOND) not in project.checks(result)
    sums = [path for path in before if f"complex_daily/week={SECOND}" in path]
    assert {path: project.files()[path] for path in sums} == {path: before[path] for path in sums}


@pytest.mark.slow
@pytest.mark.usefixtures("many_runs")
def test_later_runs_of_downstream_tables_leave_the_week_out_until_its_file_is_corrected(project, lost_lines):
    project.run(FIRST, THIRD, assets=[*WEEKLY_KEYS[:3]])
    assert project.landed() == []
    result = project.run(FIRST, THIRD, assets=RIDERSHIP_KEYS)
    assert failed_weeks(result).keys() == {"check_complex_daily", "check_complex_hourly"}
    assert project.landed() == [FIRST, THIRD]
    alone = project.run(SECOND, assets=[asset_key(TURNSTILE_TRAFFIC)])
    assert failed_weeks(alone) == {"lake__turnstile_traffic": failed_weeks(result)["check_complex_daily"]}
    daily = project.run(FIRST, THIRD, assets=[asset_key(COMPLEX_DAILY)])
    assert recorded(project, daily, asset_key(COMPLEX_DAILY)) == []  # The other weeks are complete.
    assert failed_weeks(daily)["check_complex_daily"].keys() == {SECOND}

    project.publish(SECOND, CORRECTED)
    assert project.run(FIRST, THIRD).success
    assert project.landed() == [*WEEKS]


@pytest.mark.slow
@pytest.mark.usefixtures("many_runs")
def test_a_run_without_checks_fails_in_its_last_tables(project, lost_lines):
    project.run(FIRST, THIRD, assets=[*WEEKLY_KEYS[:3]])
    job = project.defs.resolve_job_def(RIDERSHIP_JOB).get_subset(
        asset_selection={asset_key(TURNSTILE_TRAFFIC), asset_key(COMPLEX_DAILY)}, asset_check_selection=set()
    )
    tags = {"dagster/asset_partition_range_start": FIRST, "dagster/asset_partition_range_end": THIRD}
    result = job.execute_in_process(instance=project.instance, tags=tags, raise_on_error=False)
    assert {step: list(weeks) for step, weeks in failed_weeks(result).items()} == {"lake__complex_daily": [SECOND]}
    assert recorded(project, result, asset_key(COMPLEX_DAILY)) == [FIRST, THIRD]


@pytest.fixture
def running_daemons(tmp_path, short_calendar, lost_lines, monkeypatch):
    (tmp_path / "feed").mkdir()
    (tmp_path / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    for name, value in {"MTA_FEED": "feed", "LAKE_ROOT": "lake"}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("MTA_LAST_WEEK", THIRD)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance, daemons(instance) as made:
        project = Project(tmp_path, instance=instance)
        for week in WEEKS:
            project.publish(week, valid_week(week))
        yield made


@pytest.mark.slow
@pytest.mark.usefixtures("many_runs")
def test_a_run_that_is_repeated_from_its_failed_steps_fails_again(running_daemons):
    first = running_daemons.launch(RIDERSHIP_JOB, FIRST, THIRD)
    assert not running_daemons.execute(first)
    again = running_daemons.from_failure(first)
    assert not running_daemons.execute(again)
    assert weeks_recorded(running_daemons.instance, again.run_id, asset_key(TURNSTILE_TRAFFIC)) == []


@pytest.mark.slow
@pytest.mark.usefixtures("many_runs")
def test_a_backfill_leaves_the_week_out_and_a_later_one_completes_it(running_daemons, tmp_path):
    def materialized() -> dict[dg.AssetKey, set[str]]:
        return {key: {*WEEKS} & running_daemons.instance.get_materialized_partitions(key) for key in WEEKLY_KEYS}

    assert not all(running_daemons.backfill(WEEKLY_KEYS, WEEKS))
    assert materialized() == {key: {FIRST, THIRD} if key in RIDERSHIP_KEYS else {*WEEKS} for key in WEEKLY_KEYS}
    (tmp_path / "feed" / file_name(SECOND)).write_bytes(CORRECTED)
    assert all(running_daemons.backfill(WEEKLY_KEYS, WEEKS))
    assert materialized() == {key: {*WEEKS} for key in WEEKLY_KEYS}
