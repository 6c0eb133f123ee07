"""Whether a week is as usual. These checks warn and block nothing: an unusual week may be what really happened.

What is unusual is decided in mta_pipeline.turnstile.anomalies. Earlier weeks are read from the lake as it is, without
being declared as inputs: a week's table is not made anew because an earlier one was.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

import dagster as dg
import polars as pl

from mta_pipeline.lake.parquet import row_count, scan
from mta_pipeline.lake.storage import part_path
from mta_pipeline.orchestration.checks.weekly import Finding, check_ins, check_spec, results
from mta_pipeline.orchestration.io_managers.weekly import WeeklyInputs
from mta_pipeline.orchestration.keys import COMPLEXES_AS_USUAL, COMPLEXES_READ_IN_TIME, WEEK_AS_USUAL
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.schema import Table
from mta_pipeline.turnstile.anomalies import (
    LEAST_WEEKS,
    AnomalyDetector,
    Departure,
    Judgement,
    WeekFigures,
    late_complexes,
    week_figures,
)
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, TURNSTILE_READINGS, TURNSTILE_REJECTS, TURNSTILE_TRAFFIC

_WEEKS_AT_HAND: Final = 16
"""Figures of so many weeks stay in memory (100 KB each): a range goes through weeks in order."""


def anomaly_checks(weeks: dg.WeeklyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """The checks of what is unusual about a week."""
    return [_as_usual(weeks), _in_time(weeks)]


def _as_usual(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetChecksDefinition:
    week = check_spec(
        weeks,
        COMPLEX_DAILY,
        WEEK_AS_USUAL,
        "Readings, turnstiles, rejects, coverage and ridership are what the weeks before and the same season of "
        f"earlier years suggest. With fewer than {LEAST_WEEKS} weeks before, nothing is judged.",
    )
    complexes = check_spec(
        weeks,
        COMPLEX_DAILY,
        COMPLEXES_AS_USUAL,
        "No station complex has fallen silent, and none has doubled, against its own weeks before and what all of them "
        "did.",
    )

    @dg.multi_asset_check(name="check_complex_daily_as_usual", specs=[week, complexes], ins=check_ins(COMPLEX_DAILY))
    def check(context: dg.AssetCheckExecutionContext, raw_layer: Lake, complex_daily: WeeklyInputs) -> Iterator[Any]:
        judge = AnomalyDetector(figures_in(raw_layer.lake_root))

        def findings() -> Iterator[Finding]:
            for key in complex_daily.weeks_there():
                found = judge.judge(key)
                yield _of_week(week, key, found)
                yield _of_complexes(complexes, key, found)

        yield from results(context, complex_daily.weeks, [week, complexes], findings())

    return check


def _in_time(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetChecksDefinition:
    in_time = check_spec(
        weeks,
        TURNSTILE_TRAFFIC,
        COMPLEXES_READ_IN_TIME,
        "Of every station complex, some turnstile was read at least every other day.",
    )

    @dg.multi_asset_check(name="check_read_in_time", specs=[in_time], ins=check_ins(TURNSTILE_TRAFFIC))
    def check(context: dg.AssetCheckExecutionContext, turnstile_traffic: WeeklyInputs) -> Iterator[Any]:
        def findings() -> Iterator[Finding]:
            for week in turnstile_traffic.weeks_there():
                late = late_complexes(week, turnstile_traffic.scan(week))
                names = ", ".join(f"{row['complex_id']} ({row['hours']:.0f} h)" for row in late.to_dicts()[:5])
                word = f"{late.height} complexes without a reading for two days: {names}"
                yield Finding(
                    in_time,
                    week,
                    late.is_empty(),
                    "all in time" if late.is_empty() else word,
                    {"late": late.to_dicts()},
                )

        yield from results(context, turnstile_traffic.weeks, [in_time], findings())

    return check


def figures_in(lake_root: str) -> Callable[[str], WeekFigures | None]:
    """Reads the figures of a week from the lake; None if a table of it is not there."""

    def path(table: Table, week: str) -> Any:
        return part_path(lake_root, table.layer, table.name, week)

    @lru_cache(maxsize=_WEEKS_AT_HAND)
    def figures(week: str) -> WeekFigures | None:
        try:
            daily = scan(path(COMPLEX_DAILY, week), in_place=True).collect()
            counts = (row_count(path(table, week)) for table in (TURNSTILE_READINGS, TURNSTILE_REJECTS))
            return week_figures(week, daily, *counts)
        except FileNotFoundError:
            return None

    return figures


def _of_week(check: dg.AssetCheckSpec, week: str, found: Judgement) -> Finding:
    unusual = [departure for departure in found.departures if departure.is_unusual]
    return Finding(
        check,
        week,
        not unusual,
        "; ".join(map(_word, unusual)) or _ground(found),
        {
            "figures": [
                {"figure": d.measure, "value": d.value, "usual": d.usual, "is_unusual": d.is_unusual}
                for d in found.departures
            ],
            "compared_with": _ground(found),
        },
    )


def _of_complexes(check: dg.AssetCheckSpec, week: str, found: Judgement) -> Finding:
    def named(what: str, complexes: pl.DataFrame) -> str:
        rows = complexes.to_dicts()
        those = ", ".join(f"{r['complex_id']} ({r['riders']:,.0f} a day, usual {r['usual']:,.0f})" for r in rows[:5])
        return f"{what}: {those}{' …' if len(rows) > 5 else ''}"

    words = [
        named(what, complexes)
        for what, complexes in (("silent", found.silent), ("doubled", found.doubled))
        if not complexes.is_empty()
    ]
    return Finding(
        check,
        week,
        not words,
        "; ".join(words) or _ground(found),
        {"silent": found.silent.to_dicts(), "doubled": found.doubled.to_dicts()},
    )


def _word(departure: Departure) -> str:
    figures = f"{departure.value:,.3f}, usual {departure.usual:,.3f}"
    if departure.measure != "coverage":
        figures = f"{departure.value:,.0f}, usual {departure.usual:,.0f}"
    return f"{departure.measure} {figures}"


def _ground(found: Judgement) -> str:
    if not found.is_founded:
        return f"too little history to judge: {found.weeks_before} weeks before, {LEAST_WEEKS} are needed"
    seasons = f" and the season of {found.years} earlier years" if found.years else ""
    return f"as usual, by {found.weeks_before} weeks before{seasons}"
