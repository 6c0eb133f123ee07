"""Marts have the same rows on every engine, with exactly equal floats."""

import polars as pl
import polars.selectors as cs
import pytest

from mta_pipeline.engines import open_lake
from mta_pipeline.marts.contract import MARTS, STATION_DAILY, SYSTEM_DAILY
from mta_pipeline.turnstile.contract import TURNSTILE_TRAFFIC
from mta_pipeline_tests.conftest import skip_or_fail_in_ci
from mta_pipeline_tests.support.parity import ENGINES, difference, marts_on, missing, sample_lake
from mta_pipeline_tests.support.small_lake import SmallLake, interval

FEW_MARTS = (STATION_DAILY, SYSTEM_DAILY)
"""Enough to test another connection to Spark: the SQL is the same."""


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


@pytest.mark.parametrize(
    ("engine", "marts"),
    [
        pytest.param("spark", MARTS, marks=pytest.mark.slow, id="spark"),
        pytest.param("standalone", FEW_MARTS, marks=pytest.mark.slow, id="standalone, few marts"),
        pytest.param("connect", FEW_MARTS, marks=pytest.mark.slow, id="connect, few marts"),
        # test_bigquery_warehouse compares the tables in BigQuery's emulator after the marts are published.
        *(pytest.param(engine, MARTS, marks=pytest.mark.long, id=engine) for engine in ENGINES[2:]),
    ],
)
def test_every_mart_has_the_same_rows_as_on_duckdb(engine, marts, lake, spark, bigquery_server):
    names = [mart.name for mart in marts]
    with marts_on("duckdb", lake, names) as expected, marts_on(engine, lake, names) as actual:
        for name in names:
            rows = expected(name)
            assert not rows.is_empty()
            assert difference(rows, actual(name)) is None, name


@pytest.mark.slow
def test_spark_counts_wall_clock_time_in_files_from_before_the_utc_offsets(tmp_path, spark):
    lake = SmallLake(tmp_path)
    weeks = ("2024-01-06", "2024-01-13")
    for week in weeks:
        lake.week(week, interval(f"{week} 04", f"{week} 08", 5, 5))
    with marts_on("duckdb", str(lake.root), [SYSTEM_DAILY.name]) as rows:
        expected = rows(SYSTEM_DAILY.name)
    path = lake.path(TURNSTILE_TRAFFIC, weeks[0])
    pl.read_parquet(path).drop(cs.ends_with("_utc_offset")).write_parquet(path)
    with marts_on("spark", str(lake.root), [SYSTEM_DAILY.name]) as rows:
        assert difference(expected, rows(SYSTEM_DAILY.name)) is None


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
