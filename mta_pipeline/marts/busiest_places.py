"""The mart busiest_places."""

import ibis.expr.types as ir

from mta_pipeline.marts.expressions import REGISTERS, on_whole_days, ranked, whole_riders, with_place


def busiest_places(complex_hourly: ir.Table, dim_station: ir.Table, dim_date: ir.Table) -> ir.Table:
    """Average riders per complex, weekday and hour, with the rank of the complex in that hour."""
    hours = on_whole_days(complex_hourly, dim_date)
    of_week = hours.group_by("weekday", "complex_id", hour=hours.clock).agg(
        days=hours.date.nunique(), **{register: whole_riders(hours[register]) for register in REGISTERS}
    )
    averages = of_week.mutate(**{f"{register}_per_day": of_week[register] / of_week.days for register in REGISTERS})
    return with_place(ranked(averages, ("weekday", "hour")), dim_station)
