"""Sums traffic per station complex, by day and by hour.

Only subway turnstiles (rule 7) and intervals with status ok count. `traffic` computes the traffic.
"""

from typing import Final

import polars as pl

from mta_pipeline.turnstile.clock import constant_offset, elapsed_seconds, instant, wall_clock
from mta_pipeline.turnstile.contract import (
    BUS_CONTROL_AREA,
    COMPLEX_DAILY,
    COMPLEX_HOURLY,
    SUBWAY_DIVISIONS,
    Status,
)

_REGISTERS: Final = ("entries", "exits")

COLUMNS: Final = (
    "control_area", "division", "complex_id", "started_at", "ended_at", "service_date", "entries", "exits",
    "entries_status", "exits_status", "started_utc_offset", "ended_utc_offset",
)  # fmt: skip
"""The columns of turnstile_traffic that the sums use."""


def is_subway() -> pl.Expr:
    """Whether a turnstile counts in subway figures (rule 7)."""
    return pl.col("division").is_in(SUBWAY_DIVISIONS) & (pl.col("control_area") != BUS_CONTROL_AREA)


def complex_daily(traffic: pl.DataFrame) -> pl.DataFrame:
    """Return the table complex_daily: a week's traffic summed per station complex and service date."""
    seconds = elapsed_seconds()
    return (
        _subway_intervals(traffic)
        .with_columns(
            *_ok_people(),
            turnstile_seconds=seconds,
            ok_seconds=pl.when(pl.col("exits_status") == Status.OK).then(seconds),
        )
        .group_by("complex_id", "service_date")
        .agg(pl.col(*_REGISTERS, "turnstile_seconds", "ok_seconds").sum())
        .sort("complex_id", "service_date")
        .select(*COMPLEX_DAILY.schema)
    )


def complex_hourly(traffic: pl.DataFrame) -> pl.DataFrame:
    """Return the table complex_hourly: a week's traffic per station complex, spread evenly over the clock hours.

    Time is elapsed time (rule 10): an hour that is skipped in spring gets nobody, and one that is repeated in autumn
    gets the people of both times.
    """
    start, end, hour = pl.col("start"), pl.col("end"), pl.col("hour")
    one_hour = pl.duration(hours=1)
    overlap = pl.min_horizontal(end, hour + one_hour) - pl.max_horizontal(start, hour)
    share = overlap.dt.total_seconds() / (end - start).dt.total_seconds()
    # Most turnstiles of a complex are read at the same moments: sum those first, as integers.
    # Sorting the groups fixes the order of the float sums, so that the same week gives the same bytes.
    riders = (
        _subway_intervals(traffic)
        .with_columns(
            *_ok_people(),
            start=instant("started_at", "started_utc_offset"),
            end=instant("ended_at", "ended_utc_offset"),
        )
        .filter(pl.any_horizontal(pl.col(_REGISTERS).is_not_null()))
        .group_by("complex_id", "start", "end")
        .agg(pl.col(_REGISTERS).sum())
        .sort("complex_id", "start", "end")
        .with_columns(
            hour=pl.datetime_ranges(start.dt.truncate("1h"), end - pl.duration(microseconds=1), "1h", time_unit="us")
        )
        .explode("hour")
        .group_by("complex_id", "hour", maintain_order=True)
        .agg((pl.col(register) * share).sum() for register in _REGISTERS)
        .sort("complex_id", "hour")
    )
    # Offsets in New York are whole hours, so that hours in UTC are clock hours, too.
    if not (offset := constant_offset(riders["hour"])):
        riders = riders.group_by("complex_id", wall_clock(hour), maintain_order=True).agg(pl.col(_REGISTERS).sum())
    else:
        riders = riders.with_columns(hour + offset)
    return riders.select(*COMPLEX_HOURLY.schema)


def _subway_intervals(traffic: pl.DataFrame) -> pl.DataFrame:
    return traffic.filter(is_subway() & pl.col("started_at").is_not_null())


def _ok_people() -> list[pl.Expr]:
    """The number of people of each register, null unless its status is ok."""
    return [
        pl.when(pl.col(f"{register}_status") == Status.OK).then(register).alias(register) for register in _REGISTERS
    ]
