"""What must hold of a week's turnstile tables: no line, interval or rider is lost, and the week makes sense."""

from collections.abc import Iterator
from functools import lru_cache, partial
from statistics import median
from typing import Final

import dagster as dg
import polars as pl

from mta_pipeline.lake.completeness import is_first_week
from mta_pipeline.lake.parquet import row_count
from mta_pipeline.lake.storage import part_path
from mta_pipeline.orchestration.checks.factory import Finding, Judge, check_spec, weekly_check
from mta_pipeline.orchestration.checks.rejects import reject_share
from mta_pipeline.orchestration.io_managers.weekly import WeeklyInputs
from mta_pipeline.orchestration.keys import (
    CARRY_IN_PRESENT,
    ENOUGH_READINGS,
    REJECT_SHARE_AT_MOST,
    RIDERS_FOUND,
    SUBWAY_TURNSTILES_PRESENT,
)
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.schema import Table
from mta_pipeline.turnstile.anomalies import LEAST_SHARE_OF_READINGS, LEAST_WEEKS
from mta_pipeline.turnstile.complexes import unknown_booths
from mta_pipeline.turnstile.contract import (
    COMPLEX_DAILY,
    COMPLEX_HOURLY,
    CONTROL_AREAS,
    TURNSTILE_READINGS,
    TURNSTILE_REJECTS,
    TURNSTILE_TRAFFIC,
    RejectReason,
    Status,
)
from mta_pipeline.turnstile.parsing import count_data_lines
from mta_pipeline.turnstile.ridership import is_subway
from mta_pipeline.weeks import ONE_WEEK, week_before, week_start

_REGISTERS = ("entries", "exits")

LARGEST_REJECT_SHARE: Final = 0.05
"""More than in any known file: real weeks have no rejects, files with a damaged line 0.02 %, and small samples with all
faults up to 4.3 %."""

LEAST_SUBWAY_SHARE: Final = 0.5
"""Least share of readings of known subway turnstiles. Real weeks have 0.94, the rest is PATH and others."""

LEAST_OK_SHARE: Final = 0.5
"""Least share of intervals with status ok. Real weeks have 0.98 without carry-in."""

LEAST_INTERVALS: Final = 10
"""A week with fewer intervals is not judged: a few turnstiles without carry-in have no interval with status ok."""

NEIGHBOURS: Final = 4
"""Number of weeks before and after a week with which its number of readings is compared."""

_NAMES_SHOWN: Final = 5

_REPETITIONS: Final = (RejectReason.DUPLICATE, RejectReason.SUPERSEDED)


def weekly_checks(weeks: dg.WeeklyPartitionsDefinition, least_readings: int) -> list[dg.AssetChecksDefinition]:
    """The checks of all weekly turnstile tables.

    Args:
        weeks: the partitions of weekly tables.
        least_readings: the least number of readings of a week with few neighbours in the lake.
    """
    return [
        _readings_checks(weeks, least_readings),
        _rejects_check(weeks),
        _traffic_checks(weeks),
        _sums_check(weeks, COMPLEX_DAILY),
        _sums_check(weeks, COMPLEX_HOURLY),
    ]


def _readings_checks(weeks: dg.WeeklyPartitionsDefinition, least_readings: int) -> dg.AssetChecksDefinition:
    accounted = check_spec(
        weeks,
        TURNSTILE_READINGS,
        "every_line_accounted_for",
        "Readings plus rejects equal the data lines of the published file (legacy files: the groups in its lines), "
        "which are counted from the text of the file.",
        against=(TURNSTILE_REJECTS,),
        blocking=True,
    )
    present = check_spec(
        weeks,
        TURNSTILE_READINGS,
        SUBWAY_TURNSTILES_PRESENT,
        f"At least {LEAST_SUBWAY_SHARE:g} of the readings are of subway turnstiles at booths in control_areas.",
        against=(CONTROL_AREAS,),
        blocking=True,
    )
    enough = check_spec(
        weeks,
        TURNSTILE_READINGS,
        ENOUGH_READINGS,
        f"The week has at least {LEAST_SHARE_OF_READINGS:g} of the readings of its neighbours, which is the median of "
        f"the {NEIGHBOURS} weeks before and after it in the lake. With fewer than {LEAST_WEEKS} of them, it also has "
        f"at least {least_readings:,} readings (MTA_LEAST_READINGS). A failure is an error: a part of the file is "
        "missing. It does not block.",
    )
    known = check_spec(
        weeks,
        TURNSTILE_READINGS,
        "booths_known",
        "Every booth in the file is in control_areas.",
        against=(CONTROL_AREAS,),
    )

    @weekly_check(
        "check_turnstile_readings",
        [accounted, present, enough, known],
        turnstile_readings=TURNSTILE_READINGS,
        turnstile_rejects=TURNSTILE_REJECTS,
        control_areas=CONTROL_AREAS,
    )
    def checks(
        raw_layer: Lake, turnstile_readings: WeeklyInputs, turnstile_rejects: WeeklyInputs, control_areas: pl.DataFrame
    ) -> Judge:
        readings_of = lru_cache(maxsize=None)(partial(_readings_in, raw_layer.lake_root))

        def judge(week: str) -> Iterator[Finding]:
            published = raw_layer.files().read(week)
            lines = count_data_lines(published) if published else 0
            readings, rejects = turnstile_readings.height(week), turnstile_rejects.height(week)
            shown = f"{lines:,} data lines, {readings:,} readings and {rejects:,} rejects"
            counts = {"lines": lines, "readings": readings, "rejects": rejects}
            yield Finding(accounted, week, lines == readings + rejects, shown, counts)
            columns = ("control_area", "unit", "station", "line_name", "division")
            booths = turnstile_readings.scan(week).select(columns).collect()
            unknown = unknown_booths(booths, control_areas)
            subway = booths.filter(is_subway()).join(control_areas, on=("control_area", "unit"), how="semi").height
            named = unknown.select(pl.concat_str("control_area", "unit", separator=" ")).to_series()
            shown = (
                f"{subway:,} of {readings:,} readings are of subway turnstiles at known booths; "
                f"divisions: {_first_few(booths['division'].unique().sort())}; unknown booths: {_first_few(named)}"
            )
            counts = {"readings": readings, "subway_readings": subway, "unknown_booths": unknown.height}
            yield Finding(present, week, subway >= LEAST_SUBWAY_SHARE * readings, shown, counts)
            neighbours = [count for other in _neighbours(week) if (count := readings_of(other)) is not None]
            least = max(
                LEAST_SHARE_OF_READINGS * median(neighbours or [0]),
                least_readings if len(neighbours) < LEAST_WEEKS else 0,
            )
            shown = f"{readings:,} readings, at least {least:,.0f} are expected"
            facts = {"readings": readings, "least_readings": float(least)}
            yield Finding(enough, week, readings >= least, shown, facts, is_error=True)
            yield Finding(
                known,
                week,
                unknown.is_empty(),
                "all booths are known" if unknown.is_empty() else f"{unknown.height} unknown booths have no complex",
                {
                    "unknown": unknown.select("control_area", "unit", "station", "readings").to_dicts(),
                    "unknown_booths": unknown.height,
                },
            )

        return judge

    return checks


def _neighbours(week: str) -> list[str]:
    return [str(week_start(week) + n * ONE_WEEK) for n in range(-NEIGHBOURS, NEIGHBOURS + 1) if n]


def _readings_in(lake_root: str, week: str) -> int | None:
    """The number of readings of a week in the lake; None if they are not there or damaged."""
    try:
        return row_count(part_path(lake_root, TURNSTILE_READINGS.layer, TURNSTILE_READINGS.name, week))
    except (OSError, ValueError):
        return None


def _first_few(names: pl.Series) -> str:
    shown = ", ".join(name or "(unknown)" for name in names.head(_NAMES_SHOWN))
    return (shown or "none") + (f" and {names.len() - _NAMES_SHOWN:,} more" if names.len() > _NAMES_SHOWN else "")


def _rejects_check(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetChecksDefinition:
    few = check_spec(
        weeks,
        TURNSTILE_REJECTS,
        REJECT_SHARE_AT_MOST,
        f"At most {LARGEST_REJECT_SHARE:g} of the data lines (legacy files: groups) are rejected. Duplicate and "
        "superseded readings do not count, because they repeat others, and a single reject passes. A failure is an "
        "error. It does not block: the traffic of the readings that are left is right, with less coverage.",
        against=(TURNSTILE_READINGS,),
    )

    @weekly_check(
        "check_turnstile_rejects",
        [few],
        turnstile_rejects=TURNSTILE_REJECTS,
        turnstile_readings=TURNSTILE_READINGS,
    )
    def checks(turnstile_rejects: WeeklyInputs, turnstile_readings: WeeklyInputs) -> Judge:
        def judge(week: str) -> Iterator[Finding]:
            reasons = turnstile_rejects.scan(week).group_by("reason").len().collect()
            by_reason = dict(reasons.rows())
            share = reject_share(by_reason, turnstile_readings.height(week), harmless=_REPETITIONS)
            passed = share.is_at_most(LARGEST_REJECT_SHARE)
            facts = {"rejects": by_reason, **share.figures}
            yield Finding(few, week, passed, share.shown("lines"), facts, is_error=True)

        return judge

    return checks


def _traffic_checks(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetChecksDefinition:
    complete = check_spec(
        weeks,
        TURNSTILE_TRAFFIC,
        "an_interval_per_reading",
        "Every reading ends exactly one interval. Entries and exits are null unless their status is ok or long_gap.",
        against=(TURNSTILE_READINGS,),
        blocking=True,
    )
    found = check_spec(
        weeks,
        TURNSTILE_TRAFFIC,
        RIDERS_FOUND,
        f"At least {LEAST_OK_SHARE:g} of the subway's intervals have status ok, and they have entries and exits. A "
        f"week with fewer than {LEAST_INTERVALS} intervals passes.",
        blocking=True,
    )
    carried = check_spec(
        weeks,
        TURNSTILE_TRAFFIC,
        CARRY_IN_PRESENT,
        "The first intervals of turnstiles start at readings of the week before. If none does, that week was missing "
        "when this one was materialized. The first week in the lake passes.",
    )

    @weekly_check(
        "check_turnstile_traffic",
        [complete, found, carried],
        turnstile_traffic=TURNSTILE_TRAFFIC,
        turnstile_readings=TURNSTILE_READINGS,
    )
    def checks(raw_layer: Lake, turnstile_traffic: WeeklyInputs, turnstile_readings: WeeklyInputs) -> Judge:
        def judge(week: str) -> Iterator[Finding]:
            counted = [
                pl.col(f"{register}_status").is_in(Status.IN_TOTALS) == pl.col(register).is_not_null()
                for register in _REGISTERS
            ]
            query = turnstile_traffic.scan(week).select(
                intervals=pl.len(),
                sound=pl.all_horizontal(counted).all(),
                carried_in=(pl.col("started_at") < week_start(week)).sum(),
            )
            intervals, sound, carried_in = query.collect().row(0)
            readings = turnstile_readings.height(week)
            shown = f"{intervals:,} intervals, {readings:,} readings"
            counts = {"intervals": intervals, "readings": readings}
            yield Finding(complete, week, sound and intervals == readings, shown, counts)
            yield _riders_found(found, week, turnstile_traffic.scan(week))
            is_first = not carried_in and is_first_week(raw_layer.lake_root, week)
            shown = f"no readings of {week_before(week)}: materialize that week, then this one again"
            if carried_in:
                shown = f"{carried_in:,} intervals start in the week before"
            elif is_first:
                shown = "the first week in the lake: the first interval of each turnstile has status first"
            yield Finding(carried, week, carried_in > 0 or is_first, shown, {"carried_in": carried_in})

        return judge

    return checks


def _riders_found(check: dg.AssetCheckSpec, week: str, traffic: pl.LazyFrame) -> Finding:
    ok = {register: pl.col(f"{register}_status") == Status.OK for register in _REGISTERS}
    query = traffic.filter(is_subway()).select(
        pl.len().alias("intervals"),
        *(ok[register].sum().alias(f"{register}_ok") for register in _REGISTERS),
        *(pl.col(register).filter(ok[register]).sum() for register in _REGISTERS),
    )
    row = query.collect().row(0, named=True)
    intervals = row["intervals"]
    enough = all(row[f"{r}_ok"] >= LEAST_OK_SHARE * intervals and row[r] > 0 for r in _REGISTERS)
    shown = ", ".join(f"{row[register]:,} {register} in {row[f'{register}_ok']:,} intervals" for register in _REGISTERS)
    return Finding(check, week, intervals < LEAST_INTERVALS or enough, f"{shown} with status ok of {intervals:,}", row)


def _sums_check(weeks: dg.WeeklyPartitionsDefinition, table: Table) -> dg.AssetChecksDefinition:
    kept = check_spec(
        weeks,
        table,
        "riders_kept",
        "Entries and exits add up to those of the week's subway intervals with status ok.",
        against=(TURNSTILE_TRAFFIC,),
        blocking=True,
    )

    @weekly_check(f"check_{table.name}", [kept], sums=table, turnstile_traffic=TURNSTILE_TRAFFIC)
    def checks(sums: WeeklyInputs, turnstile_traffic: WeeklyInputs) -> Judge:
        def judge(week: str) -> Iterator[Finding]:
            here = sums.scan(week).select(pl.col(*_REGISTERS).sum()).collect().row(0)
            intervals = turnstile_traffic.scan(week).filter(is_subway() & pl.col("started_at").is_not_null())
            ok = (pl.col(register).filter(pl.col(f"{register}_status") == Status.OK).sum() for register in _REGISTERS)
            expected = intervals.select(ok).collect().row(0)
            # Hours hold fractions of riders: half a rider in a week is rounding, one is a loss.
            passed = all(abs(a - b) < 0.5 for a, b in zip(here, expected, strict=True))
            shown = f"{here[0]:,.0f} entries and {here[1]:,.0f} exits, in traffic {expected[0]:,} and {expected[1]:,}"
            yield Finding(kept, week, passed, shown, dict(zip(_REGISTERS, map(float, here), strict=True)))

        return judge

    return checks
