"""What must hold of a week's tables. Each check keeps one result per week, also in a run over many weeks.

A blocking check stops what hangs on the table. How a table is computed does not belong here.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import polars as pl

from mta_pipeline.orchestration.io_managers.weekly import WeeklyInputs
from mta_pipeline.orchestration.keys import CARRY_IN_PRESENT, asset_key
from mta_pipeline.orchestration.prefetch import prefetch
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.run_records import latest_materializations
from mta_pipeline.schema import Table
from mta_pipeline.turnstile.complexes import unknown_booths
from mta_pipeline.turnstile.contract import (
    COMPLEX_DAILY,
    COMPLEX_HOURLY,
    CONTROL_AREAS,
    TURNSTILE_READINGS,
    TURNSTILE_REJECTS,
    TURNSTILE_TRAFFIC,
    Status,
)
from mta_pipeline.turnstile.parsing import count_data_lines
from mta_pipeline.turnstile.ridership import is_subway
from mta_pipeline.weeks import week_before, week_start


@dataclass(frozen=True)
class Finding:
    """What one check found in one week."""

    check: dg.AssetCheckSpec
    week: str | None
    """None for a table without weeks."""
    passed: bool
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> dg.AssetCheckSeverity:
        """A warning, unless the check stops what hangs on the table."""
        return dg.AssetCheckSeverity.ERROR if self.check.blocking else dg.AssetCheckSeverity.WARN

    def of_whole_table(self) -> dg.AssetCheckResult:
        """The result for a table without weeks."""
        return dg.AssetCheckResult(
            passed=self.passed,
            asset_key=self.check.asset_key,
            check_name=self.check.name,
            description=self.description,
            metadata=self.metadata,
            severity=self.severity,
        )


def weekly_checks(weeks: dg.WeeklyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """The checks of all weekly tables."""
    return [
        _readings_checks(weeks),
        _traffic_checks(weeks),
        _sums_check(weeks, COMPLEX_DAILY),
        _sums_check(weeks, COMPLEX_HOURLY),
    ]


def _readings_checks(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetChecksDefinition:
    accounted = check_spec(
        weeks,
        TURNSTILE_READINGS,
        "every_line_accounted_for",
        "Data lines (legacy: groups) of the published file, counted from its text, equal readings plus rejects.",
        against=[dg.AssetDep(asset_key(TURNSTILE_REJECTS))],
        blocking=True,
    )
    known = check_spec(
        weeks,
        TURNSTILE_READINGS,
        "booths_known",
        "Every booth in the file is in control_areas.",
        against=[dg.AssetDep(asset_key(CONTROL_AREAS))],
    )

    @dg.multi_asset_check(
        name="check_turnstile_readings",
        specs=[accounted, known],
        ins=check_ins(TURNSTILE_READINGS, TURNSTILE_REJECTS, CONTROL_AREAS),
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        raw_layer: Lake,
        turnstile_readings: WeeklyInputs,
        turnstile_rejects: WeeklyInputs,
        control_areas: pl.DataFrame,
    ) -> Iterator[Any]:
        def found(week: str) -> tuple[Finding, Finding]:
            published = raw_layer.files().read(week)
            lines = count_data_lines(published) if published else 0
            booths = turnstile_readings.scan(week).select("control_area", "unit", "station", "line_name", "division")
            readings, rejects = (
                table.scan(week).select(pl.len()).collect().item() for table in (turnstile_readings, turnstile_rejects)
            )
            unknown = unknown_booths(booths.collect(), control_areas)
            return (
                Finding(
                    accounted,
                    week,
                    lines == readings + rejects,
                    f"{lines:,} data lines, {readings:,} readings and {rejects:,} rejects",
                ),
                Finding(
                    known,
                    week,
                    unknown.is_empty(),
                    "all known" if unknown.is_empty() else f"{unknown.height} unknown, their traffic has no complex",
                    {"unknown": unknown.select("control_area", "unit", "station", "readings").to_dicts()},
                ),
            )

        def findings() -> Iterator[Finding]:
            for in_progress in prefetch(found, turnstile_readings.weeks_there()):
                yield from in_progress.result()

        yield from results(context, turnstile_readings.weeks, [accounted, known], findings())

    return check


def _traffic_checks(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetChecksDefinition:
    complete = check_spec(
        weeks,
        TURNSTILE_TRAFFIC,
        "an_interval_per_reading",
        "Every reading ends exactly one interval, and people are null unless the status is ok or long_gap.",
        against=[dg.AssetDep(asset_key(TURNSTILE_READINGS))],
        blocking=True,
    )
    carried = check_spec(
        weeks,
        TURNSTILE_TRAFFIC,
        CARRY_IN_PRESENT,
        "Turnstiles' first intervals start at readings of the week before; if none does, that week was not there yet.",
    )

    @dg.multi_asset_check(
        name="check_turnstile_traffic",
        specs=[complete, carried],
        ins=check_ins(TURNSTILE_TRAFFIC, TURNSTILE_READINGS),
    )
    def check(
        context: dg.AssetCheckExecutionContext, turnstile_traffic: WeeklyInputs, turnstile_readings: WeeklyInputs
    ) -> Iterator[Any]:
        def findings() -> Iterator[Finding]:
            for week in turnstile_traffic.weeks_there():
                counted = [
                    pl.col(f"{register}_status").is_in(Status.IN_TOTALS) == pl.col(register).is_not_null()
                    for register in ("entries", "exits")
                ]
                intervals, sound, carried_in = (
                    turnstile_traffic.scan(week)
                    .select(
                        intervals=pl.len(),
                        sound=pl.all_horizontal(counted).all(),
                        carried_in=(pl.col("started_at") < week_start(week)).sum(),
                    )
                    .collect()
                    .row(0)
                )
                readings = turnstile_readings.scan(week).select(pl.len()).collect().item()
                yield Finding(
                    complete, week, sound and intervals == readings, f"{intervals:,} intervals, {readings:,} readings"
                )
                yield Finding(
                    carried,
                    week,
                    carried_in > 0,
                    f"{carried_in:,} turnstiles carried in"
                    if carried_in
                    else f"no readings of {week_before(week)} yet: materialize that week, then this one again",
                )

        yield from results(context, turnstile_traffic.weeks, [complete, carried], findings())

    return check


def _sums_check(weeks: dg.WeeklyPartitionsDefinition, table: Table) -> dg.AssetChecksDefinition:
    kept = check_spec(
        weeks,
        table,
        "riders_kept",
        "Entries and exits add up to those of the week's subway intervals with status ok.",
        against=[dg.AssetDep(asset_key(TURNSTILE_TRAFFIC))],
        blocking=True,
    )

    @dg.multi_asset_check(
        name=f"check_{table.name}",
        specs=[kept],
        ins={
            "sums": dg.AssetIn(asset_key(table)),
            TURNSTILE_TRAFFIC.name: dg.AssetIn(asset_key(TURNSTILE_TRAFFIC)),
        },
    )
    def check(
        context: dg.AssetCheckExecutionContext, sums: WeeklyInputs, turnstile_traffic: WeeklyInputs
    ) -> Iterator[Any]:
        def findings() -> Iterator[Finding]:
            for week in sums.weeks_there():
                here = sums.scan(week).select(pl.col("entries", "exits").sum()).collect().row(0)
                of_traffic = (
                    turnstile_traffic.scan(week)
                    .filter(is_subway() & pl.col("started_at").is_not_null())
                    .select(
                        pl.col(register).filter(pl.col(f"{register}_status") == Status.OK).sum()
                        for register in ("entries", "exits")
                    )
                    .collect()
                    .row(0)
                )
                # Hours hold fractions of riders: half a rider in a week is rounding, one is a loss.
                passed = all(abs(a - b) < 0.5 for a, b in zip(here, of_traffic, strict=True))
                yield Finding(
                    kept,
                    week,
                    passed,
                    f"{here[0]:,.0f} entries and {here[1]:,.0f} exits, "
                    f"in traffic {of_traffic[0]:,} and {of_traffic[1]:,}",
                )

        yield from results(context, sums.weeks, [kept], findings())

    return check


def check_spec(
    weeks: dg.WeeklyPartitionsDefinition | None,
    table: Table,
    name: str,
    description: str,
    *,
    against: Iterable[dg.AssetDep] = (),
    blocking: bool = False,
) -> dg.AssetCheckSpec:
    """A check of a table, with a result per week if there are weeks."""
    return dg.AssetCheckSpec(
        name,
        asset=asset_key(table),
        description=description,
        additional_deps=list(against),
        blocking=blocking,
        partitions_def=weeks,
    )


def check_ins(*tables: Table) -> dict[str, dg.AssetIn]:
    """The tables as a check's inputs, by name."""
    return {table.name: dg.AssetIn(asset_key(table)) for table in tables}


def results(
    context: dg.AssetCheckExecutionContext,
    weeks: Collection[str],
    checks: Sequence[dg.AssetCheckSpec],
    findings: Iterable[Finding],
) -> Iterator[Any]:
    """An evaluation per week. AssetCheckResult would lose the week in a run over many of them."""
    judged = latest_materializations(context.instance, checks[0].asset_key, weeks)
    for finding in findings:
        check = finding.check
        yield dg.AssetCheckEvaluation(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=finding.passed,
            description=finding.description,
            metadata=finding.metadata,
            severity=finding.severity,
            blocking=check.blocking,
            partition=finding.week,
            target_materialization_data=judged.get(finding.week or ""),
        )
    for check in checks:
        yield dg.Output(None, output_name=check.get_python_identifier())
