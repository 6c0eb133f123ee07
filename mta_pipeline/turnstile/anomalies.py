"""Finds what is unusual about a week, compared with the weeks before it and the same season of earlier years.

All comparisons use medians and median absolute deviations, because one odd week hardly changes them. Only earlier
weeks count, so later weeks never change the result for a week. The caller loads the figures.
"""

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Final, NamedTuple

import polars as pl

from mta_pipeline.turnstile.clock import instant, utc
from mta_pipeline.turnstile.ridership import is_subway
from mta_pipeline.weeks import ONE_WEEK, week_start

WEEKS_BEFORE: Final = 8
"""Number of earlier weeks to compare with: the newest ones among the last LOOK_BACK."""
LOOK_BACK: Final = 13
LEAST_WEEKS: Final = 3
"""With fewer earlier weeks, the detector judges nothing."""
EARLIER_YEARS: Final = 5
LEAST_OF_SEASON: Final = 3
"""With fewer weeks of the same season in earlier years, the detector assumes no seasonal effect."""
LEAST_DAYS: Final = 3
"""With fewer ordinary days, ridership is not judged."""

SPREADS: Final = 6.0
"""Threshold in robust standard deviations: values further from the median are unusual."""
TO_SIGMA: Final = 1.4826
"""Converts a median absolute deviation to a standard deviation, for a normal distribution."""

BUSY: Final = 500.0
"""Minimum usual entries plus exits per day for judging a complex. Quieter ones fall silent or double by chance."""
SILENT: Final = 0.1
DOUBLED: Final = 1.8
LATE: Final = dt.timedelta(hours=48)
"""Audits come every four hours, but in real weeks a complex sometimes has none for up to 41 hours."""

LEAST_SHARE_OF_READINGS: Final = 0.6
"""With a smaller share of the usual readings, a part of the file is missing. Half of a file has 0.5, and real weeks
differ by 0.02."""

_COMPLEX_SCHEMA: Final = {"complex_id": pl.Int32, "riders": pl.Float64, "usual": pl.Float64, "share": pl.Float64}
_YEAR: Final = 52 * ONE_WEEK
_SECONDS_A_WEEK: Final = ONE_WEEK / dt.timedelta(seconds=1)


class Measure(NamedTuple):
    """How to compare one figure of a week.

    `scale` transforms the figure so that equal differences are equally unusual, and `back` inverts it.
    """

    name: str
    scale: Callable[[float], float]
    back: Callable[[float], float]
    least_spread: float
    """Lower limit of the spread, because a few weeks can agree by chance."""
    down: bool
    up: bool


MEASURES: Final = (
    Measure("readings", math.log, math.exp, 0.02, down=True, up=True),
    Measure("turnstiles", math.log, math.exp, 0.01, down=True, up=True),
    Measure("rejects", math.log1p, math.expm1, 0.5, down=False, up=True),
    Measure("coverage", float, float, 0.005, down=True, up=False),
    Measure("ridership", math.log, math.exp, 0.05, down=True, up=True),
)


@dataclass(frozen=True)
class WeekFigures:
    """The figures of one week.

    `days` has one row per complex and day of the week (0 is Saturday): complex_id, day, riders (entries plus exits),
    turnstile_seconds, ok_seconds.
    """

    week: str
    readings: int
    rejects: int
    days: pl.DataFrame


class Departure(NamedTuple):
    """One figure of a week, compared with its expected value."""

    measure: str
    value: float
    usual: float
    spreads: float
    is_unusual: bool


@dataclass(frozen=True)
class Judgement:
    """What is unusual about a week. It finds nothing if there are too few weeks before."""

    weeks_before: int
    years: int
    """Number of earlier years in the seasonal comparison."""
    departures: Sequence[Departure]
    silent: pl.DataFrame
    """Complexes with almost no riders any more: complex_id, riders and usual (both per day), and share."""
    doubled: pl.DataFrame
    """Complexes with far more riders than usual. The columns are those of `silent`."""

    @property
    def is_founded(self) -> bool:
        """Whether there were enough earlier weeks for a comparison."""
        return self.weeks_before >= LEAST_WEEKS


def week_figures(week: str, complex_daily: pl.DataFrame, readings: int, rejects: int) -> WeekFigures:
    """Return the figures of a week from its complex_daily and its numbers of readings and rejects."""
    day = (pl.col("service_date") - week_start(week)).dt.total_days().cast(pl.Int8).alias("day")
    days = complex_daily.select(
        "complex_id", day, (pl.col("entries") + pl.col("exits")).alias("riders"), "turnstile_seconds", "ok_seconds"
    )
    # This file also holds the last intervals of the Friday before. Cut all weeks alike to make them comparable.
    return WeekFigures(week, readings, rejects, days.filter(pl.col("day").is_between(0, 6)))


class AnomalyDetector:
    """Compares weeks with the weeks before them. Caches the figures that it needs again.

    Args:
        figures: returns the figures of a week, or None if there are none.
    """

    def __init__(self, figures: Callable[[str], WeekFigures | None]) -> None:
        self._figures = figures
        self._known: dict[str, _Known | None] = {}
        self._departed: dict[str, dict[str, float] | None] = {}

    def judge(self, week: str) -> Judgement:
        """Return what is unusual about a week.

        Raises:
            ValueError: the week has no figures.
        """
        figures = self._figures(week)
        if figures is None:
            raise ValueError(f"there are no figures for week {week}")
        before = self._before(week)
        no_complexes = pl.DataFrame(schema=_COMPLEX_SCHEMA)
        if len(before) < LEAST_WEEKS:
            return Judgement(len(before), 0, [], no_complexes, no_complexes)
        if self._system(week) is None:
            usual = median(known.values["turnstiles"] for w in before if (known := self._known[w]) is not None)
            no_turnstiles = Departure("turnstiles", 0.0, usual, -math.inf, is_unusual=True)
            return Judgement(len(before), 0, [no_turnstiles], no_complexes, no_complexes)
        of_years = {other: d for other in _same_season(week) if (d := self._departures(other)) is not None}
        seasons = list(of_years.values()) if len(of_years) >= LEAST_OF_SEASON else []
        years = len({round((week_start(week) - week_start(other)) / _YEAR) for other in of_years}) if seasons else 0
        departures = [
            departure for measure in MEASURES if (departure := self._judged(measure, week, before, seasons)) is not None
        ]
        silent, doubled = _complexes(figures, [f for w in before if (f := self._figures(w)) is not None])
        return Judgement(len(before), years, departures, silent, doubled)

    def _judged(
        self, measure: Measure, week: str, before: Sequence[str], seasons: Sequence[dict[str, float]]
    ) -> Departure | None:
        departed = (self._departures(week) or {}).get(measure.name)
        now = self._known[week]
        if departed is None or now is None:
            return None
        of_season = [season[measure.name] for season in seasons if measure.name in season]
        expected = median(of_season) if len(of_season) >= LEAST_OF_SEASON else 0.0
        own = [d for w in before if (d := self._from_usual(measure, w, before)) is not None]
        spread = max(measure.least_spread, _spread(own), _spread(of_season))
        spreads = (departed - expected) / spread
        value = now.values[measure.name]
        return Departure(
            measure.name,
            value,
            measure.back(measure.scale(value) - departed + expected),
            spreads,
            (measure.up and spreads > SPREADS) or (measure.down and spreads < -SPREADS),
        )

    def _departures(self, week: str) -> dict[str, float] | None:
        """Deviation of each figure of a week from the median of the weeks before, on the measure's scale."""
        if week not in self._departed:
            before = self._before(week) if self._system(week) else []
            self._departed[week] = (
                {m.name: d for m in MEASURES if (d := self._from_usual(m, week, before)) is not None}
                if len(before) >= LEAST_WEEKS
                else None
            )
        return self._departed[week]

    def _from_usual(self, measure: Measure, week: str, before: Sequence[str]) -> float | None:
        now, others = self._known[week], [k for w in before if (k := self._known[w]) is not None]
        if now is None:
            return None
        if measure.name == "ridership":
            # Compare day by day and take the median, so that one holiday or snow day does not decide.
            per_day = [
                math.log(riders / usual)
                for day, riders in now.riders.items()
                if riders > 0 and (usual := median([k.riders[day] for k in others if day in k.riders] or [0])) > 0
            ]
            return median(per_day) if len(per_day) >= LEAST_DAYS else None
        values = [k.values[measure.name] for k in (now, *others)]
        if measure.scale is math.log and min(values) <= 0:
            return None
        scaled = [measure.scale(value) for value in values]
        return scaled[0] - median(scaled[1:])

    def _before(self, week: str) -> list[str]:
        candidates = [(week_start(week) - n * ONE_WEEK).isoformat() for n in range(1, LOOK_BACK + 1)]
        found: list[str] = []
        for candidate in candidates:
            if len(found) < WEEKS_BEFORE and self._system(candidate) is not None:
                found.append(candidate)
        return found

    def _system(self, week: str) -> "_Known | None":
        if week not in self._known:
            figures = self._figures(week)
            self._known[week] = None if figures is None or figures.days.is_empty() else _known(figures)
        return self._known[week]


class _Known(NamedTuple):
    """The cached figures of a week: its values by measure, and its riders by ordinary day."""

    values: dict[str, float]
    riders: dict[int, float]


def late_complexes(week: str, traffic: pl.LazyFrame) -> pl.DataFrame:
    """Return the complexes all of whose turnstiles went without a reading for `LATE` or longer within a week.

    Returns:
        complex_id, turnstiles (their number), and hours: the longest time without a reading, of the turnstile for
        which this time is shortest.
    """
    start, end = (pl.lit(utc(day)) for day in (week_start(week), week_start(week) + ONE_WEEK))
    at = instant("ended_at", "ended_utc_offset")
    gaps = pl.max_horizontal(at.min() - start, at.sort().diff().max(), end - at.max())
    return (
        traffic.filter(is_subway() & pl.col("complex_id").is_not_null())
        .group_by("complex_id", "control_area", "unit", "scp")
        .agg(gap=gaps)
        .group_by("complex_id")
        .agg(turnstiles=pl.len(), gap=pl.col("gap").min())
        .filter(pl.col("gap") >= LATE)
        .select("complex_id", "turnstiles", hours=pl.col("gap").dt.total_minutes() / 60)
        .sort("complex_id")
        .collect()
    )


def _known(figures: WeekFigures) -> _Known:
    days = figures.days
    seconds, ok = (int(days[column].sum()) for column in ("turnstile_seconds", "ok_seconds"))
    by_day: dict[int, int] = {
        int(day): int(riders) for day, riders in days.group_by("day").agg(pl.col("riders").sum()).iter_rows()
    }
    values = {
        "readings": float(figures.readings),
        "turnstiles": seconds / _SECONDS_A_WEEK,
        "rejects": float(figures.rejects),
        "coverage": ok / seconds if seconds else 0.0,
        "ridership": float(sum(by_day.values())),
    }
    ordinary = set(_ordinary_days(figures.week))
    return _Known(values, {day: float(riders) for day, riders in by_day.items() if day in ordinary})


def _complexes(now: WeekFigures, before: Sequence[WeekFigures]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The silent and the doubled complexes, relative to the median change of all complexes."""
    ordinary = _ordinary_days(now.week)
    past = pl.concat(f.days.filter(pl.col("day").is_in(_ordinary_days(f.week))) for f in before)
    usual = (
        past.drop_nulls("complex_id")
        .filter(pl.col("day").is_in(ordinary))
        .group_by("complex_id", "day")
        .agg(usual=pl.col("riders").median(), weeks=pl.len())
        .filter(pl.col("weeks") >= min(LEAST_WEEKS, len(before)))
    )
    compared = (
        usual.join(now.days.select("complex_id", "day", "riders"), on=["complex_id", "day"], how="left")
        .group_by("complex_id")
        .agg(pl.col("riders").fill_null(0).mean(), pl.col("usual").mean(), days=pl.len())
        .filter((pl.col("usual") >= BUSY) & (pl.col("days") >= LEAST_DAYS))
        .with_columns(share=pl.col("riders") / pl.col("usual"))
        .with_columns(share=pl.col("share") / pl.col("share").median())
        .select("complex_id", "riders", "usual", "share")
        .sort("complex_id")
    )
    return compared.filter(pl.col("share") < SILENT), compared.filter(pl.col("share") > DOUBLED)


def _spread(values: Sequence[float]) -> float:
    if not values:
        return 0.0
    middle = median(values)
    return TO_SIGMA * median(abs(value - middle) for value in values)


def _same_season(week: str) -> list[str]:
    """The weeks 52 weeks times 1, 2, ... years earlier, each with the week before and after it."""
    return [
        (week_start(week) - years * _YEAR - shift * ONE_WEEK).isoformat()
        for years in range(1, EARLIER_YEARS + 1)
        for shift in (-1, 0, 1)
    ]


@lru_cache(maxsize=1024)
def _ordinary_days(week: str) -> tuple[int, ...]:
    """The days of a week (0 is Saturday) that are neither holidays nor between Christmas and New Year."""
    days = [week_start(week) + dt.timedelta(days=n) for n in range(7)]
    holidays = {holiday for year in {days[0].year, days[-1].year} for holiday in _holidays(year)}
    return tuple(n for n, day in enumerate(days) if day not in holidays)


@lru_cache(maxsize=64)
def _holidays(year: int) -> frozenset[dt.date]:
    import pandas as pd  # noqa: PLC0415  # slow to import
    from pandas.tseries.holiday import USFederalHolidayCalendar  # noqa: PLC0415

    first, last = pd.Timestamp(year, 1, 1), pd.Timestamp(year, 12, 31)
    federal = {day.date() for day in USFederalHolidayCalendar().holidays(first, last)}
    after_thanksgiving = {day + dt.timedelta(days=1) for day in federal if day.month == 11 and day.isoweekday() == 4}
    christmas = {dt.date(year, 12, day) for day in range(24, 32)} | {dt.date(year, 1, 1)}
    return frozenset(federal | after_thanksgiving | christmas)
