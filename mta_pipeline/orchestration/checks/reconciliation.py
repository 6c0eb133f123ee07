"""Whether the ridership estimate agrees with the ridership that the MTA publishes; see `hourly_ridership.agreement`."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from mta_pipeline.hourly_ridership.agreement import CORRELATION, RATIO, by_week, worst
from mta_pipeline.marts.contract import RIDERSHIP_RECONCILIATION
from mta_pipeline.orchestration.keys import asset_key


def reconciliation_checks() -> dg.AssetChecksDefinition:
    """Two warnings by week: the ratio for the whole subway, and the correlation over complexes."""
    asset = asset_key(RIDERSHIP_RECONCILIATION)
    ratio = dg.AssetCheckSpec(
        "ratio_near_one",
        asset=asset,
        description=f"In every week, the subway's estimate is {RATIO[0]} to {RATIO[1]} of the published ridership.",
    )
    correlated = dg.AssetCheckSpec(
        "complexes_agree",
        asset=asset,
        description="In every week, the correlation of estimate and published ridership over complexes is at least "
        f"{CORRELATION}.",
    )

    @dg.multi_asset_check(
        name=f"check_{RIDERSHIP_RECONCILIATION.name}",
        specs=[ratio, correlated],
        ins={"reconciliation": dg.AssetIn(asset)},
    )
    def check(reconciliation: pl.DataFrame) -> Iterator[dg.AssetCheckResult]:
        weeks = by_week(reconciliation)
        shown = {"weeks": _table(weeks), "furthest_off": _table(worst(reconciliation))} if weeks.height else {}
        judged = (
            (ratio, "ratio", ~pl.col("ratio").is_between(*RATIO)),
            (correlated, "correlation", pl.col("correlation") < CORRELATION),
        )
        for spec, figure, is_off in judged:
            off = weeks.filter(is_off)
            yield dg.AssetCheckResult(
                asset_key=asset,
                check_name=spec.name,
                passed=off.is_empty(),
                severity=dg.AssetCheckSeverity.WARN,
                description=_summary(weeks, off, figure),
                metadata={**shown, "weeks_compared": weeks.height, "weeks_off": off.height, **_newest(weeks, figure)},
            )

    return check


def _newest(weeks: pl.DataFrame, figure: str) -> dict[str, float]:
    """The figure of the newest week that has one."""
    known = weeks[figure].drop_nulls().to_list() if weeks.height else []
    return {figure: known[-1]} if known else {}


def _summary(weeks: pl.DataFrame, off: pl.DataFrame, figure: str) -> str:
    if weeks.is_empty():
        return "nothing to compare: no week has both turnstile data and published ridership"
    newest = weeks[figure][-1]
    summary = f"{weeks.height} weeks, {figure} in the newest: {'unknown' if newest is None else f'{newest:.4f}'}"
    if off.is_empty():
        return summary
    listed = ", ".join(f"{week} ({value:.4f})" for week, value in off.tail(5).select("week", figure).rows())
    return f"{summary}; outside the limits in {off.height}: {listed}"


def _table(rows: pl.DataFrame) -> dg.TableMetadataValue:
    shown = rows.with_columns(pl.col(pl.Date).cast(pl.String), pl.col(pl.Float64).round(4))
    return dg.MetadataValue.table([dg.TableRecord(record) for record in shown.to_dicts()])
