"""Terms that several marts share: riders of ok intervals, coverage, ranks, names of places."""

from typing import Final

import ibis
import ibis.expr.types as ir

REGISTERS: Final = ("entries", "exits")


def riders_and_time(daily: ir.Table) -> dict[str, ir.Value]:
    """What sums of complex_daily say of any group of its rows: entries, exits, turnstile_seconds, ok_seconds.

    Riders of a group without an ok interval are null, as nobody counted them: its sum would be a zero that looks like
    data.
    """
    seconds = daily.ok_seconds.sum()
    return {
        # ok_seconds is about exits alone, so entries that were counted say so themselves.
        "entries": ibis.ifelse((seconds == 0) & (daily.entries.sum() == 0), None, daily.entries.sum()),
        "exits": ibis.ifelse(seconds == 0, None, daily.exits.sum()),
        "turnstile_seconds": daily.turnstile_seconds.sum(),
        "ok_seconds": seconds,
    }


def coverage() -> ibis.Deferred:
    """Share of turnstile_seconds that is ok; null where there is no time."""
    return ibis._.ok_seconds.fill_null(0) / ibis._.turnstile_seconds.nullif(0)


def with_place(table: ir.Table, dim_station: ir.Table) -> ir.Table:
    """Add name, borough, latitude and longitude by complex_id.

    A complex that the MTA's list lacks keeps its rows and is called by its number.
    """
    place = dim_station.select(
        known="complex_id", station="name", **{c: c for c in ("borough", "latitude", "longitude")}
    )
    placed = table.left_join(place, table.complex_id == place.known)
    number = ibis.literal("Complex ") + placed.complex_id.cast("string")
    named = placed.mutate(name=placed.station.coalesce(number))
    # Named one by one: what `drop` leaves out, BigQuery's SQL lists in the order of a set, another at every start.
    return named.select(*table.columns, "borough", "latitude", "longitude", "name")


def on_whole_days(complex_hourly: ir.Table, dim_date: ir.Table) -> ir.Table:
    """Riders of known complexes per hour, on days that are wholly in the lake, with the date's columns beside them."""
    days = dim_date.filter("is_whole_day").select("date", "weekday", "day_kind")
    hours = complex_hourly.filter(complex_hourly.complex_id.notnull())
    hours = hours.mutate(on=hours.hour.date(), clock=hours.hour.hour())
    on_days = hours.inner_join(days, hours.on == days.date)
    return on_days.select(*(c for c in hours.columns if c not in {"hour", "on"}), *days.columns)


def whole_riders(riders: ir.FloatingValue) -> ir.IntegerValue:
    """A sum of evenly spread riders as whole people.

    Engines add in different orders. Taking off what that leaves, before rounding, gives all of them the same integer,
    and so the same averages and ranks.
    """
    return riders.sum().round(3).round().cast("int64")


def ranked(table: ir.Table, within: tuple[str, ...]) -> ir.Table:
    """Add {register}_rank by {register}_per_day, 1 the most, equals sharing a place."""
    return table.mutate(
        **{
            f"{register}_rank": ibis.rank().over(group_by=within, order_by=table[f"{register}_per_day"].desc()) + 1
            for register in REGISTERS
        }
    )
