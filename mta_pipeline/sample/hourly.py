"""The hourly ridership of a sample: what the MTA would publish for the people who pass the sample's turnstiles.

Entry registers count riders with a MetroCard, and people who enter free, whom the MTA leaves out: `entry_factor_of` is
the ratio per complex. Riders who tap OMNY are added, with a share per complex and month. Therefore an estimate from the
registers, that share and that factor agrees with the published ridership by construction.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl

from mta_pipeline.hourly_ridership.contract import FIRST_OMNY_DAY, HOURLY_RIDERSHIP, METROCARD, OMNY, SUBWAY
from mta_pipeline.sample.audits import wall_clock
from mta_pipeline.sample.chance import Chance, Floats, Ints
from mta_pipeline.sample.people import EPOCH, WEEK, People
from mta_pipeline.sample.turnstiles import HOUR, Turnstiles
from mta_pipeline.sources.socrata.staging import hours_of
from mta_pipeline.turnstile.complexes import station_complexes
from mta_pipeline.turnstile.contract import BUS_CONTROL_AREA, SUBWAY_DIVISIONS
from mta_pipeline.weeks import week_start

_FARES: Final = {METROCARD: ("Metrocard - Full Fare", "Metrocard - Other"), OMNY: ("OMNY - Full Fare", "OMNY - Other")}
_LEAST, _MOST = 0.2, 0.7
_MOST_FREE: Final = 0.03
"""Maximum number of free entries per MetroCard rider."""


def published_hours(week: str, roster: Turnstiles, people: People, seed: int) -> pl.DataFrame:
    """Return the portal's rows of a week, sorted. An hour without riders of a payment method and fare class has no row.

    Columns: transit_timestamp, transit_mode, station_complex_id, payment_method, fare_class_category, ridership,
    transfers.
    """
    start = (week_start(week) - EPOCH).days * 24 * HOUR
    counted = roster.frame.with_row_index("turnstile").filter(
        pl.col("division").is_in(SUBWAY_DIVISIONS)
        & (pl.col("control_area") != BUS_CONTROL_AREA)
        & pl.col("complex_id").is_not_null()
    )
    turnstile = counted["turnstile"].to_numpy().astype(np.int64)
    edges = start + np.arange(0, WEEK + HOUR, HOUR)
    passed = people.passed("entries", np.repeat(turnstile, edges.size), np.tile(edges, turnstile.size))
    entries = np.diff(passed.reshape(turnstile.size, edges.size), axis=1)
    hours = wall_clock(edges[:-1])
    real = hours_of(week_start(week))
    by_register = (
        pl.DataFrame(
            {
                "complex_id": np.repeat(counted["complex_id"].to_numpy(), hours.len()),
                "hour": pl.concat([hours] * turnstile.size),
                "entries": entries.ravel(),
            }
        )
        # Move people from the hour that is skipped in spring to the next hour.
        .with_columns(
            hour=pl.when(pl.col("hour").is_in(real.implode())).then("hour").otherwise(pl.col("hour").dt.offset_by("1h"))
        )
        .group_by("complex_id", "hour")
        .agg(pl.col("entries").sum())
        .sort("complex_id", "hour")
    )
    by_card = by_register.with_columns(pl.Series(METROCARD, _cards(by_register, seed)))
    tapped = by_card.with_columns(pl.Series(OMNY, _taps(by_card, seed)))
    rows = tapped.unpivot(
        [METROCARD, OMNY], index=["complex_id", "hour"], variable_name="payment_method", value_name="riders"
    )
    others = pl.col("riders") // 7
    fares = [
        rows.with_columns(
            fare_class_category=pl.col("payment_method").replace_strict(
                {way: names[nth] for way, names in _FARES.items()}
            ),
            ridership=others if nth else pl.col("riders") - others,
        )
        for nth in (0, 1)
    ]
    return (
        pl.concat(fares)
        .filter(pl.col("ridership") > 0)
        .select(
            transit_timestamp="hour",
            transit_mode=pl.lit(SUBWAY),
            station_complex_id=pl.col("complex_id").cast(pl.String),
            payment_method="payment_method",
            fare_class_category="fare_class_category",
            ridership="ridership",
            transfers=pl.col("ridership") // 10,
        )
        .sort("transit_timestamp", "station_complex_id", "fare_class_category")
    )


def data_sets(hours: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
    """Return the portal's data sets by id.

    They are the rows of `published_hours`, split as at the real portal; daily ridership; and the stations. Columns that
    the sample does not know are null.
    """
    day = pl.col("transit_timestamp").dt.date()
    daily = hours.group_by(date=day).agg(subways_total_estimated_ridership=pl.col("ridership").sum()).sort("date")
    unknown = (
        "subways_of_comparable_pre_pandemic_day",
        "buses_total_estimated_ridersip",
        "bridges_and_tunnels_total_traffic",
    )
    borough = {"Manhattan": "M", "Bronx": "Bx", "Brooklyn": "Bk", "Queens": "Q", "Staten Island": "SI"}
    stations = station_complexes().select(
        pl.format("S{}", "complex_id").alias("gtfs_stop_id"),
        pl.col("complex_id").alias("station_id"),
        "complex_id",
        *(pl.lit(None, pl.String).alias(name) for name in ("division", "line", "cbd")),
        pl.col("name").alias("stop_name"),
        pl.col("borough").replace_strict(borough),
        "daytime_routes",
        "structure",
        pl.col("latitude").alias("gtfs_latitude"),
        pl.col("longitude").alias("gtfs_longitude"),
    )
    return {
        **{
            source.id: hours.filter(day.is_between(source.first or dt.date.min, source.last or dt.date.max))
            for source in HOURLY_RIDERSHIP.sources
        },
        "vxuj-8kew": daily.with_columns(pl.lit(None, pl.Int64).alias(name) for name in unknown),
        "39hk-dx4f": stations,
    }


def omny_share_of(complex_id: pl.Series, month: pl.Series, seed: int) -> pl.Series:
    """Return the sample's OMNY share of complexes and months; 0 before OMNY started."""
    number = month.dt.year().cast(pl.Int64) * 12 + month.dt.month()
    drawn = Chance(seed, "omny share").uniform(complex_id.to_numpy(), number.to_numpy())
    share = pl.Series(_LEAST + (_MOST - _LEAST) * drawn)
    before = month < dt.date(FIRST_OMNY_DAY.year, FIRST_OMNY_DAY.month, 1)
    return share.set(before, 0.0)


def entry_factor_of(complex_id: pl.Series, seed: int) -> pl.Series:
    """Return how many entries the registers of complexes count per MetroCard rider."""
    return pl.Series(1 + _MOST_FREE * Chance(seed, "free entries").uniform(complex_id.to_numpy()))


def _cards(by_register: pl.DataFrame, seed: int) -> Ints:
    """The riders with a MetroCard among the entries."""
    factor = entry_factor_of(by_register["complex_id"], seed).to_numpy()
    return _rounded(by_register["entries"].to_numpy() / factor, by_register, seed, "metrocard rounding")


def _taps(by_card: pl.DataFrame, seed: int) -> Ints:
    """The riders who tap OMNY, besides those with a MetroCard."""
    share = omny_share_of(by_card["complex_id"], by_card["hour"].dt.date(), seed).to_numpy()
    wanted = by_card[METROCARD].to_numpy() * share / (1 - share)
    return _rounded(wanted, by_card, seed, "omny rounding")


def _rounded(wanted: Floats, by_hour: pl.DataFrame, seed: int, purpose: str) -> Ints:
    """Round at random, so that shares and factors of a month are right on average. Whole numbers stay."""
    hour = by_hour["hour"].dt.epoch("s").to_numpy() // HOUR
    chance = Chance(seed, purpose).uniform(by_hour["complex_id"].to_numpy(), hour)
    return np.asarray(np.floor(wanted + chance), dtype=np.int64)
