"""The contract of the warehouse and the marts, in code: grain, columns with types, meaning and units.

How they are computed is said in the modules beside this one; the lake's own tables are in `turnstile.contract`.
"""

from collections.abc import Mapping
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

_ENTRIES: Final = "through entry registers; leaves out OMNY taps"
_EXITS: Final = "through exit registers"
_WEEK: Final = Column("week", pl.Date(), "The week's first day, a Saturday; an interval is in the week it ends in.")
_COMPLEX_ID: Final = Column("complex_id", pl.Int32(), "The MTA's station complex.")
_PLACE: Final = (
    Column("name", pl.String(), "Name as the MTA displays it; 'Complex N' if the MTA's list lacks it."),
    Column("borough", pl.String(), "Borough, in full; null if the MTA's list lacks the complex.", nullable=True),
)
_POINT: Final = (
    Column("latitude", pl.Float64(), "Degrees north; null if the MTA's list lacks the complex.", nullable=True),
    Column("longitude", pl.Float64(), "Degrees east; null if the MTA's list lacks the complex.", nullable=True),
)
_RIDERS: Final = (
    Column("entries", pl.Int64(), f"People {_ENTRIES}; null if no interval is ok.", nullable=True, at_least=0),
    Column("exits", pl.Int64(), f"People {_EXITS}; null if no interval is ok.", nullable=True, at_least=0),
)
_COVERAGE: Final = Column(
    "coverage",
    pl.Float64(),
    "Share of the turnstiles' time, 0 to 1, that lies in intervals whose exits are ok; null without any time.",
    nullable=True,
    at_least=0,
    at_most=1,
)
_WHOLE_DAY: Final = Column(
    "is_whole_day",
    pl.Boolean(),
    "Whether every week that the day may be split over is in the lake: a Friday's last intervals end in the next.",
)
_DAYS: Final = Column(
    "days", pl.Int64(), "Days that have readings of this complex then; averages are over these.", at_least=1
)

AGREEMENT: Final = 0.067
"""What lies between an estimate with a month's own share and what the MTA publishes, at most, for nineteen complexes of
twenty: measured over January 2024."""


class ShareSource:
    """Where the OMNY share of an estimate comes from."""

    BEFORE_OMNY: Final = "before_omny"
    COMPLEX: Final = "complex"
    SUBWAY: Final = "subway"
    UNKNOWN: Final = "unknown"
    ALL: Final = (BEFORE_OMNY, COMPLEX, SUBWAY, UNKNOWN)


DIM_STATION: Final = Table(
    "warehouse",
    "dim_station",
    "station complex",
    "The MTA's station complexes with name, borough and place.",
    STATION_COMPLEXES.columns,
)

DIM_BOOTH: Final = Table(
    "warehouse",
    "dim_booth",
    "control area and remote unit",
    "Every known booth. Facts take it by a left join: a booth that the MTA's lists lack has facts and no row here.",
    CONTROL_AREAS.columns,
)

DIM_DATE: Final = Table(
    "warehouse",
    "dim_date",
    "calendar date",
    "Every date from the Friday before the first week in the lake to the last week's end, those of missing weeks "
    "included, so that a left join shows what is not there.",
    (
        Column("date", pl.Date(), "The date."),
        Column("week", pl.Date(), "The Saturday on or before it: the week its file belongs to."),
        Column("year", pl.Int32(), "Year."),
        Column("month", pl.Int32(), "Month, 1 to 12."),
        Column("day", pl.Int32(), "Day of the month."),
        Column("weekday", pl.Int32(), "Day of the week by ISO: 1 is Monday, 7 Sunday."),
        Column("weekday_name", pl.String(), "Monday to Sunday."),
        Column("day_kind", pl.String(), "weekday or weekend; holidays are not told apart."),
        Column("in_lake", pl.Boolean(), "Whether the date's week is in the lake."),
        _WHOLE_DAY,
    ),
)

FACT_TURNSTILE: Final = Table(
    "warehouse",
    "fact_turnstile",
    "turnstile × interval between two consecutive readings",
    "People through each turnstile between two consecutive readings: traffic, not registers, with what each is worth. "
    "A view of lake/turnstile_traffic, partitioned by week: a week that is renewed there is renewed here.",
    (
        _WEEK,
        *TURNSTILE_TRAFFIC.columns[:5],
        Column(
            "is_subway",
            pl.Boolean(),
            "Whether it counts in subway figures: division BMT, IRT or IND, and not Orchard Beach's bus turnstiles.",
        ),
        *TURNSTILE_TRAFFIC.columns[5:8],
        Column("seconds", pl.Int64(), "Length of the interval; null where it has no start.", nullable=True),
        *TURNSTILE_TRAFFIC.columns[8:],
    ),
)

WAREHOUSE: Final = (DIM_STATION, DIM_BOOTH, DIM_DATE, FACT_TURNSTILE)

STATION_DAILY: Final = Table(
    "marts",
    "station_daily",
    "station complex × service date",
    "Subway entries and exits per station complex and day, from intervals with status ok; one row per day, though a "
    "Friday comes in two weeks' files. Traffic of booths without a complex (AirTrain's gates at Howard Beach and "
    "Jamaica, booths nobody knows yet) belongs to no station: it is in system_daily and not here.",
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
        Column(f"{register}_per_day", pl.Float64(), f"People per day {what}.", at_least=0),
        Column(
            f"{register}_rank",
            pl.Int64(),
            f"Place by {register}_per_day, 1 the busiest; equals share a place.",
            at_least=1,
        ),
    )


def _share(register: str) -> Column:
    return Column(
        f"{register}_share",
        pl.Float64(),
        f"Share, 0 to 1, of the {register} of all six blocks; null if there are none.",
        nullable=True,
        at_least=0,
        at_most=1,
    )


STATION_PEAK_HOURS: Final = Table(
    "marts",
    "station_peak_hours",
    "station complex × weekday or weekend × four-hour block",
    "When people enter and leave each station complex: an average day's riders per four-hour block, over all whole "
    "days in the lake, with the block's share of the day and its rank among the complex's six. Intervals are spread "
    "evenly over the hours they cover, and riders of a block are rounded to whole people before averaging.",
    (
        _COMPLEX_ID,
        *_PLACE,
        Column(
            "day_kind",
            pl.String(),
            "weekday (Monday to Friday, holidays included) or weekend.",
            one_of=("weekday", "weekend"),
        ),
        Column("block_start", pl.Int32(), "Hour the block starts: 0, 4, 8, 12, 16 or 20."),
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
                f"People {what} in {when}; null if that week is not in the lake, or has no ok interval.",
                nullable=True,
                at_least=0,
            ),
            Column(
                f"{register}_change_{against}",
                pl.Float64(),
                f"Change of {register} against {when}: 0.1 is a tenth more; null if either is null, or {when} is 0.",
                nullable=True,
            ),
        )
    )


def _turnstile_days(suffix: str, when: str) -> Column:
    return Column(
        f"turnstile_days{suffix}",
        pl.Float64(),
        f"Turnstiles' time {when}, in days: where it differs much, different turnstiles were counted.",
        nullable=bool(suffix),
        at_least=0,
    )


STATION_WEEK_OVER_WEEK: Final = Table(
    "marts",
    "station_week_over_week",
    "station complex × week",
    "Entries and exits per station complex and week, against the week before and the week 52 weeks before (the same "
    "days of the week). Weeks are those of the files: an interval counts in the week in which it ends, so that weeks "
    "compare whether or not their neighbours are there. What is not in the lake is null, never zero.",
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
    "Subway entries and exits per day, by division and borough, from intervals with status ok. Additive: summed over a "
    "day it is the subway's total. Traffic of booths without a station complex is here, with a null borough.",
    (
        Column("service_date", pl.Date(), "Calendar date on which the intervals start."),
        Column("division", pl.String(), "BMT, IRT or IND, as the file says of the turnstile.", one_of=SUBWAY_DIVISIONS),
        Column("borough", pl.String(), "Borough, in full; null where there is no station complex.", nullable=True),
        *_RIDERS,
        Column("turnstile_seconds", pl.Int64(), "Seconds in all intervals of all turnstiles.", at_least=0),
        Column("ok_seconds", pl.Int64(), "Seconds in the intervals whose exits are ok.", at_least=0),
        _COVERAGE,
        _WHOLE_DAY,
    ),
    key=("service_date", "division", "borough"),
)

BUSIEST_PLACES: Final = Table(
    "marts",
    "busiest_places",
    "weekday × hour × station complex",
    "Which station complexes are busiest at a given weekday and hour, with their places, for geofencing: an average "
    "day's riders in that hour, over all whole days in the lake, ranked among all complexes. Intervals are spread "
    "evenly over the hours they cover, and riders of an hour are rounded to whole people before averaging.",
    (
        Column("weekday", pl.Int32(), "Day of the week by ISO: 1 is Monday, 7 Sunday."),
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
    return Column(name, pl.Int64(), f"{what}; null if the week is not in the lake.", nullable=True, at_least=0)


DATA_QUALITY_WEEKLY: Final = Table(
    "marts",
    "data_quality_weekly",
    "week, from the first to the last in the lake",
    "What came in with each week's file and what it is worth. A week between the first and last that is not in the "
    "lake has a row of nulls, and in_lake false. Counts are of all divisions; coverage and riders without a complex "
    "are of the subway.",
    (
        _WEEK,
        Column("in_lake", pl.Boolean(), "Whether the week is in the lake."),
        _counted("readings", "Readings"),
        _counted("turnstiles", "Turnstiles with at least one reading"),
        *(_counted(f"rejects_{reason}", f"Lines (legacy: groups) rejected as {reason}") for reason in RejectReason.ALL),
        *(
            _counted(f"{register}_{status}", f"Intervals whose {register} have status {status}")
            for register in ("entries", "exits")
            for status in Status.ALL
        ),
        _COVERAGE,
        _counted("entries_without_complex", f"Subway riders, ok, at booths without a station complex {_ENTRIES}"),
        _counted("exits_without_complex", f"Subway riders, ok, at booths without a station complex {_EXITS}"),
    ),
    key=("week",),
)

_ESTIMATE: Final = "entries ÷ (1 - OMNY share)"

RIDERSHIP_ESTIMATE: Final = Table(
    "marts",
    "ridership_estimate",
    "station complex × service date",
    f"Ridership of the turnstile era with the riders who tapped OMNY: {_ESTIMATE}, the share that of the complex in "
    "the month by what the MTA publishes by the hour; before May 2019 it is 0. Where a complex has no share, the whole "
    "subway's of that month stands in, and is flagged; where there is none either, the estimate is null. The band is "
    "what the share's daily spread within the month makes of it (of a stand-in, its spread over complexes), widened by "
    f"{AGREEMENT:.1%}, within which nineteen complexes of twenty agreed with the MTA over January 2024.",
    (
        _COMPLEX_ID,
        *_PLACE,
        Column("service_date", pl.Date(), "Calendar date on which the intervals start."),
        _RIDERS[0],
        Column(
            "share_source",
            pl.String(),
            "Whose share it is: before_omny (0), complex (its own), subway (the whole subway's: a stand-in), unknown.",
            one_of=ShareSource.ALL,
        ),
        Column(
            "omny_share",
            pl.Float64(),
            "Share, 0 to 1, of OMNY; null if unknown.",
            nullable=True,
            at_least=0,
            at_most=1,
        ),
        Column(
            "ridership_estimate",
            pl.Float64(),
            f"Riders, however they paid: {_ESTIMATE}; null if either is unknown.",
            nullable=True,
            at_least=0,
        ),
        Column("estimate_low", pl.Float64(), "The lower end of its error band.", nullable=True, at_least=0),
        Column("estimate_high", pl.Float64(), "The upper end of its error band.", nullable=True, at_least=0),
        _COVERAGE,
        _WHOLE_DAY,
    ),
    key=("complex_id", "service_date"),
)

RIDERSHIP_RECONCILIATION: Final = Table(
    "marts",
    "ridership_reconciliation",
    "station complex × week",
    "The estimate from turnstiles beside the ridership that the MTA publishes by the hour, per complex and week, over "
    "the days that both have wholly. Weeks and complexes that only one of them has are left out.",
    (
        _COMPLEX_ID,
        *_PLACE,
        _WEEK,
        Column("days", pl.Int64(), "Days of the week that are compared.", at_least=1),
        Column("entries", pl.Int64(), f"People {_ENTRIES}, on these days.", at_least=0),
        Column("ridership_estimate", pl.Float64(), f"Riders on these days by turnstiles: {_ESTIMATE}.", at_least=0),
        Column("published", pl.Int64(), "Riders on these days as the MTA publishes them.", at_least=0),
        Column("ratio", pl.Float64(), "Estimate ÷ published; null if nobody is published.", nullable=True, at_least=0),
        Column(
            "has_fallback_share",
            pl.Boolean(),
            "Whether the whole subway's share stood in for the complex's own on any of the days.",
        ),
        _COVERAGE,
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
"""The columns that name a row of each mart, and that its rows are sorted by."""
