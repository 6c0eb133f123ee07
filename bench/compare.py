"""Compares the results of the sides: `python -m bench.compare PIPELINE FLOOR PANDAS DUCKDB FIRST LAST`.

Readings and traffic of the baseline must equal those of the pipeline row by row. For pandas and DuckDB, the sums of
traffic by status must be equal in each week.
"""

import sys
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from mta_pipeline.lake.storage import part_path
from mta_pipeline.schema import Table
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS, TURNSTILE_TRAFFIC
from mta_pipeline.weeks import weeks_between

_OF_SIDES = {"readings": TURNSTILE_READINGS, "traffic": TURNSTILE_TRAFFIC}


def main(pipeline: Path, floor: Path, alternatives: list[Path], weeks: list[str]) -> None:
    """Raise an AssertionError if results differ."""
    for week in weeks:
        for name, table in _OF_SIDES.items():
            assert_frame_equal(
                _plain(floor / name / f"{week}.parquet", table), _ours(pipeline, table, week), check_exact=True
            )
        expected = _sums(_ours(pipeline, TURNSTILE_TRAFFIC, week))
        for side in alternatives:
            assert_frame_equal(_sums(pl.read_parquet(side / "traffic" / f"{week}.parquet")), expected, check_exact=True)


def _ours(lake: Path, table: Table, week: str) -> pl.DataFrame:
    return pl.read_parquet(part_path(str(lake), table.layer, table.name, week).path, hive_partitioning=False)


def _plain(file: Path, table: Table) -> pl.DataFrame:
    return pl.read_parquet(file).cast(dict(table.schema))


def _sums(traffic: pl.DataFrame) -> pl.DataFrame:
    return (
        traffic.group_by("entries_status", "exits_status")
        .agg(pl.col("entries", "exits").sum().cast(pl.Int64), intervals=pl.len())
        .sort("entries_status", "exits_status")
    )


if __name__ == "__main__":
    *places, first, last = sys.argv[1:]
    pipeline, floor, *others = map(Path, places)
    main(pipeline, floor, others, weeks_between(first, last))
