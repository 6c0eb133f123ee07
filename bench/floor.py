"""The baseline: readings and traffic with Polars only, as fast as possible, with the same results as the pipeline.

It reads only modern files with valid lines in the MTA's order, and fails if a file has another order. It lands, checks
and records nothing. It rejects nothing but duplicates.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from bench.sample import path
from mta_pipeline.turnstile.clock import with_utc_offset
from mta_pipeline.turnstile.complexes import control_areas
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS, TURNSTILE_TRAFFIC

_TURNSTILE = ("control_area", "unit", "scp")
_IDENTITY = (*_TURNSTILE, "station", "line_name", "division")
_SCHEMA = {
    **dict.fromkeys((*_IDENTITY, "date", "time", "audit"), pl.Categorical()),
    "entries_register": pl.Int64(),
    "exits_register": pl.String(),
}
_REGISTERS = ("entries", "exits")
_CARRIED = ("read_at", "utc_offset", "entries_register", "exits_register")
_IN_TOTALS = ("ok", "long_gap")


def run(feed: Path, out: Path, weeks: Sequence[str]) -> None:
    """Write `<out>/{readings,traffic}/<week>.parquet` for all weeks."""
    for table in ("readings", "traffic"):
        (out / table).mkdir(parents=True)
    booths = control_areas().select(pl.col("control_area", "unit").cast(pl.Categorical), "complex_id")
    carried: pl.DataFrame | None = None
    for week in weeks:
        readings = with_utc_offset(_readings(path(feed, week)), week, _TURNSTILE)
        _write(readings.select(*TURNSTILE_READINGS.schema), out / "readings" / f"{week}.parquet")
        ends = pl.any_horizontal(pl.col(c) != pl.col(c).shift(-1) for c in _TURNSTILE).fill_null(value=True)
        last = readings.filter(ends).select(*_TURNSTILE, *_CARRIED)
        traffic = _traffic(readings, last.clear() if carried is None else carried, booths)
        _write(traffic, out / "traffic" / f"{week}.parquet")
        carried = last


def _readings(file: Path) -> pl.DataFrame:
    lines = pl.read_csv(
        file,
        has_header=False,
        skip_rows=1,
        schema=_SCHEMA,
        quote_char=None,
        row_index_name="source_line",
        row_index_offset=2,
    )
    readings = lines.with_columns(
        pl.col("source_line").cast(pl.Int32),
        pl.col("exits_register").str.head(10).cast(pl.Int64),
        read_at=pl.col("date").cast(pl.String).str.to_date("%m/%d/%Y").cast(pl.Datetime("us"))
        + pl.col("time").cast(pl.String).str.to_time("%H:%M:%S").cast(pl.Duration("us")),
    ).with_columns(starts=pl.any_horizontal(pl.col(c) != pl.col(c).shift() for c in _TURNSTILE).fill_null(value=True))
    again = ~pl.col("starts") & (pl.col("read_at") == pl.col("read_at").shift())
    backwards = ~pl.col("starts") & (pl.col("read_at") < pl.col("read_at").shift())
    duplicates, disorder = readings.select(again.sum().alias("again"), backwards.any().alias("backwards")).row(0)
    if disorder:
        raise ValueError(f"{file}: the lines are not in order; the baseline needs ordered files")
    if not duplicates:
        return readings
    # One reading per moment: REGULAR has precedence, among equals the first (rule 2).
    best = (pl.col("audit") != "REGULAR").arg_min()
    return (
        readings.with_columns(moment=(~again.fill_null(value=False)).cum_sum())
        .filter(pl.int_range(pl.len()).over("moment") == best.over("moment"))
        .with_columns(
            starts=pl.any_horizontal(pl.col(c) != pl.col(c).shift() for c in _TURNSTILE).fill_null(value=True)
        )
    )


def _traffic(readings: pl.DataFrame, carried: pl.DataFrame, booths: pl.DataFrame) -> pl.DataFrame:
    before = ("started_at", "started_utc_offset", "entries_before", "exits_before")
    numbered = readings.with_columns(turnstile=pl.col("starts").cum_sum())
    first = (
        numbered.filter("starts")
        .select(*_TURNSTILE)
        .join(
            carried.rename(dict(zip(_CARRIED, before, strict=True))), on=_TURNSTILE, how="left", maintain_order="left"
        )
        .join(booths, on=("control_area", "unit"), how="left", maintain_order="left")
    )
    shift = (pl.col("utc_offset") - pl.col("started_utc_offset")) * 3600
    seconds = (pl.col("read_at") - pl.col("started_at")).dt.total_seconds() - shift
    paired = numbered.with_columns(
        pl.when("starts").then(first[old].gather(numbered["turnstile"] - 1)).otherwise(pl.col(new).shift()).alias(old)
        for new, old in zip(_CARRIED, before, strict=True)
    )
    differences = paired.with_columns(
        *(pl.col(f"{r}_register").sub(pl.col(f"{r}_before")).alias(r) for r in _REGISTERS), seconds=seconds
    )
    down = differences.group_by("turnstile", maintain_order=True).agg(
        (pl.col(r).sign().sum() < 0).alias(r) for r in _REGISTERS
    )
    busy = pl.col("seconds").clip(upper_bound=16_200)
    most = busy * 0.5 + (pl.col("seconds") - busy) * 0.1
    people = differences.with_columns(
        pl.when(down[r].gather(differences["turnstile"] - 1)).then(-pl.col(r)).otherwise(pl.col(r)).alias(r)
        for r in _REGISTERS
    ).with_columns(
        pl.when(pl.col(r).is_null())
        .then(pl.lit("first"))
        .when(pl.col(r) < 0)
        .then(pl.lit("reset"))
        .when(pl.col(r) > most)
        .then(pl.lit("implausible"))
        .when(pl.col("seconds") > 86_400)
        .then(pl.lit("long_gap"))
        .otherwise(pl.lit("ok"))
        .alias(f"{r}_status")
        for r in _REGISTERS
    )
    return people.select(
        *_TURNSTILE,
        "division",
        first["complex_id"].gather(people["turnstile"] - 1),
        "started_at",
        pl.col("read_at").alias("ended_at"),
        pl.col("started_at").dt.date().alias("service_date"),
        *(pl.when(pl.col(f"{r}_status").is_in(_IN_TOTALS)).then(r).alias(r) for r in _REGISTERS),
        *(f"{r}_status" for r in _REGISTERS),
        "started_utc_offset",
        pl.col("utc_offset").alias("ended_utc_offset"),
    ).select(*TURNSTILE_TRAFFIC.schema)


def _write(table: pl.DataFrame, file: Path) -> None:
    table.write_parquet(file, compression="zstd", row_group_size=1 << 20)
