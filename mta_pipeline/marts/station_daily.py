"""The mart station_daily."""

import ibis
import ibis.expr.types as ir

from mta_pipeline.marts.expressions import coverage, riders_and_time, with_place


def station_daily(complex_daily: ir.Table, dim_station: ir.Table, dim_date: ir.Table) -> ir.Table:
    """Sum each complex's days over weeks."""
    daily = complex_daily.filter(complex_daily.complex_id.notnull())
    days = daily.group_by("complex_id", "service_date").agg(**riders_and_time(daily))
    whole = dim_date.filter("is_whole_day").select(whole="date")
    days = days.left_join(whole, days.service_date == whole.whole)
    days = days.mutate(coverage=coverage(), is_whole_day=ibis._.whole.notnull())
    return with_place(days, dim_station)
