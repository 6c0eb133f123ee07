"""The mart station_peak_hours."""

import ibis
import ibis.expr.types as ir

from mta_pipeline.marts.expressions import REGISTERS, on_whole_days, ranked, whole_riders, with_place

_BLOCK_HOURS = 4


def station_peak_hours(complex_hourly: ir.Table, dim_station: ir.Table, dim_date: ir.Table) -> ir.Table:
    """Average riders per complex and four-hour block, for weekdays and weekends."""
    hours = on_whole_days(complex_hourly, dim_date)
    hours = hours.mutate(block_start=hours.clock - hours.clock % _BLOCK_HOURS)
    blocks = hours.group_by("complex_id", "day_kind", "block_start").agg(
        days=hours.date.nunique(), **{register: whole_riders(hours[register]) for register in REGISTERS}
    )
    day = ("complex_id", "day_kind")
    averages = blocks.mutate(
        **{f"{register}_per_day": blocks[register] / blocks.days for register in REGISTERS},
        **{
            # From sums, not averages: sums of integers do not depend on the order.
            f"{register}_share": blocks[register] / blocks[register].sum().over(ibis.window(group_by=day)).nullif(0)
            for register in REGISTERS
        },
    )
    return with_place(ranked(averages, day), dim_station)
