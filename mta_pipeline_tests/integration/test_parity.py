"""Marts are the same rows on every engine, floats included."""

import polars as pl
import pytest

from mta_pipeline.engines import open_lake
from mta_pipeline.marts.contract import MARTS, STATION_DAILY, SYSTEM_DAILY
from mta_pipeline_tests.conftest import absent
from mta_pipeline_tests.support.parity import ENGINES, difference, missing, on, sample_lake
from mta_pipeline_tests.support.small_lake import SmallLake

FEW_MARTS = (STATION_DAILY, SYSTEM_DAILY)
"""Enough to show that Spark is reached in another way: its SQL is the same."""


@pytest.fixture(scope="session")
def spark() -> None:
    """Spark, in this process."""
    if word := missing("spark"):
        absent(word)


@pytest.fixture(scope="session")
def bigquery_server() -> None:
    """BigQuery's emulator."""
    if word := missing("bigquery"):
        absent(word)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return sample_lake(tmp_path_factory.mktemp("parity"))


@pytest.mark.parametrize(
    ("engine", "marts"),
    [
        pytest.param("spark", MARTS, marks=pytest.mark.slow, id="spark"),
        pytest.param("standalone", FEW_MARTS, marks=pytest.mark.slow, id="standalone, few marts"),
        pytest.param("connect", FEW_MARTS, marks=pytest.mark.slow, id="connect, few marts"),
        # What BigQuery's emulator holds after marts are published is compared in test_bigquery_warehouse.
        *(pytest.param(engine, MARTS, marks=pytest.mark.long, id=engine) for engine in ENGINES[2:]),
    ],
)
def test_every_mart_is_the_same_rows_as_on_duckdb(engine, marts, lake, spark, bigquery_server):
    names = [mart.name for mart in marts]
    with on("duckdb", lake, names) as ours, on(engine, lake, names) as theirs:
        for name in names:
            rows = ours(name)
            assert not rows.is_empty()
            assert difference(rows, theirs(name)) is None, name


@pytest.mark.slow
def test_an_empty_lake_is_empty_on_spark_too(tmp_path, spark):
    lake = SmallLake(tmp_path)
    with open_lake(str(lake.root), "spark", spark_master="local[1]") as opened:
        assert opened.to_pyarrow("station_daily").num_rows == 0


def test_a_difference_is_found_and_said():
    daily = pl.DataFrame(
        {"service_date": ["2014-10-04", "2014-10-05", "2014-10-06", "2014-10-07"], "exits": [1, 4, 3, 2]}
    )
    other = daily.with_columns(exits=daily["exits"] + (daily["exits"] == daily["exits"].max()).cast(int))
    assert difference(daily, daily) is None
    assert difference(daily, other).startswith("exits differs in 1 rows")
    assert difference(daily, daily.head(3)).startswith("3 rows in place of")
