"""The star schema: dim_station, dim_booth and fact_turnstile as views over the lake, dim_date from the lake's weeks."""

import datetime as dt
from collections.abc import Collection

import ibis
import ibis.expr.types as ir
import polars as pl

from mta_pipeline.marts.contract import DIM_DATE
from mta_pipeline.turnstile.contract import BUS_CONTROL_AREA, SUBWAY_DIVISIONS
from mta_pipeline.weeks import ONE_WEEK, week_start

_FRIDAY, _SATURDAY = 5, 6
_ONE_DAY = dt.timedelta(days=1)


def dim_station(station_complexes: ir.Table) -> ir.Table:
    """Return station_complexes unchanged."""
    return station_complexes


def dim_booth(control_areas: ir.Table) -> ir.Table:
    """Return control_areas unchanged."""
    return control_areas


def fact_turnstile(turnstile_traffic: ir.Table) -> ir.Table:
    """Add the length of each interval in seconds (rule 10), and whether subway figures count the turnstile (rule 7)."""
    traffic = turnstile_traffic
    subway = traffic.division.isin(SUBWAY_DIVISIONS) & (traffic.control_area != BUS_CONTROL_AREA)
    # The offsets are null in files that were written before the table had them.
    shift = (traffic.ended_utc_offset - traffic.started_utc_offset).fill_null(0) * 3600
    seconds = traffic.ended_at.delta(traffic.started_at, unit="second") - shift
    return traffic.mutate(
        is_subway=subway.fill_null(False),
        seconds=ibis.ifelse(seconds < 0, 0, seconds),
    )


def dim_date(weeks: Collection[str]) -> pl.DataFrame:
    """Return the dates from the first to the last week in the lake, including missing weeks. Empty without weeks.

    The first date is the Friday before the first week, because the last intervals of that Friday are in the first week.
    """
    if not weeks:
        return pl.DataFrame(schema=dict(DIM_DATE.schema))
    in_lake = [week_start(week) for week in sorted(weeks)]
    first, last = in_lake[0] - _ONE_DAY, in_lake[-1] + ONE_WEEK - _ONE_DAY
    date, weekday = pl.col("date"), pl.col("weekday")
    return (
        pl.select(date=pl.date_range(first, last))
        .with_columns(weekday=date.dt.weekday().cast(pl.Int32))
        .with_columns(week=date - pl.duration(days=(weekday - _SATURDAY) % 7))
        .with_columns(
            year=date.dt.year(),
            month=date.dt.month().cast(pl.Int32),
            day=date.dt.day().cast(pl.Int32),
            weekday_name=date.dt.strftime("%A"),
            day_kind=pl.when(weekday < _SATURDAY).then(pl.lit("weekday")).otherwise(pl.lit("weekend")),
            in_lake=pl.col("week").is_in(in_lake),
            next_in_lake=(pl.col("week") + ONE_WEEK).is_in(in_lake),
        )
        .with_columns(is_whole_day=pl.col("in_lake") & ((weekday != _FRIDAY) | pl.col("next_in_lake")))
        .select(*DIM_DATE.schema)
    )
