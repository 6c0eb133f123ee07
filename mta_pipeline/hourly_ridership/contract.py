"""Contract of the hourly ridership: what the pipeline requests from the portal, and the tables made from it.

`published`, `omny` and `entry_factor` compute the tables.
"""

import datetime as dt
from typing import Final

import polars as pl

from mta_pipeline.schema import WALL_CLOCK, Column, Table
from mta_pipeline.sources.socrata.dataset import SodaChecks, SodaColumn, SodaDataSet, SodaSource

SUBWAY: Final = "subway"
"""The transit mode that subway figures count. The data sets also hold the Staten Island Railway and the tram."""

OMNY: Final = "omny"
METROCARD: Final = "metrocard"

FIRST_OMNY_DAY: Final = dt.date(2019, 5, 1)
"""First day of the month in which OMNY started. Earlier months have no OMNY taps."""

HOURLY_RIDERSHIP: Final = SodaDataSet(
    table="hourly_ridership",
    description="Ridership per station complex, hour, payment method and fare class, as the MTA publishes it.",
    sources=(
        SodaSource(id="t69i-h2me", first=dt.date(2017, 1, 1), last=dt.date(2019, 12, 31)),
        SodaSource(id="wujg-7c2s", first=dt.date(2020, 1, 1), last=dt.date(2024, 12, 31)),
        SodaSource(id="5wq4-mkjj", first=dt.date(2025, 1, 1)),
    ),
    time_column="transit_timestamp",
    # No key: the portal has rows that agree in every column, and each of them counts.
    columns=(
        SodaColumn(
            name="transit_timestamp",
            type="timestamp",
            required=True,
            description="Start of the clock hour, New York wall-clock time.",
        ),
        SodaColumn(
            name="transit_mode",
            type="text",
            required=True,
            description="Transit mode: subway, staten_island_railway or tram.",
        ),
        SodaColumn(
            name="station_complex_id",
            type="text",
            required=True,
            description="The MTA's ID of the station complex: a number, except for the tram.",
        ),
        SodaColumn(
            name="payment_method",
            type="text",
            required=True,
            one_of=(OMNY, METROCARD),
            description="Payment method: omny or metrocard.",
        ),
        SodaColumn(
            name="fare_class_category",
            type="text",
            required=True,
            description="Payment method and fare class, such as OMNY - Seniors & Disability.",
        ),
        SodaColumn(
            name="ridership",
            type="integer",
            required=True,
            at_least=0,
            description="Number of riders who paid at the complex in the hour.",
        ),
        SodaColumn(
            name="transfers",
            type="integer",
            required=True,
            at_least=0,
            description="Number of these riders who came by a free transfer from a bus or another station.",
        ),
    ),
    checks=SodaChecks(rejects_at_most=0),
)

_COMPLEX_ID: Final = Column(
    "complex_id",
    pl.Int32(),
    "The MTA's ID of the station complex; null if the published ID is not a number.",
    nullable=True,
)
_RIDERSHIP: Final = Column("ridership", pl.Int64(), "Number of riders, all payment methods.", at_least=0)
_OMNY: Final = (
    Column("omny_ridership", pl.Int64(), "Number of these riders who tapped OMNY.", at_least=0),
    Column(
        "omny_share",
        pl.Float64(),
        "Share of riders who tapped OMNY, 0 to 1; null if there are no riders.",
        nullable=True,
        at_least=0,
        at_most=1,
    ),
)

COMPLEX_HOURLY_PUBLISHED: Final = Table(
    "lake",
    "complex_hourly_published",
    "station complex × hour",
    "Subway ridership per station complex and clock hour as the MTA publishes it, including OMNY taps. An hour in "
    "which nobody paid has no row. Each hour belongs to one week.",
    (
        _COMPLEX_ID,
        Column("hour", WALL_CLOCK, "Start of the clock hour, New York wall-clock time."),
        _RIDERSHIP,
        Column("transfers", pl.Int64(), "Number of these riders who came by a free transfer.", at_least=0),
        *_OMNY,
    ),
    key=("complex_id", "hour"),
)

OMNY_SHARE: Final = Table(
    "lake",
    "omny_share",
    "station complex × month, and whole subway × month",
    "Share of riders who tap OMNY, per station complex and month, and its variation. Turnstile entries leave these "
    "riders out. If only some days of a month are in the lake, the row covers those days.",
    (
        Column(
            "complex_id", pl.Int32(), "The MTA's ID of the station complex; null for the whole subway.", nullable=True
        ),
        Column("month", pl.Date(), "First day of the month."),
        Column("days", pl.Int32(), "Number of days in the month on which somebody paid.", at_least=1),
        _RIDERSHIP,
        *_OMNY,
        Column(
            "share_low",
            pl.Float64(),
            "5 % quantile of omny_share: for a complex over the days of the month, for the subway over complexes.",
            nullable=True,
            at_least=0,
            at_most=1,
        ),
        Column(
            "share_high",
            pl.Float64(),
            "95 % quantile of omny_share: for a complex over the days of the month, for the subway over complexes.",
            nullable=True,
            at_least=0,
            at_most=1,
        ),
    ),
    key=("complex_id", "month"),
)

LEAST_COVERAGE: Final = 0.99
"""Minimum coverage of a complex's day in entry_factor. Entries that are not counted would lower the factor."""

ENTRY_FACTOR: Final = Table(
    "lake",
    "entry_factor",
    "station complex × month, and whole subway × month",
    "Entries, without OMNY taps, that turnstiles count per MetroCard rider that the MTA publishes, and the variation. "
    "Registers also count staff and other free entries, which the MTA leaves out. Measured over the days that are "
    f"complete in both and on which the complex has a coverage of at least {LEAST_COVERAGE:.0%}.",
    (
        Column(
            "complex_id", pl.Int32(), "The MTA's ID of the station complex; null for the whole subway.", nullable=True
        ),
        Column("month", pl.Date(), "First day of the month."),
        Column("days", pl.Int32(), "Number of days of the month that are measured.", at_least=1),
        Column("entries", pl.Int64(), "Number of entries, without OMNY taps, on these days.", at_least=0),
        Column(
            "metrocard_ridership",
            pl.Int64(),
            "Number of MetroCard riders on these days that the MTA publishes.",
            at_least=0,
        ),
        Column(
            "factor",
            pl.Float64(),
            "entries ÷ metrocard_ridership; null if there are no MetroCard riders.",
            nullable=True,
            at_least=0,
        ),
        Column(
            "factor_low",
            pl.Float64(),
            "5 % quantile of factor: for a complex over the days of the month, for the subway over complexes.",
            nullable=True,
            at_least=0,
        ),
        Column(
            "factor_high",
            pl.Float64(),
            "95 % quantile of factor: for a complex over the days of the month, for the subway over complexes.",
            nullable=True,
            at_least=0,
        ),
    ),
    key=("complex_id", "month"),
)

TABLES: Final = (HOURLY_RIDERSHIP.staged, HOURLY_RIDERSHIP.rejects, COMPLEX_HOURLY_PUBLISHED, OMNY_SHARE, ENTRY_FACTOR)
