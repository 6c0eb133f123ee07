"""The contracts of the turnstile tables: layer, grain, and columns with types and meaning.

The rules that they refer to are in docs/data-contract.md.
"""

from typing import Final

import polars as pl

from mta_pipeline.schema import WALL_CLOCK, Column, Table

SUBWAY_DIVISIONS: Final = ("BMT", "IRT", "IND")
"""The divisions that subway figures count; PTH, SRT, RIT and JFK are other carriers."""

BUS_CONTROL_AREA: Final = "OB01"
"""Orchard Beach: turnstiles for buses, in a subway division."""


class RejectReason:
    """Why a line, or a legacy group, did not become a reading."""

    FIELD_COUNT: Final = "field_count"
    BAD_TIMESTAMP: Final = "bad_timestamp"
    BAD_REGISTER: Final = "bad_register"
    OUTSIDE_WINDOW: Final = "outside_window"
    JUNK_HEADER: Final = "junk_header"
    DUPLICATE: Final = "duplicate"
    SUPERSEDED: Final = "superseded"
    ALL: Final = (
        FIELD_COUNT,
        BAD_TIMESTAMP,
        BAD_REGISTER,
        OUTSIDE_WINDOW,
        JUNK_HEADER,
        DUPLICATE,
        SUPERSEDED,
    )


class Status:
    """What a register's difference over one interval is worth, in order of precedence."""

    FIRST: Final = "first"
    RESET: Final = "reset"
    IMPLAUSIBLE: Final = "implausible"
    LONG_GAP: Final = "long_gap"
    OK: Final = "ok"
    ALL: Final = (FIRST, RESET, IMPLAUSIBLE, LONG_GAP, OK)
    IN_TOTALS: Final = (OK, LONG_GAP)


_CONTROL_AREA = Column("control_area", pl.String(), "Control area (booth), C/A in the file, such as A002.")
_UNIT = Column("unit", pl.String(), "Remote unit, such as R051.")
_SCP = Column(
    "scp",
    pl.String(),
    "Subunit channel position, such as 02-00-00; with control area and unit it names one turnstile.",
)
_STATION = Column("station", pl.String(), "Station name as published; it identifies nothing.", nullable=True)
_LINE_NAME = Column("line_name", pl.String(), "Train lines as published, such as NQR456W.", nullable=True)
_DIVISION = Column(
    "division",
    pl.String(),
    "BMT, IRT, IND (subway) or PTH, SRT, RIT, JFK; null in legacy files where the booth is unknown.",
    nullable=True,
)
_COMPLEX_ID = Column(
    "complex_id", pl.Int32(), "The MTA's station complex; null if the booth is unknown.", nullable=True
)
_ENTRIES_DAILY = "Traffic through entry registers; leaves out OMNY taps."
_EXITS_DAILY = "Traffic through exit registers."

TURNSTILE_READINGS: Final = Table(
    "staged",
    "turnstile_readings",
    "reading: one turnstile at one moment",
    "Every audit event of a week's file, typed: the two cumulative registers of a turnstile at a moment. "
    "One reading per turnstile and moment; with turnstile_rejects it accounts for every line.",
    (
        _CONTROL_AREA,
        _UNIT,
        _SCP,
        _STATION,
        _LINE_NAME,
        _DIVISION,
        Column("read_at", WALL_CLOCK, "When the registers were read, New York wall-clock time."),
        Column("audit", pl.String(), "The kind of audit event, DESC in the file: REGULAR, RECOVR AUD and others."),
        Column("entries_register", pl.Int64(), "Cumulative entry register; may count down and may reset.", at_least=0),
        Column("exits_register", pl.Int64(), "Cumulative exit register; may count down and may reset.", at_least=0),
        Column("source_line", pl.Int32(), "Line of the published file, counted from 1.", at_least=1),
    ),
    key=("control_area", "unit", "scp", "read_at"),
)

TURNSTILE_REJECTS: Final = Table(
    "staged",
    "turnstile_rejects",
    "rejected line, or group of a legacy line",
    "Every data line (legacy: group) that did not become a reading, with the one reason why.",
    (
        Column("source_line", pl.Int32(), "Line of the published file, counted from 1.", at_least=1),
        Column(
            "source_group",
            pl.Int32(),
            "Group within a legacy line, counted from 1; null in the modern layout and for whole lines.",
            nullable=True,
            at_least=1,
        ),
        Column("reason", pl.String(), f"One of {', '.join(RejectReason.ALL)}.", one_of=RejectReason.ALL),
        Column("raw_text", pl.String(), "The line or group as published, without padding."),
    ),
)

_STATUS = "What the difference is worth: " + ", ".join(Status.ALL) + "."

TURNSTILE_TRAFFIC: Final = Table(
    "lake",
    "turnstile_traffic",
    "turnstile × interval between two consecutive readings",
    "People through each turnstile between two consecutive readings; the first interval of a week starts at the "
    "week before's last reading. First, reset and implausible differences are null: riders are never invented.",
    (
        _CONTROL_AREA,
        _UNIT,
        _SCP,
        _DIVISION,
        _COMPLEX_ID,
        Column(
            "started_at",
            WALL_CLOCK,
            "The earlier reading; null where there is none (status first).",
            nullable=True,
        ),
        Column("ended_at", WALL_CLOCK, "The later reading; it decides the week."),
        Column(
            "service_date",
            pl.Date(),
            "Calendar date on which the interval starts; null where there is no earlier reading.",
            nullable=True,
        ),
        Column(
            "entries",
            pl.Int64(),
            "Entries in the interval; leaves out OMNY taps; null unless ok or long_gap.",
            nullable=True,
            at_least=0,
        ),
        Column("exits", pl.Int64(), "Exits in the interval; null unless ok or long_gap.", nullable=True, at_least=0),
        Column("entries_status", pl.String(), _STATUS, one_of=Status.ALL),
        Column("exits_status", pl.String(), _STATUS, one_of=Status.ALL),
    ),
    key=("control_area", "unit", "scp", "ended_at"),
)

COMPLEX_DAILY: Final = Table(
    "lake",
    "complex_daily",
    "week × station complex × service date; additive, so sum over weeks for a day's total",
    "Subway traffic per station complex and day, from intervals with status ok. A Friday's last intervals end in the "
    "next week's file: sum over weeks. Coverage is ok_seconds ÷ turnstile_seconds, after summing.",
    (
        _COMPLEX_ID,
        Column("service_date", pl.Date(), "Calendar date on which the intervals start."),
        Column("entries", pl.Int64(), _ENTRIES_DAILY, at_least=0),
        Column("exits", pl.Int64(), _EXITS_DAILY, at_least=0),
        Column("turnstile_seconds", pl.Int64(), "Seconds in all intervals of all turnstiles.", at_least=0),
        Column("ok_seconds", pl.Int64(), "Seconds in the intervals whose exits are ok.", at_least=0),
    ),
    key=("complex_id", "service_date"),
)

COMPLEX_HOURLY: Final = Table(
    "lake",
    "complex_hourly",
    "week × station complex × hour; additive, so sum over weeks for an hour's total",
    "Subway traffic per station complex and clock hour: each ok interval is spread evenly over the hours it covers.",
    (
        _COMPLEX_ID,
        Column("hour", WALL_CLOCK, "Start of the clock hour, New York wall-clock time."),
        Column("entries", pl.Float64(), _ENTRIES_DAILY, at_least=0),
        Column("exits", pl.Float64(), _EXITS_DAILY, at_least=0),
    ),
    key=("complex_id", "hour"),
)

CONTROL_AREAS: Final = Table(
    "lake",
    "control_areas",
    "control area and remote unit",
    "Every known booth with its station, lines, division and station complex, compiled from the MTA's own lists.",
    (
        _CONTROL_AREA,
        _UNIT,
        Column("station", pl.String(), "Station name as the MTA's turnstile files write it."),
        Column("line_name", pl.String(), "Train lines as the turnstile files write them.", nullable=True),
        Column("division", pl.String(), "BMT, IRT, IND (subway) or PTH, SRT, RIT, JFK.", nullable=True),
        Column("complex_id", pl.Int32(), "The MTA's station complex; null for other carriers.", nullable=True),
    ),
    key=("control_area", "unit"),
)

STATION_COMPLEXES: Final = Table(
    "lake",
    "station_complexes",
    "station complex",
    "The MTA's station complexes with name, borough and place.",
    (
        Column("complex_id", pl.Int32(), "The MTA's complex_id."),
        Column("name", pl.String(), "Name as the MTA displays it, such as Times Sq-42 St."),
        Column("borough", pl.String(), "Borough, in full."),
        Column("daytime_routes", pl.String(), "Routes that stop by day, separated by spaces."),
        Column("latitude", pl.Float64(), "Degrees north."),
        Column("longitude", pl.Float64(), "Degrees east."),
        Column("structure", pl.String(), "Subway, Elevated, Open Cut and so on."),
    ),
    key=("complex_id",),
)

STAGED: Final = (TURNSTILE_READINGS, TURNSTILE_REJECTS)
"""The weekly tables that are made from a week's file."""

RIDERSHIP: Final = (TURNSTILE_TRAFFIC, COMPLEX_DAILY, COMPLEX_HOURLY)
"""The weekly tables that are made from the readings of a week and of the week before."""

REFERENCE: Final = (CONTROL_AREAS, STATION_COMPLEXES)
"""The tables that come with the project."""

TABLES: Final = (*STAGED, *RIDERSHIP, *REFERENCE)
