"""The mart data_quality_weekly."""

import ibis
import ibis.expr.types as ir

from mta_pipeline.marts.expressions import REGISTERS, coverage
from mta_pipeline.turnstile.contract import RejectReason, Status

_SATURDAY = 6
_STATUSES = [f"{register}_{status}" for register in REGISTERS for status in Status.ALL]
_REASONS = [f"rejects_{reason}" for reason in RejectReason.ALL]


def data_quality_weekly(fact_turnstile: ir.Table, turnstile_rejects: ir.Table, dim_date: ir.Table) -> ir.Table:
    """Count each week's readings, rejects and statuses. Weeks missing from the lake have a row of nulls."""
    weeks = dim_date.filter(dim_date.weekday == _SATURDAY).select("week", "in_lake")
    counts = _counts(fact_turnstile).rename(counted_week="week")
    rejects = _rejects(turnstile_rejects).rename(rejects_week="week")
    joined = weeks.left_join(counts, [weeks.in_lake, weeks.week == counts.counted_week])
    joined = joined.left_join(rejects, [joined.in_lake, joined.week == rejects.rejects_week])
    return joined.mutate(
        coverage=coverage(),
        # A week in the lake without rejects has 0 rejects. For a week not in the lake, the number is unknown.
        **{reason: ibis.ifelse(joined.in_lake, joined[reason].fill_null(0), None) for reason in _REASONS},
    )


def _counts(facts: ir.Table) -> ir.Table:
    timed = facts.is_subway & facts.started_at.notnull()
    no_complex = facts.is_subway & facts.complex_id.isnull()
    sums = {
        "readings": facts.count(),
        **{
            f"{register}_{status}": facts.count(where=facts[f"{register}_status"] == status)
            for register in REGISTERS
            for status in Status.ALL
        },
        "turnstile_seconds": facts.seconds.sum(where=timed),
        "ok_seconds": facts.seconds.sum(where=timed & (facts.exits_status == Status.OK)),
        **{
            f"{register}_without_complex": facts[register].sum(
                where=no_complex & (facts[f"{register}_status"] == Status.OK)
            )
            for register in REGISTERS
        },
    }
    turnstiles = facts.group_by("week", "control_area", "unit", "scp").agg(**sums)
    weeks = turnstiles.group_by("week").agg(
        turnstiles=turnstiles.count(), **{name: turnstiles[name].sum() for name in sums}
    )
    return weeks.mutate(
        **{f"{register}_without_complex": ibis._[f"{register}_without_complex"].fill_null(0) for register in REGISTERS}
    )


def _rejects(rejects: ir.Table) -> ir.Table:
    return rejects.group_by("week").agg(
        **{f"rejects_{reason}": rejects.count(where=rejects.reason == reason) for reason in RejectReason.ALL}
    )
