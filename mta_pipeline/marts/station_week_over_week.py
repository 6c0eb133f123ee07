"""The mart station_week_over_week."""

import ibis
import ibis.expr.types as ir

from mta_pipeline.marts.expressions import REGISTERS, coverage, riders_and_time, with_place

_DAYS_BEFORE = {"week_before": 7, "year_before": 52 * 7}
_SECONDS_A_DAY = 86_400


def station_week_over_week(complex_daily: ir.Table, dim_station: ir.Table) -> ir.Table:
    """Compare each complex's week with the week before and with the week 52 weeks before."""
    daily = complex_daily.filter(complex_daily.complex_id.notnull())
    weeks = daily.group_by("complex_id", "week").agg(**riders_and_time(daily))
    weeks = weeks.mutate(coverage=coverage(), turnstile_days=weeks.turnstile_seconds / _SECONDS_A_DAY)
    compared = weeks
    for against, days in _DAYS_BEFORE.items():
        earlier = weeks.select(
            **{f"id_{against}": "complex_id"},
            **{f"is_{against}": weeks.week + ibis.interval(days=days)},
            **{f"{column}_{against}": column for column in (*REGISTERS, "turnstile_days")},
        )
        # Join by date. The previous row would be the wrong week if a week is missing.
        compared = compared.left_join(
            earlier,
            [compared.complex_id == earlier[f"id_{against}"], compared.week == earlier[f"is_{against}"]],
        )
        compared = compared.mutate(
            **{
                f"{register}_change_{against}": (compared[register] - compared[f"{register}_{against}"])
                / compared[f"{register}_{against}"].nullif(0)
                for register in REGISTERS
            }
        )
    return with_place(compared, dim_station)
