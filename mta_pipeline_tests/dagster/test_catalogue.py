"""What Dagster's UI shows: every asset with its description from the contract. Also tests the command line."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from mta_pipeline.build import build_defs
from mta_pipeline.marts.contract import MARTS, WAREHOUSE
from mta_pipeline.orchestration.keys import (
    COMPLETE_WEEKS,
    LAKE_INTACT,
    NO_VERSION_PENDING,
    RAW_INTACT,
    REDO,
)
from mta_pipeline.sample import SampleFeed
from mta_pipeline.schema import Table
from mta_pipeline.settings import Settings
from mta_pipeline.tables import TABLES, WEEKLY, WITHOUT_WEEKS
from mta_pipeline.turnstile.contract import COMPLEX_DAILY
from mta_pipeline.turnstile.contract import TABLES as TURNSTILE
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.dagster.project import Project

FEED = dg.AssetKey(["feed", "turnstile_file"])
RAW = dg.AssetKey(["raw", "turnstile_file"])
REPORT = dg.AssetKey(["report", "ridership_report"])
PORTAL = {
    dg.AssetKey(["raw", "hourly_ridership"]),
    *(
        dg.AssetKey([layer, table])
        for name in ("daily_ridership", "subway_stations")
        for layer, table in (("raw", name), ("staged", name), ("staged", f"{name}_rejects"), ("lake", name))
    ),
}
"""Assets that the portal adds to the tables of the contract: raw pages, and the data sets declared in YAML."""
NOT_AUTOMATED = {RAW, *(key for key in PORTAL if key.path[0] == "raw")}
WITHOUT_A_TIME_COLUMN = {key for key in PORTAL if "subway_stations" in key.path[1]}


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_defs(Settings(feed="feed", lake_root="lake"))


@pytest.fixture(scope="module")
def graph(defs):
    return defs.resolve_asset_graph()


def key_of(table: Table) -> dg.AssetKey:
    return dg.AssetKey([table.layer, table.name])


def test_the_assets_are_the_feed_the_raw_layer_the_tables_of_the_contract_and_the_report(graph):
    assert graph.get_all_asset_keys() == {FEED, RAW, REPORT, *PORTAL, *map(key_of, (*TABLES, *WAREHOUSE, *MARTS))}


def test_every_asset_has_a_description_a_group_kinds_and_owners(graph):
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert len(node.description) > 60
        assert node.group_name in (key.path[0], "hourly", "data_sets")
        assert node.kinds
        assert node.owners


def test_every_asset_links_to_its_data_and_its_code(graph):
    for key in graph.get_all_asset_keys():
        metadata = graph.get(key).metadata
        place = {"feed": "feed", "warehouse": "lake/warehouse/mta.duckdb", "report": "lake/report/index.html"}
        expected = place.get(key.path[0], f"lake/{'/'.join(key.path)}")
        assert metadata["dagster/uri"] == f"file://{Path.cwd()}/{expected}"
        if key != FEED:
            files = [Path(link.file_path) for link in metadata["dagster/code_references"].code_references]
            assert all(file.is_relative_to(REPOSITORY / "mta_pipeline") and file.is_file() for file in files)
            declared = "defs.yaml" in [file.name for file in files]
            assert declared == (key in PORTAL and key.path[1] != "hourly_ridership")


@pytest.mark.parametrize(
    ("code", "links"),
    [
        ("https://github.com/owner/project/tree/0a1b2c", "https://github.com/owner/project/tree/0a1b2c/"),
        ("https://gitlab.com/a/b/project/-/tree/v1", "https://gitlab.com/a/b/project/-/tree/v1/"),
    ],
)
def test_with_a_repository_the_links_open_the_revision_there(code, links):
    graph = build_defs(Settings(feed="feed", lake_root="lake", code=code)).resolve_asset_graph()
    (link,) = graph.get(RAW).metadata["dagster/code_references"].code_references
    assert link.url.startswith(f"{links}mta_pipeline/orchestration/assets/raw.py#L")


def test_every_table_has_the_version_of_its_rules_as_code_version_and_its_name_in_the_warehouse(graph):
    for table in (*TABLES, *WAREHOUSE, *MARTS):
        node = graph.get(key_of(table))
        assert node.code_version == str(table.rules)
        assert node.metadata["dagster/table_name"] == f"{table.layer}.{table.name}"


def test_every_raw_asset_has_a_check(graph):
    raw = {key for key in graph.get_all_asset_keys() if key.path[0] in ("raw", "feed")}
    assert raw <= {check.asset_key for check in graph.asset_check_keys}


def test_sensors_schedules_jobs_resources_and_components_have_descriptions():
    settings = Settings(feed="feed", lake_root="lake", soda="https://portal.example", notify="json://example")
    defs = build_defs(settings)
    repository = defs.get_repository_def()
    jobs = [defs.resolve_job_def(job.name) for job in defs.jobs]
    resources = repository.get_top_level_resources()
    described = {thing.name: thing.description for thing in (*defs.sensors, *defs.schedules, *jobs)}
    described |= {name: resource.description for name, resource in resources.items()}
    assert resources.keys() == {"feed", "raw_layer", "io_manager", "marts_engine", "warehouse", "soda"}
    for name, description in described.items():
        assert description, name
        assert len(description) > 40, name
        assert "\n   " not in description, name
    [(package)] = repository.metadata["plugin_component_types_json"].value
    assert [kind["name"] for kind in package["componentTypes"]] == ["mta_pipeline.components.SodaDataSetComponent"]
    assert repository.get_component_tree().get_all_components(dg.Component)


@pytest.mark.parametrize("table", [*TABLES, *WAREHOUSE, *MARTS], ids=lambda table: table.name)
def test_a_table_shows_the_columns_of_the_contract_with_their_descriptions(graph, table):
    displayed = graph.get(key_of(table)).metadata["dagster/column_schema"]
    assert [
        (column.name, column.type, column.description, column.constraints.nullable) for column in displayed.columns
    ] == [(column.name, column.type_name, column.description, column.nullable) for column in table.columns]
    assert all(column.description.endswith(".") for column in table.columns)
    assert table.grain in graph.get(key_of(table)).description


def test_all_weekly_assets_and_checks_share_one_calendar_and_run_ranges_in_one_run(graph):
    weekly = [FEED, RAW, *(PORTAL - WITHOUT_A_TIME_COLUMN), *map(key_of, WEEKLY)]
    assert len({id(graph.get(key).partitions_def) for key in weekly}) == 1
    assert {graph.get(key).backfill_policy for key in weekly if key != FEED} == {dg.BackfillPolicy.single_run()}
    standing = {RAW_INTACT, LAKE_INTACT, NO_VERSION_PENDING}
    checks = [key for key in graph.asset_check_keys if key.asset_key in weekly and key.asset_key != FEED]
    of_weeks = [key for key in checks if key.name not in standing]
    assert {id(graph.get(key).partitions_def) for key in of_weeks} == {id(graph.get(RAW).partitions_def)}
    assert all(graph.get(key).partitions_def is None for key in (*map(key_of, WITHOUT_WEEKS), *WITHOUT_A_TIME_COLUMN))


def test_checks_have_descriptions_and_those_that_guard_the_lake_block(graph):
    specs = [graph.get_check_spec(key) for key in graph.asset_check_keys]
    assert all(len(spec.description) > 25 for spec in specs)
    assert sorted((spec.asset_key.path[-1], spec.name, spec.blocking) for spec in specs) == [
        ("complex_daily", "complexes_as_usual", False),
        ("complex_daily", "riders_kept", True),
        ("complex_daily", "week_as_usual", False),
        ("complex_hourly", "riders_kept", True),
        ("complex_hourly_published", "complexes_known", False),
        ("complex_hourly_published", "every_hour_published", False),
        ("complex_hourly_published", "published_riders_kept", True),
        ("complex_hourly_published", "riders_found", True),
        ("daily_ridership", "enough_rows", False),
        ("daily_ridership", "every_row_accounted_for", True),
        ("daily_ridership", "few_rejects", False),
        ("daily_ridership", "raw_intact", False),
        ("daily_ridership", "reject_share_at_most", True),
        ("hourly_ridership", "every_row_accounted_for", True),
        ("hourly_ridership", "few_rejects", False),
        ("hourly_ridership", "raw_intact", False),
        ("hourly_ridership", "reject_share_at_most", True),
        ("ridership_reconciliation", "complexes_agree", False),
        ("ridership_reconciliation", "ratio_near_one", False),
        ("subway_stations", "enough_rows", False),
        ("subway_stations", "every_row_accounted_for", True),
        ("subway_stations", "few_rejects", False),
        ("subway_stations", "raw_intact", False),
        ("subway_stations", "reject_share_at_most", True),
        ("turnstile_file", "newest_week_landed", False),
        ("turnstile_file", "no_version_pending", False),
        ("turnstile_file", "no_week_left_out", False),
        ("turnstile_file", "raw_intact", False),
        ("turnstile_file", "reachable", False),
        ("turnstile_readings", "booths_known", False),
        ("turnstile_readings", "enough_readings", False),
        ("turnstile_readings", "every_line_accounted_for", True),
        ("turnstile_readings", "subway_turnstiles_present", True),
        ("turnstile_rejects", "reject_share_at_most", False),
        ("turnstile_traffic", "an_interval_per_reading", True),
        ("turnstile_traffic", "carry_in_present", False),
        ("turnstile_traffic", "complexes_read_in_time", False),
        ("turnstile_traffic", "lake_intact", False),
        ("turnstile_traffic", "riders_found", True),
    ]


def test_all_assets_but_the_requested_ones_are_materialized_after_their_inputs(graph):
    assert all(graph.get(key).automation_condition for key in graph.get_all_asset_keys() - {FEED} - NOT_AUTOMATED)
    assert not any(graph.get(key).automation_condition for key in NOT_AUTOMATED)


def test_a_week_shows_its_rows_and_the_path_of_its_file(project):
    result = project.run("2024-01-06")
    displayed = {event.asset_key: event.materialization.metadata for event in result.get_asset_materialization_events()}
    for table in TURNSTILE:
        if table in WEEKLY:
            file = project.lake / table.layer / table.name / "week=2024-01-06" / "part-0.parquet"
            height = project.table(table.layer, table.name, "2024-01-06").height
            assert displayed[key_of(table)]["dagster/partition_row_count"].value == height
            assert displayed[key_of(table)]["path"].value == str(file)
            assert displayed[key_of(table)]["dagster/uri"].value == f"file://{file}"
            assert displayed[key_of(table)]["sample_rows"].value.count("\n") == 1 + min(5, height)
    charts = {table.name for table in TURNSTILE if "chart" in displayed.get(key_of(table), {})}
    assert charts == {"complex_daily", "complex_hourly"}
    assert "data:image/svg+xml;base64," in displayed[key_of(COMPLEX_DAILY)]["chart"].value
    for check in result.get_asset_check_evaluations():
        numbers = [value for value in check.metadata.values() if isinstance(value.value, int | float)]
        assert numbers, f"{check.check_name} has nothing to plot"
    assert displayed[RAW]["sha256"].value == project.raw.manifest("2024-01-06").sha256


# --- from the command line ---

WEEKS = FIRST, LAST = ("2014-10-04", "2014-10-11")
BIN = Path(sys.executable).parent
MATERIALIZE = [BIN / "dagster", "asset", "materialize", "-m", "mta_pipeline.definitions", "--select"]
SELECTION = 'group:raw or group:staged or key:"lake/turnstile_traffic"+ and group:lake'
LAUNCH = [BIN / "dg", "launch", "--assets"]


@pytest.fixture
def sampled_project(tmp_path) -> Project:
    """A project with two weeks of a small sample and its reference tables."""
    made = Project(tmp_path)
    SampleFeed(4, 8, FIRST).write(made.feed, WEEKS)
    return made


@pytest.mark.parametrize(
    ("command", "weeks"),
    [
        pytest.param(MATERIALIZE, [LAST], marks=pytest.mark.slow, id="dagster asset materialize, one week"),
        pytest.param(LAUNCH, [FIRST, LAST], marks=pytest.mark.slow, id="dg launch, a range"),
        pytest.param(MATERIALIZE, [FIRST, LAST], marks=pytest.mark.long, id="dagster asset materialize, a range"),
        pytest.param(LAUNCH, [LAST], marks=pytest.mark.long, id="dg launch, one week"),
    ],
)
def test_weeks_are_materialized_from_the_command_line_as_in_the_ui(
    processes, sampled_project, tmp_path, command, weeks
):
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").symlink_to(REPOSITORY / "dagster.yaml")
    settings = {
        "MTA_FEED": str(sampled_project.feed),
        "LAKE_ROOT": str(sampled_project.lake),
        "DAGSTER_HOME": str(home),
    }
    span = ["--partition", *weeks] if len(weeks) == 1 else ["--partition-range", "...".join(weeks)]
    ran = subprocess.run(
        [*command, SELECTION, *span],
        cwd=REPOSITORY,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert sampled_project.landed() == weeks
    by_command = sampled_project.files()
    assert sampled_project.run(*weeks, tags={COMPLETE_WEEKS: REDO}).success
    assert sampled_project.files() == by_command


def test_all_definitions_of_the_code_location_load(defs):
    defs.get_repository_def().load_all_definitions()
