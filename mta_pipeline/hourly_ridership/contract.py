"""The hourly feed's contract, in code: what is taken from the portal, and the tables that are made of it.

How they are computed is said in `published` and `omny`.
"""

import datetime as dt
from typing import Final

import polars as pl

from mta_pipeline.schema import WALL_CLOCK, Column, Table
from mta_pipeline.sources.socrata.dataset import SodaColumn, SodaDataSet, SodaSource

SUBWAY: Final = "subway"
"""The transit mode that subway figures count; the feed has the Staten Island Railway and the tram, too."""

OMNY: Final = "omny"
METROCARD: Final = "metrocard"

FIRST_OMNY_DAY: Final = dt.date(2019, 5, 1)
"""Before this month nobody tapped."""

HOURLY_RIDERSHIP: Final = SodaDataSet(
    table="hourly_ridership",
    description="Ridership per station complex, hour, payment method and fare class, as the MTA publishes it.",
    sources=(
        SodaSource(id="t69i-h2me", first=dt.date(2017, 1, 1), last=dt.date(2019, 12, 31)),
        SodaSource(id="wujg-7c2s", first=dt.date(2020, 1, 1), last=dt.date(2024, 12, 31)),
        SodaSource(id="5wq4-mkjj", first=dt.date(2025, 1, 1)),
    ),
    time_column="transit_timestamp",
    # No key: the portal has rows that agree in every column, and all of them count.
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
            description="subway, staten_island_railway or tram.",
        ),
        SodaColumn(
            name="station_complex_id",
            type="text",
            required=True,
            description="The MTA's station complex: a number, but for the tram.",
        ),
        SodaColumn(
            name="payment_method",
            type="text",
            required=True,
            one_of=(OMNY, METROCARD),
            description="omny or metrocard.",
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
            description="Riders who paid at the complex in the hour.",
        ),
        SodaColumn(
            name="transfers",
            type="integer",
            required=True,
            at_least=0,
            description="Those of them who came by a free transfer from a bus or another station.",
        ),
    ),
)

_COMPLEX_ID: Final = Column(
    "complex_id", pl.Int32(), "The MTA's station complex; null where the id is no number.", nullable=True
)
_RIDERSHIP: Final = Column("ridership", pl.Int64(), "Riders, however they paid.", at_least=0)
_OMNY: Final = (
    Column("omny_ridership", pl.Int64(), "Those of them who tapped OMNY.", at_least=0),
    Column(
        "omny_share",
        pl.Float64(),
        "Share, 0 to 1, of OMNY; null without riders.",
        nullable=True,
        at_least=0,
        at_most=1,
    ),
)

COMPLEX_HOURLY_PUBLISHED: Final = Table(
    "lake",
    "complex_hourly_published",
    "station complex × hour",
    "Subway ridership per station complex and clock hour as the MTA publishes it, with OMNY taps. An hour in which "
    "nobody paid has no row. Each hour is in one week.",
    (
        _COMPLEX_ID,
        Column("hour", WALL_CLOCK, "Start of the clock hour, New York wall-clock time."),
        _RIDERSHIP,
        Column("transfers", pl.Int64(), "Those of them who came by a free transfer.", at_least=0),
        *_OMNY,
    ),
    key=("complex_id", "hour"),
)

OMNY_SHARE: Final = Table(
    "lake",
    "omny_share",
    "station complex × month; and the whole subway × month",
    "Which share of riders taps OMNY, by complex and month, with how far it varies: what turnstile entries lack. "
    "Months of which only some days are in the lake are of those days.",
    (
        Column("complex_id", pl.Int32(), "The MTA's station complex; null is the whole subway.", nullable=True),
        Column("month", pl.Date(), "The month's first day."),
        Column("days", pl.Int32(), "Days of the month on which anybody paid here.", at_least=1),
        _RIDERSHIP,
        *_OMNY,
        Column(
            "share_low",
            pl.Float64(),
            "Of a complex, the share that nineteen days of twenty exceed; of the subway, that complexes do.",
            nullable=True,
            at_least=0,
            at_most=1,
        ),
        Column(
            "share_high",
            pl.Float64(),
            "Of a complex, the share that nineteen days of twenty stay below; of the subway, that complexes do.",
            nullable=True,
            at_least=0,
            at_most=1,
        ),
    ),
    key=("complex_id", "month"),
)

TABLES: Final = (HOURLY_RIDERSHIP.staged, HOURLY_RIDERSHIP.rejects, COMPLEX_HOURLY_PUBLISHED, OMNY_SHARE)
