"""Warehouse and marts follow the lake: one run after weeks are done. The catalogue describes them."""

import subprocess
import sys

import dagster as dg
import duckdb
import polars as pl
import pytest

from mta_pipeline.engines import open_lake
from mta_pipeline.marts.contract import MARTS, WAREHOUSE
from mta_pipeline.orchestration.keys import MARTS_JOB, REPORT_KEY
from mta_pipeline.turnstile.contract import STATION_COMPLEXES
from mta_pipeline_tests.dagster.automation import Automation
from mta_pipeline_tests.dagster.project import WEEKS, Project, failure_of

FIRST, SECOND, THIRD = WEEKS
MARTS_AND_REPORT = {f"{table.layer}/{table.name}" for table in (*WAREHOUSE, *MARTS)} | {REPORT_KEY.to_user_string()}


def read(project: Project, name: str) -> pl.DataFrame:
    return pl.read_parquet(project.lake / "marts" / name / "part-0.parquet")


def test_marts_hold_the_riders_of_the_weeks_in_the_lake(project):
    project.load_weeks_until(THIRD)
    assert project.run(job=MARTS_JOB).success
    assert read(project, "system_daily")["entries"].sum() == (3 * 42 - 1) * 10
    assert read(project, "station_daily")["exits"].sum() == (3 * 42 - 1) * 10
    assert read(project, "data_quality_weekly")["readings"].to_list() == [42, 42, 42]


def test_written_marts_equal_those_computed_from_the_lake(project):
    project.load_weeks_until(FIRST)
    project.run(job=MARTS_JOB)
    with open_lake(str(project.lake)) as lake:
        for mart in MARTS:
            written = read(project, mart.name)
            assert written.equals(pl.DataFrame(pl.from_arrow(lake.to_pyarrow(mart.name))))
            assert dict(written.schema) == dict(mart.schema)


@pytest.mark.slow
def test_a_rebuilt_week_is_updated_in_marts_and_warehouse(many_runs, project):
    project.load_weeks_until(THIRD)
    project.run(job=MARTS_JOB)
    (project.feed / "turnstile_240120.txt").write_bytes(
        (project.feed / "turnstile_240120.txt").read_bytes()[: 131 * 31]
    )
    project.run(SECOND, THIRD)
    project.run(job=MARTS_JOB)
    with duckdb.connect(project.lake / "warehouse" / "mta.duckdb", read_only=True) as warehouse:
        facts = warehouse.execute("SELECT count(*) FROM warehouse.fact_turnstile WHERE week = '2024-01-13'").fetchone()
        marts = warehouse.execute("SELECT readings FROM marts.data_quality_weekly ORDER BY week").fetchall()
    assert facts == (30,)
    assert marts == [(42,), (30,), (42,)]


def test_an_empty_lake_gives_empty_marts_and_a_report_that_says_so(project):
    result = project.run(job=MARTS_JOB)
    assert result.success
    assert all(read(project, mart.name).is_empty() for mart in MARTS)
    assert "The lake holds no weeks yet" in (project.lake / "report" / "index.html").read_text()


def test_the_report_is_made_with_the_marts_and_its_charts_are_in_the_catalogue(project):
    project.load_weeks_until(THIRD)
    result = project.run(job=MARTS_JOB)
    [made] = [event for event in result.get_asset_materialization_events() if event.asset_key == REPORT_KEY]
    shown = made.materialization.metadata
    page = project.lake / "report" / "index.html"
    assert (shown["path"].value, shown["bytes"].value) == (str(page), page.stat().st_size)
    assert "3 of 3" in page.read_text()
    pictures = {name: entry.value for name, entry in shown.items() if isinstance(entry, dg.MarkdownMetadataValue)}
    assert set(pictures) >= {"ridership", "map", "hours_exits", "hours_entries", "coverage"}
    assert all("](data:image/png;base64," in picture for picture in pictures.values())
    assert pictures["map"].startswith("Exits on an average ")


def test_a_report_without_its_marts_fails_with_a_remedy_and_keeps_the_old_page(project):
    project.run(job=MARTS_JOB)
    page = project.lake / "report" / "index.html"
    before = page.read_bytes()
    (project.lake / "marts" / "busiest_places" / "part-0.parquet").unlink()
    alone = project.defs.resolve_job_def("__ASSET_JOB").execute_in_process(
        instance=project.instance, asset_selection=[REPORT_KEY], raise_on_error=False
    )
    assert "marts/busiest_places has no data" in failure_of(alone)
    assert "Materialize it first" in failure_of(alone)
    assert page.read_bytes() == before


def test_a_missing_reference_table_fails_with_a_remedy(project):
    (project.lake / "lake" / STATION_COMPLEXES.name / "part-0.parquet").unlink()
    assert "Materialize it first" in failure_of(project.run(job=MARTS_JOB))


def test_a_foreign_warehouse_file_fails_the_run_and_is_kept(project):
    file = project.lake / "warehouse" / "mta.duckdb"
    file.parent.mkdir(parents=True)
    file.write_text("not ours")
    result = project.run(job=MARTS_JOB)
    assert "mta.duckdb" in failure_of(result)
    assert file.read_text() == "not ours"


def test_the_catalogue_has_columns_descriptions_and_column_lineage(project):
    result = project.run(job=MARTS_JOB)
    graph = project.defs.resolve_asset_graph()
    for table in (*WAREHOUSE, *MARTS):
        columns = graph.get(dg.AssetKey([table.layer, table.name])).metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == list(table.schema)
        assert all(column.description for column in columns)
    made = result.asset_materializations_for_node("compute_marts")
    [daily] = [event for event in made if event.asset_key.path[-1] == "station_daily"]
    sources = daily.metadata["dagster/column_lineage"].value.deps_by_column["exits"]
    assert {(source.asset_key.to_user_string(), source.column_name) for source in sources} == {
        ("lake/complex_daily", "exits"),
        ("lake/complex_daily", "ok_seconds"),
    }


@pytest.mark.slow
def test_marts_are_requested_once_after_a_range_of_weeks(many_runs, project):
    automation = Automation(project)
    project.run(FIRST, SECOND)
    project.run(job=MARTS_JOB)
    automation.tick_conditions()
    assert project.run(FIRST, THIRD).success
    assert requested_assets(automation.tick_conditions()) == MARTS_AND_REPORT
    assert requested_assets(automation.tick_conditions()) == set()


def requested_assets(requests: list[dg.RunRequest]) -> set[str]:
    return {key.to_user_string() for request in requests for key in request.asset_selection or ()}


@pytest.mark.slow
def test_loading_the_definitions_imports_no_slow_packages(processes):
    slow = (
        "any(name in sys.modules for name in ('ibis', 'duckdb', 'pyspark', 'jinja2.environment', 'vl_convert', 'PIL'))"
    )
    code = f"import sys, mta_pipeline.definitions as made; made.defs(); sys.exit({slow})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
