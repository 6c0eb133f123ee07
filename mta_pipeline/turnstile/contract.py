"""Contracts of the turnstile tables: layer, grain, and columns with types and meaning.

docs/data-contract.md defines the rules cited here.
"""

from enum import StrEnum, nonmember
from typing import Final

import polars as pl

from mta_pipeline.schema import WALL_CLOCK, Column, Table
from mta_pipeline.turnstile.clock import offset_of

SUBWAY_DIVISIONS: Final = ("BMT", "IRT", "IND")
"""The divisions that subway figures count (rule 7). PTH, SRT, RIT and JFK are other carriers."""

BUS_CONTROL_AREA: Final = "OB01"
"""Bus turnstiles at Orchard Beach. Their division is IND, but subway figures leave them out (rule 7)."""


class RejectReason(StrEnum):
    """Reasons why a line, or a group of a legacy line, is rejected (rules 1, 2 and 11)."""

    FIELD_COUNT = "field_count"
    BAD_TURNSTILE = "bad_turnstile"
    BAD_TIMESTAMP = "bad_timestamp"
    BAD_REGISTER = "bad_register"
    OUTSIDE_WINDOW = "outside_window"
    JUNK_HEADER = "junk_header"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    TOO_LONG = "too_long"


class Status(StrEnum):
    """Statuses of a register's difference over one interval, in order of precedence (rule 5)."""

    FIRST = "first"
    RESET = "reset"
    IMPLAUSIBLE = "implausible"
    LONG_GAP = "long_gap"
    OK = "ok"
    IN_TOTALS = nonmember((OK, LONG_GAP))


_CONTROL_AREA = Column("control_area", pl.String(), "Control area (booth), C/A in the file, such as A002.")
_UNIT = Column("unit", pl.String(), "Remote unit, such as R051.")
_SCP = Column(
    "scp",
    pl.String(),
    "Subunit channel position, such as 02-00-00; identifies a turnstile together with control area and unit.",
)
_STATION = Column(
    "station", pl.String(), "Station name as published; not unique, so it does not identify a station.", nullable=True
)
_LINE_NAME = Column("line_name", pl.String(), "Train lines as published, such as NQR456W.", nullable=True)
_DIVISION = Column(
    "division",
    pl.String(),
    "BMT, IRT, IND (subway) or PTH, SRT, RIT, JFK (other carriers); null for unknown booths if the file names none.",
    nullable=True,
)
_COMPLEX_ID = Column(
    "complex_id",
    pl.Int32(),
    "The MTA's ID of the station complex; null if the booth is unknown or has no complex.",
    nullable=True,
)


def _utc_offset(wall_clock: str) -> str:
    return (
        f"UTC offset of {wall_clock} in hours: -5 is standard time, -4 daylight saving time. UTC is time minus offset."
    )


_ENTRIES_DAILY = "Number of entries, without OMNY taps."
_EXITS_DAILY = "Number of exits."

TURNSTILE_READINGS: Final = Table(
    "staged",
    "turnstile_readings",
    "reading (one turnstile at one moment)",
    "The audit events of a weekly file: the values of a turnstile's two cumulative registers at one moment. "
    "There is one reading per turnstile and moment. Every data line of the file is either here or in "
    "turnstile_rejects.",
    (
        _CONTROL_AREA,
        _UNIT,
        _SCP,
        _STATION,
        _LINE_NAME,
        _DIVISION,
        Column("read_at", WALL_CLOCK, "Time of the reading, New York wall-clock time."),
        Column(
            "audit",
            pl.String(),
            "Kind of audit event, DESC in the file: REGULAR, RECOVR AUD and others; null if the file lacks it.",
            nullable=True,
        ),
        Column(
            "entries_register",
            pl.Int64(),
            "Value of the cumulative entry register; can count down or reset.",
            at_least=0,
        ),
        Column(
            "exits_register", pl.Int64(), "Value of the cumulative exit register; can count down or reset.", at_least=0
        ),
        Column("source_line", pl.Int32(), "Line number in the published file, from 1.", at_least=1),
        Column("utc_offset", pl.Int32(), _utc_offset("read_at"), if_absent=offset_of("read_at")),
    ),
    # The offset is before the time, because with this order the rows of a week prove by their order that it is a key.
    key=("control_area", "unit", "scp", "utc_offset", "read_at"),
    rules=2,
)

TURNSTILE_REJECTS: Final = Table(
    "staged",
    "turnstile_rejects",
    "rejected line, or rejected group of a legacy line",
    "Every data line (legacy layout: every group) that did not become a reading, with the reason.",
    (
        Column("source_line", pl.Int32(), "Line number in the published file, from 1.", at_least=1),
        Column(
            "source_group",
            pl.Int32(),
            "Group number within a legacy line, from 1; null in the modern layout and if the whole line is rejected.",
            nullable=True,
            at_least=1,
        ),
        Column(
            "reason",
            pl.String(),
            f"Reason for the rejection: one of {', '.join(RejectReason)}.",
            one_of=tuple(RejectReason),
        ),
        Column(
            "raw_text",
            pl.String(),
            "Text of the line or group as published, without trailing padding. Of a line "
            "that is too long, the beginning, and a mark that it is truncated.",
        ),
    ),
    rules=2,
)

_STATUSES = ", ".join(Status)

TURNSTILE_TRAFFIC: Final = Table(
    "lake",
    "turnstile_traffic",
    "turnstile × interval between two consecutive readings",
    "Number of people who passed each turnstile between two consecutive readings. A turnstile's first interval of a "
    "week starts at its last reading of the week before. Traffic with status first, reset or implausible is null: "
    "riders are never invented.",
    (
        _CONTROL_AREA,
        _UNIT,
        _SCP,
        _DIVISION,
        _COMPLEX_ID,
        Column(
            "started_at",
            WALL_CLOCK,
            "Time of the earlier reading, New York wall-clock time; null if there is none (status first).",
            nullable=True,
        ),
        Column(
            "ended_at",
            WALL_CLOCK,
            "Time of the later reading, New York wall-clock time; the interval belongs to the week of this time.",
        ),
        Column(
            "service_date",
            pl.Date(),
            "Calendar date on which the interval starts; null if there is no earlier reading.",
            nullable=True,
        ),
        Column(
            "entries",
            pl.Int64(),
            "Number of entries in the interval, without OMNY taps; null unless entries_status is ok or long_gap.",
            nullable=True,
            at_least=0,
        ),
        Column(
            "exits",
            pl.Int64(),
            "Number of exits in the interval; null unless exits_status is ok or long_gap.",
            nullable=True,
            at_least=0,
        ),
        Column("entries_status", pl.String(), f"Status of the entries: one of {_STATUSES}.", one_of=tuple(Status)),
        Column("exits_status", pl.String(), f"Status of the exits: one of {_STATUSES}.", one_of=tuple(Status)),
        Column(
            "started_utc_offset",
            pl.Int32(),
            _utc_offset("started_at"),
            nullable=True,
            if_absent=offset_of("started_at"),
        ),
        Column("ended_utc_offset", pl.Int32(), _utc_offset("ended_at"), if_absent=offset_of("ended_at")),
    ),
    key=("control_area", "unit", "scp", "ended_utc_offset", "ended_at"),
    rules=2,
)

COMPLEX_DAILY: Final = Table(
    "lake",
    "complex_daily",
    "week × station complex × service date; additive: sum over weeks to get a day's total",
    "Subway traffic per station complex and day, from intervals with status ok. The last intervals of a Friday are in "
    "the next week, so sum over weeks. Coverage is ok_seconds ÷ turnstile_seconds; sum both before you divide.",
    (
        _COMPLEX_ID,
        Column("service_date", pl.Date(), "Calendar date on which the intervals start."),
        Column("entries", pl.Int64(), _ENTRIES_DAILY, at_least=0),
        Column("exits", pl.Int64(), _EXITS_DAILY, at_least=0),
        Column("turnstile_seconds", pl.Int64(), "Total length of all turnstiles' intervals, in seconds.", at_least=0),
        Column("ok_seconds", pl.Int64(), "Total length of the intervals whose exits are ok, in seconds.", at_least=0),
    ),
    key=("complex_id", "service_date"),
    rules=2,
)

COMPLEX_HOURLY: Final = Table(
    "lake",
    "complex_hourly",
    "week × station complex × hour; additive: sum over weeks to get an hour's total",
    "Subway traffic per station complex and clock hour. Each interval with status ok is spread evenly over the hours "
    "that it covers, so the numbers are fractions.",
    (
        _COMPLEX_ID,
        Column("hour", WALL_CLOCK, "Start of the clock hour, New York wall-clock time."),
        Column("entries", pl.Float64(), _ENTRIES_DAILY, at_least=0),
        Column("exits", pl.Float64(), _EXITS_DAILY, at_least=0),
    ),
    key=("complex_id", "hour"),
    rules=2,
)

CONTROL_AREAS: Final = Table(
    "lake",
    "control_areas",
    "control area and remote unit",
    "All known booths with station, lines, division and station complex, compiled from lists that the MTA publishes.",
    (
        _CONTROL_AREA,
        _UNIT,
        Column("station", pl.String(), "Station name as written in the MTA's turnstile files."),
        Column("line_name", pl.String(), "Train lines as written in the turnstile files.", nullable=True),
        Column(
            "division", pl.String(), "BMT, IRT, IND (subway) or PTH, SRT, RIT, JFK (other carriers).", nullable=True
        ),
        Column(
            "complex_id",
            pl.Int32(),
            "The MTA's ID of the station complex; null for booths without one, such as those of PATH and AirTrain.",
            nullable=True,
        ),
    ),
    key=("control_area", "unit"),
)

STATION_COMPLEXES: Final = Table(
    "lake",
    "station_complexes",
    "station complex",
    "The MTA's station complexes with name, borough and coordinates.",
    (
        Column("complex_id", pl.Int32(), "The MTA's ID of the station complex."),
        Column("name", pl.String(), "Name that the MTA displays, such as Times Sq-42 St."),
        Column("borough", pl.String(), "Name of the borough."),
        Column("daytime_routes", pl.String(), "Routes that stop during the day, separated by spaces."),
        Column("latitude", pl.Float64(), "Latitude in degrees north."),
        Column("longitude", pl.Float64(), "Longitude in degrees east (negative in New York)."),
        Column("structure", pl.String(), "Type of structure: Subway, Elevated, Open Cut and others."),
    ),
    key=("complex_id",),
)

STAGED: Final = (TURNSTILE_READINGS, TURNSTILE_REJECTS)
"""The weekly tables that are made from a week's file."""

RIDERSHIP: Final = (TURNSTILE_TRAFFIC, COMPLEX_DAILY, COMPLEX_HOURLY)
"""The weekly tables that are made from the readings of a week and of the week before.

A week without one of them is not complete: a new table makes every week of an existing lake due.
"""

REFERENCE: Final = (CONTROL_AREAS, STATION_COMPLEXES)
"""The tables that come with the project."""

TABLES: Final = (*STAGED, *RIDERSHIP, *REFERENCE)
