"""Contract of the warehouse and the marts: grain, and columns with types, meaning and units.

The other modules of this package compute them. `turnstile.contract` has the lake's own tables.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import polars as pl

from mta_pipeline.schema import Column, Table
from mta_pipeline.turnstile.contract import (
    CONTROL_AREAS,
    STATION_COMPLEXES,
    SUBWAY_DIVISIONS,
    TURNSTILE_TRAFFIC,
    RejectReason,
    Status,
)

_ENTRIES: Final = "entries, without OMNY taps"
_EXITS: Final = "exits"
_WEEK: Final = Column(
    "week", pl.Date(), "First day of the week, a Saturday; an interval belongs to the week in which it ends."
)
_COMPLEX_ID: Final = Column("complex_id", pl.Int32(), "The MTA's ID of the station complex.")
_PLACE: Final = (
    Column("name", pl.String(), "Name that the MTA displays; 'Complex N' if station_complexes lacks the complex."),
    Column("borough", pl.String(), "Name of the borough; null if station_complexes lacks the complex.", nullable=True),
)
_POINT: Final = (
    Column(
        "latitude",
        pl.Float64(),
        "Latitude in degrees north; null if station_complexes lacks the complex.",
        nullable=True,
    ),
    Column(
        "longitude",
        pl.Float64(),
        "Longitude in degrees east; null if station_complexes lacks the complex.",
        nullable=True,
    ),
)
_RIDERS: Final = (
    Column("entries", pl.Int64(), f"Number of {_ENTRIES}; null if no interval is ok.", nullable=True, at_least=0),
    Column("exits", pl.Int64(), f"Number of {_EXITS}; null if no interval is ok.", nullable=True, at_least=0),
)
_COVERAGE: Final = Column(
    "coverage",
    pl.Float64(),
    "Share of the turnstiles' time in intervals whose exits are ok, 0 to 1; null if there are no intervals.",
    nullable=True,
    at_least=0,
    at_most=1,
)
_WHOLE_DAY: Final = Column(
    "is_whole_day",
    pl.Boolean(),
    "Whether all weeks that hold intervals of the day are in the lake. A Friday needs its own week and the next.",
)
_DAYS: Final = Column(
    "days", pl.Int64(), "Number of days with traffic of this complex, over which the averages are taken.", at_least=1
)

AGREEMENT: Final = 0.067
"""Relative difference between estimate and published ridership that 95 % of complexes do not exceed.

Measured over January 2024, with each complex's own OMNY share of the month."""


class ShareSource(StrEnum):
    """The source of an estimate's OMNY share (rule 8)."""

    BEFORE_OMNY = "before_omny"
    COMPLEX = "complex"
    SUBWAY = "subway"
    UNKNOWN = "unknown"


class FactorSource(StrEnum):
    """The month whose entry factor calibrates an estimate (rule 12)."""

    MONTH = "month"
    NEAREST_MONTH = "nearest_month"
    UNKNOWN = "unknown"


LEAST_FACTOR_DAYS: Final = 7
"""Minimum number of days on which the subway's entry factor of a month is measured: each weekday counts once."""

LEAST_FACTOR_RIDERS: Final = 10_000
"""Minimum number of MetroCard riders from which an entry factor that calibrates is measured."""


DIM_STATION: Final = Table(
    "warehouse",
    "dim_station",
    "station complex",
    "The MTA's station complexes with name, borough and coordinates.",
    STATION_COMPLEXES.columns,
)

DIM_BOOTH: Final = Table(
    "warehouse",
    "dim_booth",
    "control area and remote unit",
    "All known booths. Use a left join from fact_turnstile: an unknown booth has facts but no row here.",
    CONTROL_AREAS.columns,
)

DIM_DATE: Final = Table(
    "warehouse",
    "dim_date",
    "calendar date",
    "All dates from the Friday before the first week in the lake to the end of the last week, including the dates of "
    "missing weeks, so that a left join shows what is missing.",
    (
        Column("date", pl.Date(), "Calendar date."),
        Column("week", pl.Date(), "First day of the week of the date: the Saturday on or before it."),
        Column("year", pl.Int32(), "Year."),
        Column("month", pl.Int32(), "Month, 1 to 12."),
        Column("day", pl.Int32(), "Day of the month, 1 to 31."),
        Column("weekday", pl.Int32(), "ISO day of the week: 1 is Monday, 7 is Sunday."),
        Column("weekday_name", pl.String(), "Name of the weekday, Monday to Sunday."),
        Column("day_kind", pl.String(), "weekday (Monday to Friday, including holidays) or weekend."),
        Column("in_lake", pl.Boolean(), "Whether the week of the date is in the lake."),
        _WHOLE_DAY,
    ),
)

FACT_TURNSTILE: Final = Table(
    "warehouse",
    "fact_turnstile",
    "turnstile × interval between two consecutive readings",
    "Number of people who passed each turnstile between two consecutive readings, with a status for entries and exits. "
    "A view over lake/turnstile_traffic, partitioned by week like it: an update of a week there shows here at once.",
    (
        _WEEK,
        *TURNSTILE_TRAFFIC.columns[:5],
        Column(
            "is_subway",
            pl.Boolean(),
            "Whether subway figures count it: division BMT, IRT or IND, without the bus turnstiles at Orchard Beach.",
        ),
        *TURNSTILE_TRAFFIC.columns[5:8],
        Column("seconds", pl.Int64(), "Length of the interval in seconds; null if it has no start.", nullable=True),
        *TURNSTILE_TRAFFIC.columns[8:],
    ),
)

WAREHOUSE: Final = (DIM_STATION, DIM_BOOTH, DIM_DATE, FACT_TURNSTILE)

STATION_DAILY: Final = Table(
    "marts",
    "station_daily",
    "station complex × service date",
    "Subway entries and exits per station complex and day, from intervals with status ok. Days are summed over weeks, "
    "so a Friday has one row although it comes in two files. Traffic of booths without a complex (the AirTrain gates "
    "at Howard Beach and Jamaica, and unknown booths) is in system_daily only.",
    (
        _COMPLEX_ID,
        *_PLACE,
        *_POINT,
        Column("service_date", pl.Date(), "Calendar date on which the intervals start."),
        *_RIDERS,
        _COVERAGE,
        _WHOLE_DAY,
    ),
    key=("complex_id", "service_date"),
)


def _per_day(register: str, what: str) -> tuple[Column, ...]:
    return (
        Column(f"{register}_per_day", pl.Float64(), f"Average per day of {what}.", at_least=0),
        Column(
            f"{register}_rank",
            pl.Int64(),
            f"Rank by {register}_per_day: 1 is the busiest, and equal values share a rank.",
            at_least=1,
        ),
    )


def _share(register: str) -> Column:
    return Column(
        f"{register}_share",
        pl.Float64(),
        f"Share of the block in the {register} of all six blocks, 0 to 1; null if there are none.",
        nullable=True,
        at_least=0,
        at_most=1,
    )


STATION_PEAK_HOURS: Final = Table(
    "marts",
    "station_peak_hours",
    "station complex × weekday or weekend × four-hour block",
    "Average entries and exits of each station complex per four-hour block, over all whole days in the lake, with the "
    "block's share of the day and its rank among the six blocks. Intervals are spread evenly over the hours that they "
    "cover. The sum of a block is rounded to whole people before averaging.",
    (
        _COMPLEX_ID,
        *_PLACE,
        Column(
            "day_kind",
            pl.String(),
            "weekday (Monday to Friday, including holidays) or weekend.",
            one_of=("weekday", "weekend"),
        ),
        Column("block_start", pl.Int32(), "Hour in which the block starts: 0, 4, 8, 12, 16 or 20."),
        _DAYS,
        *_per_day("entries", _ENTRIES),
        _share("entries"),
        *_per_day("exits", _EXITS),
        _share("exits"),
    ),
    key=("complex_id", "day_kind", "block_start"),
)


def _change(register: str, what: str) -> tuple[Column, ...]:
    return tuple(
        column
        for against, when in (("week_before", "the week before"), ("year_before", "the week 52 weeks before"))
        for column in (
            Column(
                f"{register}_{against}",
                pl.Int64(),
                f"Number of {what}, in {when}; null if that week is not in the lake or has no ok interval.",
                nullable=True,
                at_least=0,
            ),
            Column(
                f"{register}_change_{against}",
                pl.Float64(),
                f"Relative change of {register} from {when}: 0.1 is 10 % more; null if either is null or the earlier "
                "number is 0.",
                nullable=True,
            ),
        )
    )


def _turnstile_days(suffix: str, when: str) -> Column:
    return Column(
        f"turnstile_days{suffix}",
        pl.Float64(),
        f"Total length of the turnstiles' intervals {when}, in days; a large difference between the weeks means that "
        "different turnstiles were counted.",
        nullable=bool(suffix),
        at_least=0,
    )


STATION_WEEK_OVER_WEEK: Final = Table(
    "marts",
    "station_week_over_week",
    "station complex × week",
    "Entries and exits per station complex and week, compared with the week before and the week 52 weeks before (same "
    "days of the week). An interval counts in the week in which it ends, so weeks are comparable even if adjacent "
    "weeks are missing. Values of weeks that are not in the lake are null, never zero.",
    (
        _COMPLEX_ID,
        *_PLACE,
        _WEEK,
        *_RIDERS,
        _COVERAGE,
        *_change("entries", _ENTRIES),
        *_change("exits", _EXITS),
        _turnstile_days("", "in the week"),
        _turnstile_days("_week_before", "in the week before"),
        _turnstile_days("_year_before", "in the week 52 weeks before"),
    ),
    key=("complex_id", "week"),
)

SYSTEM_DAILY: Final = Table(
    "marts",
    "system_daily",
    "service date × division × borough",
    "Subway entries and exits per day, division and borough, from intervals with status ok. Additive: the rows of a "
    "day sum to the total of the subway. Traffic of booths without a station complex has a null borough.",
    (
        Column("service_date", pl.Date(), "Calendar date on which the intervals start."),
        Column(
            "division", pl.String(), "Division of the turnstile in the file: BMT, IRT or IND.", one_of=SUBWAY_DIVISIONS
        ),
        Column(
            "borough", pl.String(), "Name of the borough; null if there is no known station complex.", nullable=True
        ),
        *_RIDERS,
        Column("turnstile_seconds", pl.Int64(), "Total length of all turnstiles' intervals, in seconds.", at_least=0),
        Column("ok_seconds", pl.Int64(), "Total length of the intervals whose exits are ok, in seconds.", at_least=0),
        _COVERAGE,
        _WHOLE_DAY,
    ),
    key=("service_date", "division", "borough"),
)

BUSIEST_PLACES: Final = Table(
    "marts",
    "busiest_places",
    "weekday × hour × station complex",
    "Average entries and exits of each station complex per weekday and hour, over all whole days in the lake, with the "
    "rank among all complexes and with coordinates, for geofencing. Intervals are spread evenly over the hours that "
    "they cover. The sum of an hour is rounded to whole people before averaging.",
    (
        Column("weekday", pl.Int32(), "ISO day of the week: 1 is Monday, 7 is Sunday."),
        Column("hour", pl.Int32(), "Clock hour, 0 to 23, New York wall-clock time."),
        _COMPLEX_ID,
        *_PLACE,
        *_POINT,
        _DAYS,
        *_per_day("entries", _ENTRIES),
        *_per_day("exits", _EXITS),
    ),
    key=("weekday", "hour", "complex_id"),
)


def _counted(name: str, what: str) -> Column:
    return Column(
        name, pl.Int64(), f"Number of {what}; null if the week is not in the lake.", nullable=True, at_least=0
    )


DATA_QUALITY_WEEKLY: Final = Table(
    "marts",
    "data_quality_weekly",
    "week, from the first to the last in the lake",
    "Readings, rejects and statuses of each week's file. A missing week between the first and the last has a row of "
    "nulls with in_lake false. Counts cover all divisions. Coverage and riders without a complex cover only the "
    "subway.",
    (
        _WEEK,
        Column("in_lake", pl.Boolean(), "Whether the week is in the lake."),
        _counted("readings", "readings"),
        _counted("turnstiles", "turnstiles with at least one reading"),
        *(
            _counted(f"rejects_{reason}", f"lines (legacy layout: groups) rejected as {reason}")
            for reason in RejectReason
        ),
        *(
            _counted(f"{register}_{status}", f"intervals whose {register} have status {status}")
            for register in ("entries", "exits")
            for status in Status
        ),
        _COVERAGE,
        _counted("entries_without_complex", f"subway {_ENTRIES}, with status ok, at booths without a station complex"),
        _counted("exits_without_complex", f"subway {_EXITS}, with status ok, at booths without a station complex"),
    ),
    key=("week",),
)

_ESTIMATE: Final = "entries ÷ (1 - OMNY share)"

_CALIBRATED: Final = "ridership_estimate ÷ entry_factor"

RIDERSHIP_ESTIMATE: Final = Table(
    "marts",
    "ridership_estimate",
    "station complex × service date",
    f"Ridership estimated from turnstiles, including riders who tapped OMNY: {_ESTIMATE}. The share is that of the "
    "complex in the month, from the hourly ridership that the MTA publishes; before May 2019 it is 0. If a complex has "
    "no share, that of the whole subway in the month is used (share_source is subway). If there is none either, the "
    "estimate is null. The error band follows from the daily variation of the share within the month (for the whole "
    f"subway's share, from its variation over complexes). It is widened by {AGREEMENT:.1%}: over January 2024, 95 % of "
    "complexes agreed with the MTA's figures within this margin. calibrated_estimate leaves out free entries, as "
    "the MTA does: it is ridership_estimate ÷ the entry factor of all other complexes in the month, or in the nearest "
    f"month with at least {LEAST_FACTOR_DAYS} measured days and {LEAST_FACTOR_RIDERS:,} MetroCard riders.",
    (
        _COMPLEX_ID,
        *_PLACE,
        Column("service_date", pl.Date(), "Calendar date on which the intervals start."),
        _RIDERS[0],
        Column(
            "share_source",
            pl.String(),
            "Source of the share: before_omny (0), complex (its own), subway (that of the whole subway) or unknown.",
            one_of=tuple(ShareSource),
        ),
        Column(
            "omny_share",
            pl.Float64(),
            "Share of riders who tap OMNY, 0 to 1; null if unknown.",
            nullable=True,
            at_least=0,
            at_most=1,
        ),
        Column(
            "ridership_estimate",
            pl.Float64(),
            f"Estimated number of riders, all payment methods: {_ESTIMATE}; null if either is unknown.",
            nullable=True,
            at_least=0,
        ),
        Column(
            "estimate_low",
            pl.Float64(),
            "Lower end of the error band of ridership_estimate, in riders.",
            nullable=True,
            at_least=0,
        ),
        Column(
            "estimate_high",
            pl.Float64(),
            "Upper end of the error band of ridership_estimate, in riders.",
            nullable=True,
            at_least=0,
        ),
        _COVERAGE,
        _WHOLE_DAY,
        Column(
            "factor_source",
            pl.String(),
            "Month of entry_factor: month (that of the service date), nearest_month (the nearest month in which the "
            "factor is measured) or unknown.",
            one_of=tuple(FactorSource),
        ),
        Column(
            "factor_month",
            pl.Date(),
            "First day of the month in which entry_factor is measured; null if unknown.",
            nullable=True,
        ),
        Column(
            "entry_factor",
            pl.Float64(),
            "Entries, without OMNY taps, per published MetroCard rider at all other complexes; null if unknown.",
            nullable=True,
            at_least=0,
        ),
        Column(
            "calibrated_estimate",
            pl.Float64(),
            f"Estimated number of riders without free entries: {_CALIBRATED}; null if either is unknown.",
            nullable=True,
            at_least=0,
        ),
    ),
    key=("complex_id", "service_date"),
)

RIDERSHIP_RECONCILIATION: Final = Table(
    "marts",
    "ridership_reconciliation",
    "station complex × week",
    "Comparison of the estimate from turnstiles with the hourly ridership that the MTA publishes, per complex and "
    "week, over the days that are complete in both. Weeks and complexes that only one of them has are left out. The "
    "factor that calibrates a complex is measured at all other complexes, so calibrated_ratio is a test of it per "
    "complex. Over the whole subway, the calibrated ratio is near 1 by construction.",
    (
        _COMPLEX_ID,
        *_PLACE,
        _WEEK,
        Column("days", pl.Int64(), "Number of days of the week that are compared.", at_least=1),
        Column("entries", pl.Int64(), f"Number of {_ENTRIES}, on these days.", at_least=0),
        Column(
            "ridership_estimate", pl.Float64(), f"Estimated number of riders on these days: {_ESTIMATE}.", at_least=0
        ),
        Column("published", pl.Int64(), "Number of riders on these days that the MTA publishes.", at_least=0),
        Column(
            "ratio", pl.Float64(), "ridership_estimate ÷ published; null if published is 0.", nullable=True, at_least=0
        ),
        Column(
            "has_fallback_share",
            pl.Boolean(),
            "Whether the share of the whole subway was used on any of these days, because the complex has none.",
        ),
        _COVERAGE,
        Column(
            "calibrated_estimate",
            pl.Float64(),
            f"Estimated number of riders without free entries on these days: {_CALIBRATED}; null if the factor is "
            "unknown on any of them.",
            nullable=True,
            at_least=0,
        ),
        Column(
            "calibrated_ratio",
            pl.Float64(),
            "calibrated_estimate ÷ published; null if the estimate is unknown or published is 0.",
            nullable=True,
            at_least=0,
        ),
    ),
    key=("complex_id", "week"),
)

MARTS: Final = (
    STATION_DAILY,
    STATION_PEAK_HOURS,
    STATION_WEEK_OVER_WEEK,
    SYSTEM_DAILY,
    BUSIEST_PLACES,
    DATA_QUALITY_WEEKLY,
    RIDERSHIP_ESTIMATE,
    RIDERSHIP_RECONCILIATION,
)

KEYS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({mart.name: mart.key for mart in MARTS})
"""The key columns of each mart. Its rows are sorted by them."""
