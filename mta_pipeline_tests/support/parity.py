"""Computes every mart on every available engine over one lake and prints rows, times and differences.

`python -m mta_pipeline_tests.support.parity [LAKE]` exits with 1 if any results differ. Without LAKE it uses a small
sample. BigQuery's SQL runs on bqemulator, which has its own environment. Spark runs three times: in this process, on a
standalone cluster and by Spark Connect. For the last two, all marts are computed before the engine counts as ready.
"""

import importlib.util
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from mta_pipeline.engines import open_lake
from mta_pipeline.engines.lake_files import schema, weeks_in_lake
from mta_pipeline.engines.sql import sql
from mta_pipeline.marts import VIEWS
from mta_pipeline.marts.contract import DIM_DATE, KEYS, MARTS
from mta_pipeline.marts.star import dim_date
from mta_pipeline.schema import Table
from mta_pipeline.tables import TABLES, WEEKLY
from mta_pipeline_tests.support import bigquery_emulator, spark_servers

ENGINES = ("duckdb", "spark", "standalone", "connect", "bigquery")

Rows = Callable[[str], pl.DataFrame]
"""Returns a mart by its name."""


def missing(engine: str) -> str | None:
    """Return what is missing to run an engine here, or None."""
    if engine in {"spark", "standalone", "connect"}:
        if importlib.util.find_spec("pyspark") is None:
            return "pyspark is not installed: run make .venv/.spark"
        return None if shutil.which("java") else "no java on the PATH: Spark needs Java 17 or later"
    if engine == "bigquery":
        return bigquery_emulator.missing()
    return None


@contextmanager
def marts_on(engine: str, lake_root: str, marts: Sequence[str] = tuple(mart.name for mart in MARTS)) -> Iterator[Rows]:
    """Yield marts of a lake on one of the engines; `bigquery` runs its SQL on the emulator."""
    if engine in {"standalone", "connect"}:
        with _on_spark_server(engine, lake_root, marts) as rows:
            yield rows
        return
    if engine == "bigquery":
        with _on_emulator(lake_root) as rows:
            yield rows
        return
    with open_lake(lake_root, engine, spark_master="local[2]") as lake:  # type: ignore[arg-type]
        yield lambda name: pl.DataFrame(pl.from_arrow(lake.to_pyarrow(name)))


def difference(expected: pl.DataFrame, actual: pl.DataFrame) -> str | None:
    """Return the first difference of two results, or None. Compares columns, types, rows and every value exactly."""
    if expected.schema != actual.schema:
        return f"columns {dict(actual.schema)} instead of {dict(expected.schema)}"
    if len(expected) != len(actual):
        return f"{len(actual):,} rows instead of {len(expected):,}"
    for name in expected.columns:
        differing = expected[name].ne_missing(actual[name])
        if differing.any():
            at = differing.arg_max()
            return f"{name} differs in {differing.sum():,} rows, first {actual.row(at)} instead of {expected.row(at)}"
    return None


@contextmanager
def _on_spark_server(engine: str, lake_root: str, marts: Sequence[str]) -> Iterator[Rows]:
    server = spark_servers.standalone if engine == "standalone" else spark_servers.connect
    with tempfile.TemporaryDirectory(prefix="mta-parity-") as folder:
        with server() as master:
            spark_servers.compute(lake_root, master, Path(folder), marts)
        yield lambda name: pl.read_parquet(Path(folder) / f"{name}.parquet")


@contextmanager
def _on_emulator(lake_root: str) -> Iterator[Rows]:
    with bigquery_emulator.running() as address:
        client = bigquery_emulator.client(address)
        _load(client, lake_root)
        yield lambda name: _run(client, name)


def _load(client, lake_root: str) -> None:
    from google.cloud import bigquery  # noqa: PLC0415

    from mta_pipeline.engines.bigquery import TYPES  # noqa: PLC0415

    for layer in dict.fromkeys(table.layer for table in (*TABLES, DIM_DATE)):
        client.create_dataset(layer)
    for table in (*TABLES, DIM_DATE):
        columns = schema(table)
        path = f"{client.project}.{table.layer}.{table.name}"
        fields = [bigquery.SchemaField(name, TYPES[dtype]) for name, dtype in columns.items()]
        client.create_table(bigquery.Table(path, fields))
        buffer = io.BytesIO()
        _rows(table, lake_root).select(*columns).write_parquet(buffer)
        buffer.seek(0)
        parquet = bigquery.LoadJobConfig(source_format="PARQUET", schema=fields)
        client.load_table_from_file(buffer, path, job_config=parquet).result()
    for view in VIEWS:
        client.query(f"CREATE VIEW `{view.layer}`.`{view.name}` AS {sql(view.name, 'bigquery')}").result()


def _rows(table: Table, lake_root: str) -> pl.DataFrame:
    if table == DIM_DATE:
        return dim_date(weeks_in_lake(lake_root))
    folder = Path(lake_root) / table.layer / table.name
    if table in WEEKLY:
        return pl.scan_parquet(folder, hive_partitioning=True, hive_schema={"week": pl.Date}).collect()
    return pl.read_parquet(folder / "part-0.parquet")


def _run(client, name: str) -> pl.DataFrame:
    table = client.query(sql(name, "bigquery")).to_arrow(create_bqstorage_client=False)
    [mart] = [mart for mart in MARTS if mart.name == name]
    frame = pl.DataFrame(pl.from_arrow(table)).cast(dict(mart.schema))
    return frame.sort(*KEYS[name], nulls_last=True)


def sample_lake(folder: Path) -> str:
    """Make a lake from a small sample feed with the real assets, and return its root.

    Four weeks have a gap and known faults. Two later weeks follow, which also have published hourly
    ridership: the first of them lies in two months.
    """
    import dagster as dg  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from mta_pipeline.cli.run import run_weeks  # noqa: PLC0415
    from mta_pipeline.sample import SampleFeed  # noqa: PLC0415
    from mta_pipeline.settings import Settings  # noqa: PLC0415
    from mta_pipeline_tests.support.hourly_lake import load_hourly_weeks  # noqa: PLC0415

    weeks = ["2014-09-27", "2014-10-04", "2014-10-18", "2014-10-25", "2024-01-27", "2024-02-03"]
    feed = SampleFeed(seed=0, turnstiles=60, first_week=weeks[0])
    feed.write(folder / "feed", weeks)
    settings = Settings(feed=str(folder / "feed"), lake_root=str(folder / "lake"))
    with dg.DagsterInstance.ephemeral() as instance, Path(os.devnull).open("w") as nowhere:
        assert run_weeks(settings, weeks, instance, Console(file=nowhere)).exit_code == 0
        load_hourly_weeks(settings, feed, weeks[-2:], instance)
    return str(folder / "lake")


def main(lake_root: str) -> int:
    """Print each mart's rows, time and difference from DuckDB on each engine; return the number of differences."""
    print(f"lake at {lake_root}")
    expected: dict[str, pl.DataFrame] = {}
    differing = 0
    for engine in ENGINES:
        if reason := missing(engine):
            print(f"{engine:<10} skipped: {reason}")
            continue
        opening = time.monotonic()
        with marts_on(engine, lake_root) as rows:
            print(f"{engine:<10} ready after {time.monotonic() - opening:.1f} s")
            for mart in MARTS:
                started = time.monotonic()
                actual = rows(mart.name)
                seconds = time.monotonic() - started
                found = difference(expected.setdefault(mart.name, actual), actual)
                differing += found is not None
                print(f"{engine:<10} {mart.name:<24} {len(actual):>9,} rows {seconds:7.2f} s  {found or 'equal'}")
    return differing


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(bool(main(sys.argv[1])))
    with tempfile.TemporaryDirectory(prefix="mta-parity-") as temporary:
        sys.exit(bool(main(sample_lake(Path(temporary)))))
