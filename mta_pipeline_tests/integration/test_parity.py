"""Marts have the same rows on every engine, with exactly equal floats."""

import polars as pl
import pytest

from mta_pipeline.engines import open_lake
from mta_pipeline.marts.contract import MARTS
from mta_pipeline_tests.conftest import skip_or_fail_in_ci
from mta_pipeline_tests.support.parity import difference, marts_on, missing, sample_lake
from mta_pipeline_tests.support.small_lake import SmallLake


@pytest.fixture(scope="session")
def spark() -> None:
    """Requires Spark in this process."""
    if reason := missing("spark"):
        skip_or_fail_in_ci(reason)


@pytest.fixture(scope="session")
def bigquery_server() -> None:
    """Requires BigQuery's emulator."""
    if reason := missing("bigquery"):
        skip_or_fail_in_ci(reason)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    return sample_lake(tmp_path_factory.mktemp("parity"))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["spark", "standalone", "connect", "bigquery"])
def test_every_mart_has_the_same_rows_as_on_duckdb(engine, lake, spark, bigquery_server):
    with marts_on("duckdb", lake) as expected, marts_on(engine, lake) as actual:
        for mart in MARTS:
            rows = expected(mart.name)
            assert not rows.is_empty()
            assert difference(rows, actual(mart.name)) is None, mart.name


@pytest.mark.slow
def test_an_empty_lake_is_also_empty_on_spark(tmp_path, spark):
    lake = SmallLake(tmp_path)
    with open_lake(str(lake.root), "spark", spark_master="local[1]") as reader:
        assert reader.to_pyarrow("station_daily").num_rows == 0


def test_a_difference_is_found_and_described():
    daily = pl.DataFrame(
        {"service_date": ["2014-10-04", "2014-10-05", "2014-10-06", "2014-10-07"], "exits": [1, 4, 3, 2]}
    )
    other = daily.with_columns(exits=daily["exits"] + (daily["exits"] == daily["exits"].max()).cast(int))
    assert difference(daily, daily) is None
    assert difference(daily, other).startswith("exits differs in 1 rows")
    assert difference(daily, daily.head(3)).startswith("3 rows instead of")
