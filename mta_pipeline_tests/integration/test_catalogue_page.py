"""The catalogue page equals the contracts, and its examples run and agree."""

import datetime as dt
import os
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pytest
from rich.console import Console

from mta_pipeline.cli.catalogue import SETUP, Example, catalogue
from mta_pipeline.cli.run import make_answers, run_weeks
from mta_pipeline.marts.contract import MARTS, WAREHOUSE
from mta_pipeline.sample import SampleFeed
from mta_pipeline.settings import Settings
from mta_pipeline.tables import TABLES
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.support.hourly_lake import load_hourly_weeks

WEEKS = ["2014-10-04", "2014-10-11", "2024-01-06", "2024-01-13"]
HOURLY_WEEKS = WEEKS[2:]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names that the examples use, over a sample lake."""
    folder = tmp_path_factory.mktemp("catalogue")
    feed = SampleFeed(seed=0, turnstiles=60, first_week=WEEKS[0])
    feed.write(folder / "feed", WEEKS)
    settings = Settings(feed=str(folder / "feed"), lake_root=str(folder / "lake"))
    with dg.DagsterInstance.ephemeral() as instance, Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere)
        outcome = run_weeks(settings, WEEKS, instance, console)
        load_hourly_weeks(settings, feed, HOURLY_WEEKS, instance)
        make_answers(settings, instance, console, outcome)
    assert outcome.exit_code == 0
    namespace: dict[str, object] = {}
    exec(SETUP.replace("data/sample/lake", str(folder / "lake")), namespace)
    yield namespace
    namespace["warehouse"].close()


def rows(result: pl.DataFrame | pd.DataFrame) -> list[tuple]:
    frame = result if isinstance(result, pl.DataFrame) else pl.from_pandas(result)
    return [tuple(map(_plain, row)) for row in frame.rows()]


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date()
    return round(value, 6) if isinstance(value, float) else value


def run(code: str, names: dict[str, object]) -> pl.DataFrame | pd.DataFrame:
    """Return the value of the last line of an example."""
    *before, last = code.splitlines()
    known = dict(names)
    exec("\n".join(before), known)
    return eval(last, known)


@pytest.mark.parametrize("table", [table.name for table in (*TABLES, *WAREHOUSE, *MARTS)])
def test_an_example_gives_the_same_rows_in_sql_polars_and_pandas(table, names):
    sql, polars, pandas = Example.of(table).queries
    warehouse: duckdb.DuckDBPyConnection = names["warehouse"]
    by_sql = warehouse.sql(sql).pl()
    by_polars, by_pandas = (run(code, names) for code in (polars, pandas))
    assert not by_sql.is_empty()
    assert by_sql.columns == by_polars.columns == list(by_pandas.columns)
    assert rows(by_sql) == rows(by_polars) == rows(by_pandas)
    assert all(table in code for code in (sql, polars, pandas))


def test_every_table_is_in_the_catalogue_with_all_its_columns():
    page = catalogue()
    for table in (*TABLES, *WAREHOUSE, *MARTS):
        section = page.split(f"\n## {table.layer}.{table.name}\n")[1].split("\n## ")[0]
        for column in table.columns:
            assert f"| `{column.name}` |" in section
            assert column.description in section


def test_the_page_in_docs_equals_the_generated_one():
    assert (REPOSITORY / "docs" / "catalogue.md").read_text() == catalogue(), "stale: run make catalogue"
