"""Dagster records a week as materialized only if its data are in the lake, however the run is launched."""

import subprocess
import sys

import dagster as dg
import pytest
from dagster_graphql.test.utils import execute_dagster_graphql

from mta_pipeline.lake.storage import part_path
from mta_pipeline.orchestration.keys import (
    HOURLY_JOB,
    RAW_KEY,
    RIDERSHIP_JOB,
    WEEKLY_KEYS,
    asset_key,
)
from mta_pipeline.orchestration.run_records import latest_metadata, range_tags
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, TURNSTILE_READINGS
from mta_pipeline.weeks import file_name, week_after
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.dagster.automation import Automation
from mta_pipeline_tests.dagster.daemons import daemons
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of, valid_week
from mta_pipeline_tests.support.webserver import LAUNCH_RUN
from mta_pipeline_tests.support.webserver import REPOSITORY as LOCATION

FIRST, SECOND, THIRD = WEEKS
UNPUBLISHED = "2024-02-03"
DAILY = asset_key(COMPLEX_DAILY)
ASSETS = "__ASSET_JOB"


def recorded(project: Project) -> dict[str, set[str]]:
    """The materialized weeks of all weekly assets that have any; an event without a week counts as the week None."""
    graph = project.defs.resolve_asset_graph()
    weekly = [key for key in graph.materializable_asset_keys if graph.get(key).partitions_def]
    events = {key: project.instance.fetch_materializations(key, limit=1000).records for key in weekly}
    return {key.to_user_string(): {e.partition_key for e in found} for key, found in events.items() if found}


def together(project: Project, asset: str) -> set[dg.AssetKey]:
    """An asset with those that the same step makes."""
    keys = project.defs.resolve_asset_graph().get(dg.AssetKey(asset.split("/"))).execution_set_entity_keys
    return {key for key in keys if isinstance(key, dg.AssetKey)}


def alone(project: Project, asset: str, *weeks: str) -> dg.ExecuteInProcessResult:
    """A run of one asset, without its checks and the assets upstream."""
    assets = together(project, asset)
    job = project.defs.resolve_job_def(ASSETS).get_subset(asset_selection=assets, asset_check_selection=set())
    return job.execute_in_process(
        instance=project.instance, tags=range_tags((weeks[0], weeks[-1])), raise_on_error=False
    )


def log_of(project: Project, result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(entry.user_message for entry in project.instance.all_logs(result.run_id))


# --- weeks without data ---

DERIVED = {
    "staged/turnstile_readings": "raw/turnstile_file",
    "lake/turnstile_traffic": "staged/turnstile_readings",
    "lake/complex_daily": "lake/turnstile_traffic",
    "lake/complex_hourly": "lake/turnstile_traffic",
    "staged/hourly_ridership": "raw/hourly_ridership",
    "lake/complex_hourly_published": "staged/hourly_ridership",
    "staged/daily_ridership": "raw/daily_ridership",
    "lake/daily_ridership": "staged/daily_ridership",
}
"""The weekly assets that are made from another one, with that one. Rejects are made with their rows."""

RAW = ("raw/turnstile_file", "raw/hourly_ridership", "raw/daily_ridership")


@pytest.fixture(scope="module")
def without_data(tmp_path_factory) -> Project:
    """A project without any week, and without a portal."""
    return Project(tmp_path_factory.mktemp("without_data"))


def test_the_weekly_assets_of_these_tests_are_all_there_are(without_data):
    graph = without_data.defs.resolve_asset_graph()
    weekly = {key.to_user_string() for key in graph.materializable_asset_keys if graph.get(key).partitions_def}
    assert {name for name in weekly if not name.endswith("_rejects")} == {*RAW, *DERIVED}


@pytest.mark.slow
@pytest.mark.parametrize("weeks", [(UNPUBLISHED,), (UNPUBLISHED, week_after(UNPUBLISHED))], ids=["one week", "range"])
@pytest.mark.parametrize("asset", [*RAW, *DERIVED])
def test_no_asset_is_recorded_for_a_week_without_data(without_data, many_runs, asset, weeks):
    result = alone(without_data, asset, *weeks)
    assert recorded(without_data) == {}
    assert result.success == (asset in RAW)
    for week in weeks if asset in DERIVED else ():
        assert f"{DERIVED[asset]} has no data for the week {week}" in failure_of(result)
        assert f"for the week {week} first" in failure_of(result)


def test_a_table_whose_input_is_missing_fails_and_says_what_to_materialize_first(project):
    project.load_weeks_until(FIRST)
    project.publish(SECOND, valid_week(SECOND))
    result = alone(project, DAILY.to_user_string(), FIRST, SECOND)
    assert f"lake/turnstile_traffic has no data for the week {SECOND}" in failure_of(result)
    assert f"Materialize it for the week {SECOND} first" in failure_of(result)
    assert recorded(project)["lake/complex_daily"] == {FIRST}


def test_a_range_with_a_week_that_was_never_published_records_the_others_and_succeeds(project):
    (project.feed / file_name(SECOND)).unlink()
    result = project.run(FIRST, THIRD)
    assert result.success
    assert recorded(project) == {key.to_user_string(): {FIRST, THIRD} for key in WEEKLY_KEYS}
    skipped = f"complex_daily: week {SECOND} (2 of 3) skipped: lake/turnstile_traffic has no data"
    assert skipped in log_of(project, result)


def test_landed_weeks_are_recorded_with_the_facts_of_their_manifest_alone(project):
    project.run(FIRST, assets=[RAW_KEY])
    metadata = latest_metadata(project.instance, RAW_KEY, FIRST)
    assert metadata["sha256"].value == project.raw.manifest(FIRST).sha256
    assert "no data" not in metadata


# --- complete weeks ---

FIGURES = ("dagster/partition_row_count", "entries", "exits", "path", "bytes")


def figures(project: Project, key: dg.AssetKey = DAILY) -> dict[str, object]:
    metadata = latest_metadata(project.instance, key, FIRST)
    return {name: metadata[name].value for name in FIGURES if name in metadata}


def test_a_job_that_skips_a_complete_week_records_nothing_so_its_figures_stay(project):
    project.run(FIRST)
    before = figures(project)
    assert set(before) == {*FIGURES}
    again = project.run(FIRST)
    assert "complete, skipped" in log_of(project, again)
    assert [*again.get_asset_materialization_events()] == []
    assert figures(project) == before


def test_a_complete_week_that_dagster_does_not_know_is_recorded_with_the_figures_of_its_file(project):
    project.load_weeks_until(FIRST)
    project.instance.wipe_assets([DAILY])
    project.run(FIRST)
    path = part_path(str(project.lake), COMPLEX_DAILY.layer, COMPLEX_DAILY.name, FIRST)
    rows = project.table("lake", "complex_daily", FIRST).height
    assert figures(project) == {
        "dagster/partition_row_count": rows,
        "path": str(path),
        "bytes": path.stat().st_size,
    }


@pytest.mark.slow
def test_automation_keeps_the_figures_of_complete_weeks_and_requests_nothing_more(project, many_runs):
    for week in (SECOND, THIRD):
        (project.feed / file_name(week)).unlink()
    automation = Automation(project)
    automation.settle()
    before = figures(project)
    assert set(before) == {*FIGURES}
    project.instance.report_runless_asset_event(dg.AssetMaterialization(RAW_KEY, partition=FIRST))
    assert automation.follow()["lake/complex_daily"] == {FIRST}
    assert figures(project) == before
    assert latest_metadata(project.instance, DAILY, FIRST)["outcome"].value == "complete, skipped"
    assert automation.tick_conditions() == []


# --- partitions outside of the calendar ---


@pytest.mark.parametrize(
    ("weeks", "key", "nearest"),
    [
        (("2024-01-07",), "2024-01-07", "The nearest week is 2024-01-06"),
        (("2024-01-06", "2024-01-18"), "2024-01-18", "The nearest week is 2024-01-20"),
    ],
    ids=["one", "range"],
)
@pytest.mark.parametrize("job", [RIDERSHIP_JOB, HOURLY_JOB])
def test_a_partition_that_is_no_week_fails_and_the_nearest_week_is_named(without_data, job, weeks, key, nearest):
    tags = {"dagster/partition": weeks[0]}
    if len(weeks) > 1:
        tags = {"dagster/asset_partition_range_start": weeks[0], "dagster/asset_partition_range_end": weeks[1]}
    result = without_data.run(job=job, tags=tags)
    assert f"The partition {key} is not a week of the calendar" in failure_of(result)
    assert nearest in failure_of(result)
    assert recorded(without_data) == {}


@pytest.mark.parametrize("asset", [*RAW, *DERIVED, "checks"])
def test_every_partitioned_asset_and_check_refuses_a_partition_that_is_no_week(without_data, asset):
    job = without_data.defs.resolve_job_def(ASSETS)
    if asset == "checks":
        graph = without_data.defs.resolve_asset_graph()
        checks = {key for key in graph.asset_check_keys if key.asset_key == asset_key(TURNSTILE_READINGS)}
        subset = job.get_subset(asset_selection=set(), asset_check_selection=checks)
    else:
        subset = job.get_subset(asset_selection=together(without_data, asset), asset_check_selection=set())
    result = subset.execute_in_process(
        instance=without_data.instance, tags={"dagster/partition": "2024-01-07"}, raise_on_error=False
    )
    assert "The partition 2024-01-07 is not a week of the calendar" in failure_of(result)


# --- without a portal ---


@pytest.mark.slow
def test_all_assets_of_a_week_are_materialized_without_a_portal(project, many_runs):
    project.run(FIRST, THIRD)
    graph = project.defs.resolve_asset_graph()
    everything = [*graph.materializable_asset_keys]
    result = project.run(FIRST, job=ASSETS, assets=everything)
    assert result.success, failure_of(result)
    assert "No portal is set" in log_of(project, result)
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    needs_portal = {key.to_user_string() for key in everything if graph.get(key).group_name in ("hourly", "data_sets")}
    assert made == {key.to_user_string() for key in everything} - needs_portal


# --- the ways to launch ---


@pytest.fixture
def site(tmp_path, short_calendar, monkeypatch):
    """The settings of a project with one published week, and its Dagster instance."""
    (tmp_path / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    for name, value in {"MTA_FEED": "feed", "LAKE_ROOT": "lake"}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("MTA_LAST_WEEK", UNPUBLISHED)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        project = Project(tmp_path, instance=instance)
        project.publish(FIRST, valid_week(FIRST))
        yield project


@pytest.mark.slow
def test_a_backfill_over_weeks_without_data_ends_and_records_only_those_with_data(site, many_runs):
    with daemons(site.instance) as running:
        running.backfill(WEEKLY_KEYS, [FIRST, SECOND])
        [backfill] = site.instance.get_backfills()
    assert recorded(site) == {key.to_user_string(): {FIRST} for key in WEEKLY_KEYS}
    assert backfill.status.value == "COMPLETED_FAILED"


@pytest.mark.slow
def test_a_backfill_does_without_the_week_after_that_dagster_adds(site, many_runs):
    """Its traffic would start from the readings of the last week, but it has no readings itself."""
    with daemons(site.instance) as running:
        assert all(running.backfill(WEEKLY_KEYS, [FIRST]))
    assert recorded(site) == {key.to_user_string(): {FIRST} for key in WEEKLY_KEYS}


@pytest.mark.slow
def test_runs_launched_over_graphql_record_no_week_without_data_and_refuse_other_days(site, many_runs):
    def launch(job: str, partition: str, *keys: dg.AssetKey) -> bool:
        selector = {**LOCATION, "jobName": job}
        if keys:
            selector["assetSelection"] = [{"path": key.path} for key in keys]
        tags = {"tags": [{"key": "dagster/partition", "value": partition}]}
        variables = {"run": {"selector": selector, "executionMetadata": tags, "runConfigData": {}}}
        answer = execute_dagster_graphql(running.workspace.create_request_context(), LAUNCH_RUN, variables)
        return running.execute(site.instance.get_run_by_id(answer.data["launchRun"]["run"]["runId"]))

    with daemons(site.instance) as running:
        assert not launch(ASSETS, UNPUBLISHED, DAILY)
        assert launch(RIDERSHIP_JOB, UNPUBLISHED)
        assert not launch(RIDERSHIP_JOB, "2024-01-07")
    assert recorded(site) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "weeks", [["--partition", UNPUBLISHED], ["--partition-range", f"{SECOND}...{THIRD}"]], ids=["one week", "range"]
)
def test_dagster_asset_materialize_records_no_week_without_data(site, processes, weeks):
    words = ["asset", "materialize", "-m", "mta_pipeline.definitions", "--select", 'key:"lake/complex_daily"', *weeks]
    command = [sys.executable, "-m", "dagster", *words]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Materialize it for the week" in done.stdout + done.stderr
    assert recorded(site) == {}
