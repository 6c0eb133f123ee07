"""The mart system_daily."""

import ibis
import ibis.expr.types as ir

from mta_pipeline.marts.expressions import REGISTERS, coverage
from mta_pipeline.turnstile.contract import Status


def system_daily(fact_turnstile: ir.Table, dim_station: ir.Table, dim_date: ir.Table) -> ir.Table:
    """Sum the subway's ok intervals per day, division and borough."""
    facts = fact_turnstile.filter(fact_turnstile.is_subway, fact_turnstile.started_at.notnull())
    # Sum per complex before the join: it then has thousands of rows instead of millions.
    days = facts.group_by("service_date", "division", "complex_id").agg(
        **{register: facts[register].sum(where=facts[f"{register}_status"] == Status.OK) for register in REGISTERS},
        turnstile_seconds=facts.seconds.sum(),
        ok_seconds=facts.seconds.sum(where=facts.exits_status == Status.OK),
    )
    place = dim_station.select("borough", known="complex_id")
    placed = days.left_join(place, days.complex_id == place.known)
    sums = placed.group_by("service_date", "division", "borough").agg(
        entries=placed.entries.sum(),
        exits=placed.exits.sum(),
        turnstile_seconds=placed.turnstile_seconds.sum(),
        ok_seconds=placed.ok_seconds.sum().fill_null(0),
    )
    whole = dim_date.filter("is_whole_day").select(whole="date")
    return sums.left_join(whole, sums.service_date == whole.whole).mutate(
        coverage=coverage(), is_whole_day=ibis._.whole.notnull()
    )
