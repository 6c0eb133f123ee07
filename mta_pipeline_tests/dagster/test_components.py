"""Data sets of the portal that are declared in YAML only: their assets, checks and error messages."""

import datetime as dt
import importlib
import re
import tomllib
from collections.abc import Iterator

import dagster as dg
import polars as pl
import pytest
import stamina

from mta_pipeline.components import DeclarationError, SodaDataSetComponent, declared_data_sets
from mta_pipeline.components.soda_data_set import SodaDataSetScaffolder
from mta_pipeline.notifications.incidents import Kind
from mta_pipeline.orchestration.automation.failure_scan import initial_state, scan_records
from mta_pipeline.orchestration.checks.soda import soda_checks
from mta_pipeline.orchestration.partitions import calendar
from mta_pipeline.orchestration.resources.soda import SodaPortal
from mta_pipeline.sample.portal import Portal, serve
from mta_pipeline.sources.socrata.dataset import SodaDataSet
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.dagster.project import Project, failure_of

WEEK = "2024-01-06"
DAILY_YAML = REPOSITORY / "mta_pipeline" / "defs" / "daily_ridership" / "defs.yaml"


@pytest.fixture(scope="module")
def data_sets() -> dict[str, pl.DataFrame]:
    """The data sets of the portal: a week of daily ridership with one bad row, and 496 stations as in the real list."""
    days = pl.date_range(dt.date(2024, 1, 6), dt.date(2024, 1, 13), closed="left", eager=True)
    n = days.len()
    daily = pl.DataFrame(
        {
            "date": days,
            "subways_total_estimated_ridership": [str(1_000_000 + day) for day in range(n - 1)] + ["NaN"],
            "subways_of_comparable_pre_pandemic_day": [0.7] * n,
            "buses_total_estimated_ridersip": [400_000] * n,
            "bridges_and_tunnels_total_traffic": [900_000] * n,
        }
    )
    stations = pl.DataFrame(
        {
            "gtfs_stop_id": [f"S{n:03}" for n in range(496)],
            "station_id": range(496),
            "complex_id": range(1, 497),
            "division": "BMT",
            "line": None,
            "stop_name": "Somewhere",
            "borough": ["M", "Q"] * 248,
            "cbd": [True, False] * 248,
            "daytime_routes": "N W",
            "structure": "Elevated",
            "gtfs_latitude": 40.7,
            "gtfs_longitude": -73.9,
        },
        schema_overrides={"line": pl.String},
    )
    return {"vxuj-8kew": daily, "39hk-dx4f": stations}


@pytest.fixture(scope="module")
def project(data_sets, tmp_path_factory) -> Iterator[Project]:
    with serve(Portal(data_sets)) as portal, stamina.set_testing(True, attempts=2):
        yield Project(
            tmp_path_factory.mktemp("declared"),
            resources={"soda": SodaPortal(portal.url, page_rows=100)},
            has_reference_tables=False,
        )


def materialize(project: Project, table: str, week: str | None = None) -> dg.ExecuteInProcessResult:
    """Materialize all assets of a declared data set with their checks, as *Materialize all* does."""
    graph = project.defs.resolve_asset_graph()
    keys = {key for key in graph.get_all_asset_keys() if key.path[1] in (table, f"{table}_rejects")}
    job = project.defs.get_repository_def().get_implicit_job_def_for_assets(keys)
    assert job is not None
    return job.get_subset(asset_selection=keys).execute_in_process(
        instance=project.instance, partition_key=week, raise_on_error=False
    )


def test_a_data_set_with_a_time_column_becomes_weekly_tables(project):
    result = materialize(project, "daily_ridership", WEEK)
    assert result.success, failure_of(result)
    days = project.table("lake", "daily_ridership", WEEK)
    assert days.height == 6
    assert days.row(0) == (dt.date(2024, 1, 6), 1_000_000, 0.7, 400_000, 900_000)
    rejects = project.table("staged", "daily_ridership_rejects", WEEK)
    assert rejects.select("reason", "about").rows() == [("bad_number", "subway_ridership")]
    assert project.checks(result) == {
        ("every_row_accounted_for", WEEK): True,
        ("enough_rows", WEEK): False,
        ("few_rejects", WEEK): False,
        ("raw_intact", None): True,
        ("reject_share_at_most", WEEK): True,
    }


def test_a_week_with_many_rejects_does_not_reach_the_lake(data_sets, tmp_path):
    rows = data_sets["vxuj-8kew"].with_columns(buses_total_estimated_ridersip=pl.lit("-"))
    with serve(Portal({"vxuj-8kew": rows})) as portal:
        project = Project(tmp_path, resources={"soda": SodaPortal(portal.url)}, has_reference_tables=False)
        result = materialize(project, "daily_ridership", WEEK)
    assert not project.checks(result)["reject_share_at_most", WEEK]
    assert not result.success
    assert not (project.lake / "lake" / "daily_ridership").exists()


def test_a_declaration_sets_the_largest_share_of_rejects():
    data_set = next(c.data_set for c in declared_data_sets() if c.data_set.table == "daily_ridership")
    declared = SodaDataSet(**{**data_set.model_dump(exclude_unset=True), "checks": {"reject_share_at_most": 0.3}})
    (checks,) = soda_checks(declared, calendar(None))
    described = {spec.name: spec.description for spec in checks.check_specs}
    assert described["reject_share_at_most"].startswith("At most 0.3 of all rows are rejected")
    assert described.keys() == {"every_row_accounted_for", "reject_share_at_most"}


def test_a_data_set_without_a_time_column_is_fetched_as_a_whole(project):
    result = materialize(project, "subway_stations")
    assert result.success, failure_of(result)
    stations = pl.read_parquet(project.lake / "lake" / "subway_stations" / "part-0.parquet")
    assert stations.height == 496
    assert stations.row(0, named=True)["cbd"] is True
    assert set(project.checks(result).values()) == {True}


def test_a_damaged_page_fails_the_check_of_the_raw_asset_and_is_set_aside(data_sets, tmp_path):
    with serve(Portal(data_sets)) as portal:
        project = Project(tmp_path, resources={"soda": SodaPortal(portal.url)}, has_reference_tables=False)
        materialize(project, "subway_stations")
    [page] = (project.lake / "raw" / "subway_stations").glob("*.zst")
    page.write_bytes(b"damaged")
    key = dg.AssetCheckKey(dg.AssetKey(["raw", "subway_stations"]), "raw_intact")
    job = project.defs.resolve_job_def("__ASSET_JOB").get_subset(asset_check_selection={key}, asset_selection=set())
    [check] = job.execute_in_process(instance=project.instance).get_asset_check_evaluations()
    assert not check.passed
    assert "does not match the sha256 in its name" in check.description
    assert not page.exists()


def test_a_failed_blocking_check_of_a_whole_data_set_is_one_incident(data_sets, tmp_path):
    rows = data_sets["39hk-dx4f"].with_columns(gtfs_latitude=pl.lit("north"))
    with dg.instance_for_test() as instance, serve(Portal({"39hk-dx4f": rows})) as portal:
        soda = SodaPortal(portal.url)
        project = Project(tmp_path, resources={"soda": soda}, instance=instance, has_reference_tables=False)
        state = initial_state(instance)
        assert not materialize(project, "subway_stations").success
        scan_records(
            instance,
            state,
            checks=project.defs.resolve_asset_graph().asset_check_keys,
            assets_of_job=lambda _: (),
            excluded_sensor="",
            now=dt.datetime.now(dt.UTC),
        )
    found = {incident.subject: incident.kind for incident in state.incidents.known.values() if incident.lasting}
    assert found == {"staged/subway_stations: reject_share_at_most": Kind.CHECK}


def test_without_a_portal_a_whole_data_set_is_skipped(tmp_path):
    result = materialize(Project(tmp_path, has_reference_tables=False), "subway_stations")
    assert result.success
    assert [*result.get_asset_materialization_events()] == []


def test_declared_tables_show_their_columns_with_types_and_descriptions(project):
    node = project.defs.resolve_asset_graph().get(dg.AssetKey(["lake", "daily_ridership"]))
    schema = node.metadata["dagster/column_schema"]
    assert [(column.name, column.type) for column in schema.columns[:2]] == [
        ("day", "date"),
        ("subway_ridership", "int64"),
    ]
    assert all(column.description for column in schema.columns)
    assert (
        node.partitions_def
        is project.defs.resolve_asset_graph().get(dg.AssetKey(["raw", "hourly_ridership"])).partitions_def
    )


def test_a_declaration_takes_at_most_13_lines_and_one_line_per_column():
    lines = [line for line in DAILY_YAML.read_text().splitlines() if line.strip() and "#" not in line]
    assert len(lines) - sum("{name:" in line for line in lines) <= 13


@pytest.mark.parametrize(
    ("change", "at", "message"),
    [
        (
            ("type: number", "type: decimal"),
            "type: decimal",
            "'text', 'integer', 'number', 'boolean', 'date' or 'timestamp'",
        ),
        (("key: [day]", "key: [date]"), "attributes:", "date is not one of the columns: day, subway_ridership"),
        (("time_column: day", "time_colum: day"), "time_colum:", "Extra inputs are not permitted"),
        (("vxuj-8kew", "vxuj8kew"), "vxuj8kew", "should match pattern"),
        (("rows_at_least: 7", "rows_at_least: many"), "many", "should be a valid integer"),
        (("rows_at_least: 7", "reject_share_at_most: 2"), "most: 2", "should be less than or equal to 1"),
        (("  table: daily_ridership\n", ""), "attributes:", "Field required"),
    ],
)
def test_a_wrong_declaration_is_reported_with_file_line_and_expected_value(tmp_path, monkeypatch, change, at, message):
    text = DAILY_YAML.read_text().replace(*change, 1)
    line = next(n for n, content in enumerate(text.splitlines(), 1) if at in content)
    name = f"wrong_{tmp_path.name}"
    folder = tmp_path / name / "defs" / "daily"
    folder.mkdir(parents=True)
    for package in folder.parents[:2]:
        (package / "__init__.py").touch()
    (folder / "defs.yaml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeclarationError) as wrong:
        declared_data_sets(importlib.import_module(f"{name}.defs"))
    assert re.search(rf"daily/defs.yaml:{line}\b[^\n]*\n[^\n]*{re.escape(message)}", str(wrong.value)), str(wrong.value)


def test_a_declaration_with_invalid_yaml_is_reported_with_file_and_line(tmp_path, monkeypatch):
    folder = tmp_path / "no_yaml" / "defs" / "daily"
    folder.mkdir(parents=True)
    for package in folder.parents[:2]:
        (package / "__init__.py").touch()
    (folder / "defs.yaml").write_text(DAILY_YAML.read_text().replace("  description", "   description", 1))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeclarationError, match=r'Invalid data set in .*: mapping values.*\n.*daily/defs.yaml", line 5'):
        declared_data_sets(importlib.import_module("no_yaml.defs"))


def test_dg_finds_and_loads_what_it_scaffolds(tmp_path, monkeypatch):
    dg_settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    (registry,) = dg_settings["registry_modules"]
    assert importlib.import_module(registry).SodaDataSetComponent is SodaDataSetComponent
    folder = tmp_path / "scaffolded" / "defs" / "bridges"
    folder.mkdir(parents=True)
    for package in folder.parents[:2]:
        (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    SodaDataSetScaffolder().scaffold(
        dg.ScaffoldRequest(
            type_name=f"{registry}.SodaDataSetComponent",
            target_path=folder,
            scaffold_format="yaml",
            project_root=tmp_path,
            params=None,
        )
    )
    (component,) = declared_data_sets(importlib.import_module("scaffolded.defs"))
    assert component.data_set.table == "bridges"
