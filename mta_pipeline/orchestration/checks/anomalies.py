"""Whether a week is unusual. These checks warn and do not block: an unusual week may be real.

`mta_pipeline.turnstile.anomalies` decides what is unusual. Earlier weeks are read directly from the lake. They are not
declared as inputs, because a week must not become stale when an earlier week is updated.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from threading import Lock
from typing import Any, Final

import dagster as dg
import polars as pl

from mta_pipeline.lake.parquet import row_count, scan
from mta_pipeline.lake.storage import part_path
from mta_pipeline.orchestration.checks.factory import Finding, Judge, check_spec, weekly_check
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

_CACHED_WEEKS: Final = 16
"""Weeks whose figures stay in memory (100 KB each). A range of weeks is judged in order."""


def anomaly_checks(weeks: dg.WeeklyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """The checks for unusual weeks."""
    return [_as_usual(weeks), _in_time(weeks)]


def _as_usual(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetChecksDefinition:
    whole_week = check_spec(
        weeks,
        COMPLEX_DAILY,
        WEEK_AS_USUAL,
        "Readings, turnstiles, rejects, coverage and ridership are in the range expected from the previous weeks and "
        f"from the same season of earlier years. The check needs {LEAST_WEEKS} previous weeks; with fewer it passes.",
    )
    complexes = check_spec(
        weeks,
        COMPLEX_DAILY,
        COMPLEXES_AS_USUAL,
        "Compared with its own previous weeks and with the change in all complexes, no station complex has lost all "
        "riders and none has doubled.",
    )

    @weekly_check("check_complex_daily_as_usual", [whole_week, complexes], complex_daily=COMPLEX_DAILY)
    def checks(raw_layer: Lake, complex_daily: WeeklyInputs) -> Judge:  # noqa: ARG001  # read through the detector
        detector = AnomalyDetector(figures_in(raw_layer.lake_root))

        def judge(week: str) -> Iterator[Finding]:
            found = detector.judge(week)
            yield _of_week(whole_week, week, found)
            yield _of_complexes(complexes, week, found)

        return judge

    return checks


def _in_time(weeks: dg.WeeklyPartitionsDefinition) -> dg.AssetChecksDefinition:
    in_time = check_spec(
        weeks,
        TURNSTILE_TRAFFIC,
        COMPLEXES_READ_IN_TIME,
        "Every station complex has a reading of some turnstile at least every two days.",
    )

    @weekly_check("check_read_in_time", [in_time], turnstile_traffic=TURNSTILE_TRAFFIC)
    def checks(turnstile_traffic: WeeklyInputs) -> Judge:
        def judge(week: str) -> Iterator[Finding]:
            late = late_complexes(week, turnstile_traffic.scan(week)).to_dicts()
            names = ", ".join(f"{row['complex_id']} ({row['hours']:.0f} h)" for row in late[:5])
            shown = f"{len(late)} complexes without a reading for two days: {names}" if late else "no complex is late"
            yield Finding(in_time, week, not late, shown, {"late": late, "late_complexes": len(late)})

        return judge

    return checks


def figures_in(lake_root: str) -> Callable[[str], WeekFigures | None]:
    """Return a function that reads the figures of a week from the lake, or returns None if a table is missing."""
    one_at_a_time = Lock()

    def path(table: Table, week: str) -> Any:
        return part_path(lake_root, table.layer, table.name, week)

    @lru_cache(maxsize=_CACHED_WEEKS)
    def cached(week: str) -> WeekFigures | None:
        try:
            daily = scan(path(COMPLEX_DAILY, week), in_place=True).collect()
            counts = (row_count(path(table, week)) for table in (TURNSTILE_READINGS, TURNSTILE_REJECTS))
            return week_figures(week, daily, *counts)
        except FileNotFoundError:
            return None

    def figures(week: str) -> WeekFigures | None:
        # Two weeks that are judged in parallel need the same earlier weeks.
        with one_at_a_time:
            return cached(week)

    return figures


def _of_week(check: dg.AssetCheckSpec, week: str, found: Judgement) -> Finding:
    unusual = [departure for departure in found.departures if departure.is_unusual]
    return Finding(
        check,
        week,
        not unusual,
        "; ".join(map(_described, unusual)) or _compared_with(found),
        {
            "figures": [
                {"figure": d.measure, "value": d.value, "usual": d.usual, "is_unusual": d.is_unusual}
                for d in found.departures
            ],
            "compared_with": _compared_with(found),
            "previous_weeks": found.weeks_before,
            **{d.measure: d.value for d in found.departures},
        },
    )


def _of_complexes(check: dg.AssetCheckSpec, week: str, found: Judgement) -> Finding:
    def listed(change: str, complexes: pl.DataFrame) -> str:
        rows = complexes.to_dicts()
        names = ", ".join(f"{r['complex_id']} ({r['riders']:,.0f} a day, expected {r['usual']:,.0f})" for r in rows[:5])
        return f"{change}: {names}{' …' if len(rows) > 5 else ''}"

    changes = [
        listed(change, complexes)
        for change, complexes in (("silent", found.silent), ("doubled", found.doubled))
        if not complexes.is_empty()
    ]
    return Finding(
        check,
        week,
        not changes,
        "; ".join(changes) or _compared_with(found),
        {
            "silent": found.silent.to_dicts(),
            "doubled": found.doubled.to_dicts(),
            "silent_complexes": found.silent.height,
            "doubled_complexes": found.doubled.height,
        },
    )


def _described(departure: Departure) -> str:
    figures = f"{departure.value:,.3f}, expected {departure.usual:,.3f}"
    if departure.measure != "coverage":
        figures = f"{departure.value:,.0f}, expected {departure.usual:,.0f}"
    return f"{departure.measure} {figures}"


def _compared_with(found: Judgement) -> str:
    if not found.is_founded:
        return f"not enough history: {found.weeks_before} previous weeks, {LEAST_WEEKS} are needed"
    seasons = f" and with the same season of {found.years} earlier years" if found.years else ""
    return f"compared with {found.weeks_before} previous weeks{seasons}"
