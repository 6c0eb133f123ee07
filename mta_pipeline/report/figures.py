"""The data of the report: frames and facts taken from the marts. `charts` and `page` present them.

Values that are not in the lake are null or absent, and never zero.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from mta_pipeline.hourly_ridership.agreement import by_week, known_sum, worst
from mta_pipeline.turnstile.contract import RejectReason, Status
from mta_pipeline.weeks import ONE_WEEK

REGISTERS: Final = ("exits", "entries")
"""Exits first, because they count all riders, however they paid."""

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

ENOUGH_COVERAGE: Final = 0.9
"""Days and weeks with less coverage are shown as gaps, because their sums would look like quiet days."""

COVERAGE: Final = (pl.col("ok_seconds").sum() / pl.col("turnstile_seconds").sum()).fill_nan(None)
"""Coverage of any rows of system_daily, 0 to 1; null if turnstile_seconds is 0."""

DAYS_SHOWN_ONE_BY_ONE: Final = 26 * 7
"""A longer span is shown by week."""

LEAST_TO_MOVE: Final = 1_000
"""Minimum exits in the week before for a complex in `movers`. With few riders, a small change is a large percentage."""

_SAME_TURNSTILES: Final = 0.1
_FURTHEST_OFF: Final = 5
_ONE_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """The weeks of a lake: first and last day, number of weeks, and the missing ranges."""

    first_day: dt.date
    last_day: dt.date
    weeks: int
    missing: Sequence[tuple[dt.date, dt.date]]
    """First and last day of each contiguous range of weeks that are not in the lake."""

    @property
    def weeks_in_span(self) -> int:
        """The number of weeks from the first to the last, including missing ones."""
        return (self.last_day - self.first_day + _ONE_DAY) // ONE_WEEK


@dataclass(frozen=True)
class Ridership:
    """Riders of the subway over time.

    `points` has start (date), entries and exits (people per day; null if unknown), with one row for every day, or every
    week if `is_weekly`.
    """

    points: pl.DataFrame
    is_weekly: bool


@dataclass(frozen=True)
class Places:
    """Average riders per hour and station complex.

    `stations` has label, borough, latitude, longitude; stations without coordinates come last. `people` has an integer
    or None for each register, weekday (from Monday), clock hour and station.
    """

    stations: pl.DataFrame
    people: Mapping[str, Sequence[Sequence[Sequence[int | None]]]]
    busiest: tuple[int, int]
    """Weekday (0 is Monday) and hour with the most exits in total."""


@dataclass(frozen=True)
class Movers:
    """The complexes with the largest changes in a week: label, exits, exits_change, entries_change (0.1 is +10 %)."""

    week: dt.date
    rows: pl.DataFrame


def span(data_quality_weekly: pl.DataFrame) -> Span | None:
    """Return the span of weeks from which the marts are made; None if there are no weeks."""
    if data_quality_weekly.is_empty():
        return None
    weeks = data_quality_weekly.sort("week")
    missing: list[tuple[dt.date, dt.date]] = []
    for start in weeks.filter(~pl.col("in_lake"))["week"]:
        end = start + ONE_WEEK - _ONE_DAY
        if missing and missing[-1][1] + _ONE_DAY == start:
            missing[-1] = (missing[-1][0], end)
        else:
            missing.append((start, end))
    first, last = weeks["week"][0], weeks["week"][-1]
    return Span(first, last + ONE_WEEK - _ONE_DAY, weeks.filter("in_lake").height, missing)


def days(system_daily: pl.DataFrame, whole: Span) -> pl.DataFrame:
    """Return all dates of the span with the subway's entries, exits and coverage.

    Riders are null unless the day is whole and has at least `ENOUGH_COVERAGE`.
    """
    calendar = pl.select(date=pl.date_range(whole.first_day, whole.last_day))
    sums = system_daily.group_by(date="service_date").agg(
        pl.col(REGISTERS).sum(), coverage=COVERAGE, is_whole=pl.col("is_whole_day").all()
    )
    known = pl.col("is_whole") & (pl.col("coverage") >= ENOUGH_COVERAGE)
    return calendar.join(sums, on="date", how="left").select(
        "date", *(pl.when(known).then(pl.col(register)) for register in REGISTERS), "coverage"
    )


def ridership(by_day: pl.DataFrame) -> Ridership:
    """Return riders by day, or for a long span the average day per week. A week with an unknown day is null."""
    if by_day.height <= DAYS_SHOWN_ONE_BY_ONE:
        return Ridership(by_day.select("date", *REGISTERS).rename({"date": "start"}), is_weekly=False)
    # The span starts on a Saturday, as weeks do.
    week = pl.col("date").dt.offset_by("2d").dt.truncate("1w").dt.offset_by("-2d")
    weeks = by_day.group_by(start=week).agg(
        pl.when(pl.col(register).is_not_null().all()).then(pl.col(register).mean()) for register in REGISTERS
    )
    return Ridership(weeks.sort("start"), is_weekly=True)


def hours_of_the_week(busiest_places: pl.DataFrame) -> pl.DataFrame:
    """Return the 168 hours of an average week: weekday (1 is Monday), hour, entries, exits; null if unknown.

    Totals are divided by the largest number of days of any complex, so a complex with fewer days counts for less.
    """
    of_week = pl.DataFrame({"weekday": range(1, 8)}, schema={"weekday": pl.Int32}).join(
        pl.DataFrame({"hour": range(24)}, schema={"hour": pl.Int32}), how="cross"
    )
    sums = busiest_places.group_by("weekday", "hour").agg(
        ((pl.col(f"{register}_per_day") * pl.col("days")).sum() / pl.col("days").max()).alias(register)
        for register in REGISTERS
    )
    return of_week.join(sums, on=["weekday", "hour"], how="left", maintain_order="left")


def labels(stations: pl.DataFrame, station_complexes: pl.DataFrame) -> pl.DataFrame:
    """Return a unique label for each complex_id: the name, plus routes or number if several complexes share it."""
    routes = station_complexes.select("complex_id", routes="daytime_routes")
    named = stations.select("complex_id", "name").unique().join(routes, on="complex_id", how="left")
    number = pl.format("complex {}", "complex_id")
    with_routes = pl.format("{} ({})", "name", pl.col("routes").fill_null(number))
    label = pl.when(pl.col("name").is_duplicated()).then(with_routes).otherwise("name")
    unlike = pl.when(label.is_duplicated()).then(pl.format("{} ({})", "name", number)).otherwise(label)
    return named.select("complex_id", label=unlike)


def places(busiest_places: pl.DataFrame, station_complexes: pl.DataFrame) -> Places | None:
    """Return riders by place, weekday and hour; None if there are none."""
    if busiest_places.is_empty():
        return None
    stations = (
        busiest_places.select("complex_id", "borough", "latitude", "longitude")
        .unique()
        .join(labels(busiest_places, station_complexes), on="complex_id")
        .sort(pl.col("latitude").is_null(), "complex_id")
    )
    by_hour = hours_of_the_week(busiest_places)
    most = by_hour.row(by_hour["exits"].arg_max() or 0, named=True)
    position = stations.select("complex_id").with_row_index("place")
    rows = busiest_places.join(position, on="complex_id")
    people: dict[str, list[list[list[int | None]]]] = {}
    for register in REGISTERS:
        grid: list[list[list[int | None]]] = [[[None] * stations.height for _ in range(24)] for _ in WEEKDAYS]
        whole = pl.col(f"{register}_per_day").round().cast(pl.Int64)
        for weekday, hour, place, riders in rows.select("weekday", "hour", "place", whole).iter_rows():
            grid[weekday - 1][hour][place] = riders
        people[register] = grid
    return Places(stations.drop("complex_id"), people, (most["weekday"] - 1, most["hour"]))


def peaks(station_peak_hours: pl.DataFrame, station_complexes: pl.DataFrame, top: int = 15) -> pl.DataFrame:
    """Return the busiest complexes on weekdays, with their busiest four hours for exits and entries.

    Columns: label, borough, and for each register {register} (people on an average weekday), {register}_from (the hour
    in which the busiest block starts) and {register}_share (the block's share of the day).
    """
    blocks = station_peak_hours.filter(pl.col("day_kind") == "weekday")
    made = blocks.select("complex_id", "borough").unique()
    for register in REGISTERS:
        busiest = pl.col(f"{register}_per_day").arg_max()
        found = blocks.group_by("complex_id").agg(
            pl.col(f"{register}_per_day").sum().alias(register),
            pl.col("block_start").get(busiest).alias(f"{register}_from"),
            pl.col(f"{register}_share").get(busiest),
        )
        made = made.join(found, on="complex_id")
    named = made.join(labels(blocks, station_complexes), on="complex_id")
    return named.sort("exits", "label", descending=[True, False]).head(top).drop("complex_id")


def movers(station_week_over_week: pl.DataFrame, station_complexes: pl.DataFrame, each: int = 8) -> Movers | None:
    """Return the largest gains and losses of exits in the newest week that has a week before; None without such a week.

    Complexes with few riders, low coverage, or a changed number of counted turnstiles are left out.
    """
    turnstiles = pl.col("turnstile_days") / pl.col("turnstile_days_week_before") - 1
    comparable = station_week_over_week.filter(
        pl.col("exits_change_week_before").is_not_null(),
        pl.col("exits_week_before") >= LEAST_TO_MOVE,
        turnstiles.abs() <= _SAME_TURNSTILES,
        pl.col("coverage") >= ENOUGH_COVERAGE,
    )
    if comparable.is_empty():
        return None
    newest = comparable["week"].max()
    rows = (
        comparable.filter(pl.col("week") == newest)
        .join(labels(station_week_over_week, station_complexes), on="complex_id")
        .select(
            "label",
            "exits",
            exits_change="exits_change_week_before",
            entries_change="entries_change_week_before",
        )
        .sort("exits_change", "label", descending=[True, False])
    )
    gained = rows.filter(pl.col("exits_change") > 0).head(each)
    lost = rows.filter(pl.col("exits_change") < 0).tail(each)
    return Movers(newest, pl.concat([gained, lost]))  # type: ignore[arg-type]  # a date, as the column is


@dataclass(frozen=True)
class Agreement:
    """The estimates, plain and calibrated, and the ridership that the MTA publishes.

    `weeks` has the columns of `agreement.by_week`, `off` those of `agreement.worst`, plus label. `points` has label,
    ridership_estimate, calibrated_estimate (null if unknown in any week) and published, summed over all weeks.
    """

    weeks: pl.DataFrame
    off: pl.DataFrame
    points: pl.DataFrame


def agreement(ridership_reconciliation: pl.DataFrame, station_complexes: pl.DataFrame) -> Agreement | None:
    """Compare the estimates with published ridership; None if there is nothing to compare."""
    if ridership_reconciliation.is_empty():
        return None
    named = labels(ridership_reconciliation, station_complexes)
    points = ridership_reconciliation.group_by("complex_id").agg(
        pl.col("ridership_estimate", "published").sum(), known_sum("calibrated_estimate")
    )
    off = worst(ridership_reconciliation, _FURTHEST_OFF).join(named, on="complex_id", how="left", maintain_order="left")
    points = points.filter(pl.col("published") > 0).join(named, on="complex_id").sort("complex_id").drop("complex_id")
    return Agreement(by_week(ridership_reconciliation), off, points)


def quality(data_quality_weekly: pl.DataFrame) -> pl.DataFrame:
    """Return every week of the span: week, in_lake, coverage, readings, turnstiles, rejects, and exits by status."""
    rejects = pl.sum_horizontal(*(f"rejects_{reason}" for reason in RejectReason), ignore_nulls=False)
    return data_quality_weekly.sort("week").select(
        "week",
        "in_lake",
        "coverage",
        "readings",
        "turnstiles",
        rejects=rejects,
        **{status: f"exits_{status}" for status in Status if status != Status.OK},
    )
