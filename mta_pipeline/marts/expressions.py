"""Expressions that several marts share: riders of ok intervals, coverage, ranks, station names and coordinates."""

from typing import Final

import ibis
import ibis.expr.types as ir

REGISTERS: Final = ("entries", "exits")


def riders_and_time(daily: ir.Table) -> dict[str, ir.Value]:
    """Return the sums of any group of complex_daily rows: entries, exits, turnstile_seconds, ok_seconds.

    Riders are null if the group has no ok interval, because a sum of 0 would look like a count.
    """
    seconds = daily.ok_seconds.sum()
    return {
        # ok_seconds covers exits only. Entries above 0 show that entries were counted.
        "entries": ibis.ifelse((seconds == 0) & (daily.entries.sum() == 0), None, daily.entries.sum()),
        "exits": ibis.ifelse(seconds == 0, None, daily.exits.sum()),
        "turnstile_seconds": daily.turnstile_seconds.sum(),
        "ok_seconds": seconds,
    }


def coverage() -> ibis.Deferred:
    """Share of turnstile_seconds that is ok, 0 to 1; null if turnstile_seconds is 0."""
    return ibis._.ok_seconds.fill_null(0) / ibis._.turnstile_seconds.nullif(0)


def with_place(table: ir.Table, dim_station: ir.Table) -> ir.Table:
    """Add name, borough, latitude and longitude by complex_id.

    A complex that dim_station lacks keeps its rows. Its name is then 'Complex' and its number.
    """
    place = dim_station.select(
        known="complex_id", station="name", **{c: c for c in ("borough", "latitude", "longitude")}
    )
    placed = table.left_join(place, table.complex_id == place.known)
    number = ibis.literal("Complex ") + placed.complex_id.cast("string")
    named = placed.mutate(name=placed.station.coalesce(number))
    # Select columns by name: for `drop`, Ibis writes BigQuery's list in set order, which differs between processes.
    return named.select(*table.columns, "borough", "latitude", "longitude", "name")


def on_whole_days(complex_hourly: ir.Table, dim_date: ir.Table) -> ir.Table:
    """Riders per hour of rows with a complex_id, on days that are wholly in the lake, with the columns of dim_date."""
    days = dim_date.filter("is_whole_day").select("date", "weekday", "day_kind")
    hours = complex_hourly.filter(complex_hourly.complex_id.notnull())
    hours = hours.mutate(on=hours.hour.date(), clock=hours.hour.hour())
    on_days = hours.inner_join(days, hours.on == days.date)
    return on_days.select(*(c for c in hours.columns if c not in {"hour", "on"}), *days.columns)


def whole_riders(riders: ir.FloatingValue) -> ir.IntegerValue:
    """Sum evenly spread riders and round to whole people.

    Engines sum floats in different orders. Rounding to 3 digits first removes these differences, so that all engines
    get the same integer and therefore the same averages and ranks.
    """
    return riders.sum().round(3).round().cast("int64")


def ranked(table: ir.Table, within: tuple[str, ...]) -> ir.Table:
    """Add {register}_rank by {register}_per_day: 1 is the largest, and equal values share a rank."""
    return table.mutate(
        **{
            f"{register}_rank": ibis.rank().over(group_by=within, order_by=table[f"{register}_per_day"].desc()) + 1
            for register in REGISTERS
        }
    )
