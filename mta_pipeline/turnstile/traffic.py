"""Computes traffic from readings: rules 3 to 6 of the data contract.

Traffic is the difference between a turnstile's consecutive readings. Each register has its own status.
`ridership` sums traffic per station complex.
"""

from typing import Final

import polars as pl

from mta_pipeline.turnstile.clock import elapsed_seconds
from mta_pipeline.turnstile.contract import TURNSTILE_TRAFFIC, Status
from mta_pipeline.turnstile.readings import TURNSTILE, starts_turnstile

PLAUSIBLE_BUSY_RATE: Final = 0.5
"""Plausible people per second and turnstile for the first `PLAUSIBLE_BUSY_SECONDS` of an interval (rule 5)."""
PLAUSIBLE_BUSY_SECONDS: Final = 16_200
PLAUSIBLE_SUSTAINED_RATE: Final = 0.1
"""Plausible people per second after `PLAUSIBLE_BUSY_SECONDS`."""
LONG_GAP_SECONDS: Final = 24 * 3600

_REGISTERS: Final = ("entries", "exits")
_CARRIED: Final = ("read_at", "utc_offset", "entries_register", "exits_register")
_BOOTH: Final = ("control_area", "unit")

COLUMNS: Final = (*TURNSTILE, "division", *_CARRIED)
"""The columns of turnstile_readings that `traffic` uses."""


def traffic(readings: pl.DataFrame, week_before: pl.DataFrame | None, control_areas: pl.DataFrame) -> pl.DataFrame:
    """Return a week's turnstile_traffic: one row per reading, with the people since the turnstile's previous reading.

    Args:
        readings: the week's turnstile_readings, grouped by turnstile and in time order within each.
        week_before: the readings of the week before in the same order, or None if there are none. Without it,
            every turnstile's first interval has status `first` (rule 3).
        control_areas: the table control_areas, which maps booths to station complexes.

    Returns:
        turnstile_traffic, in the order of `readings`.
    """
    carried = last_readings(readings.clear() if week_before is None else week_before)
    paired = _with_reading_before(readings, carried, control_areas)
    return (
        paired.rename({"read_at": "ended_at", "utc_offset": "ended_utc_offset"})
        .with_columns(seconds=elapsed_seconds())
        .with_columns(_difference(register).alias(register) for register in _REGISTERS)
        .with_columns(_status(register).alias(f"{register}_status") for register in _REGISTERS)
        .with_columns(
            pl.when(pl.col(f"{register}_status").is_in(Status.IN_TOTALS)).then(register).alias(register)
            for register in _REGISTERS
        )
        .with_columns(service_date=pl.col("started_at").dt.date())
        .select(*TURNSTILE_TRAFFIC.schema)
    )


def last_readings(readings: pl.DataFrame) -> pl.DataFrame:
    """Return the last reading of each turnstile (the carry-in of the next week). `readings` must be in order."""
    ends = pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift(-1)) for c in TURNSTILE)
    return readings.filter(ends).select(*TURNSTILE, *_CARRIED)


def _with_reading_before(readings: pl.DataFrame, carried: pl.DataFrame, control_areas: pl.DataFrame) -> pl.DataFrame:
    """Add each reading's complex_id and its previous reading (started_*, *_before): the row above or the carry-in.

    Also adds `turnstile`, a turnstile number that counts from 1.
    """
    numbered = readings.with_columns(starts=starts_turnstile()).with_columns(
        turnstile=pl.col("starts").cum_sum().set_sorted()
    )
    before = ("started_at", "started_utc_offset", "entries_before", "exits_before")
    # A turnstile has about fifty readings, so join once per turnstile and not once per reading.
    first = (
        numbered.filter("starts")
        .select(TURNSTILE)
        .join(carried.rename(dict(zip(_CARRIED, before, strict=True))), on=TURNSTILE, how="left", maintain_order="left")
        .join(control_areas, on=_BOOTH, how="left", maintain_order="left")
        .select(*before, "complex_id")[numbered["turnstile"] - 1]
    )
    return numbered.with_columns(
        *(
            pl.when("starts").then(first[carry]).otherwise(pl.col(column).shift()).alias(carry)
            for column, carry in zip(_CARRIED, before, strict=True)
        ),
        first["complex_id"],
    )


def _difference(register: str) -> pl.Expr:
    """Register difference times the register's direction (rule 4). On a tie, the register counts up."""
    difference = pl.col(f"{register}_register") - pl.col(f"{register}_before")
    counts_down = difference.sign().sum().over("turnstile") < 0
    return pl.when(counts_down).then(-difference).otherwise(difference)


def _status(register: str) -> pl.Expr:
    seconds = pl.col("seconds")
    busy = seconds.clip(upper_bound=PLAUSIBLE_BUSY_SECONDS)
    most = busy * PLAUSIBLE_BUSY_RATE + (seconds - busy) * PLAUSIBLE_SUSTAINED_RATE
    return (
        pl.when(pl.col(register).is_null())
        .then(pl.lit(Status.FIRST))
        .when(pl.col(register) < 0)
        .then(pl.lit(Status.RESET))
        .when((pl.col(register) > most) | (seconds == 0))
        .then(pl.lit(Status.IMPLAUSIBLE))
        .when(seconds > LONG_GAP_SECONDS)
        .then(pl.lit(Status.LONG_GAP))
        .otherwise(pl.lit(Status.OK))
    )
