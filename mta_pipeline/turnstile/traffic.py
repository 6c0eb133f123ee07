"""From readings to traffic: rules 3 to 6 of the contract.

People are counted by differences between a turnstile's consecutive readings, judged by a status per register.
Sums per station complex belong to `ridership`.
"""

from typing import Final

import polars as pl

from mta_pipeline.turnstile.contract import TURNSTILE_TRAFFIC, Status
from mta_pipeline.turnstile.readings import TURNSTILE, starts_turnstile

BUSY_RATE: Final = 0.5
"""People per second that a turnstile may pass for the first `BUSY_SECONDS` of an interval."""
BUSY_SECONDS: Final = 16_200
SUSTAINED_RATE: Final = 0.1
"""People per second beyond that."""
LONG_GAP_SECONDS: Final = 24 * 3600

_REGISTERS: Final = ("entries", "exits")
_CARRIED: Final = ("read_at", "entries_register", "exits_register")


def traffic(readings: pl.DataFrame, week_before: pl.DataFrame | None, control_areas: pl.DataFrame) -> pl.DataFrame:
    """The traffic of one week: a row per reading, with the people since the turnstile's reading before it.

    Args:
        readings: the week's turnstile_readings, each turnstile's together and in time order.
        week_before: the same of the week before, or None if there is none; without it every turnstile
            begins with status `first`.
        control_areas: the table of that name, which gives the station complex.

    Returns:
        turnstile_traffic, in the order of `readings`.
    """
    booths = control_areas.select("control_area", "unit", "complex_id")
    paired = _with_reading_before(readings, last_readings(readings.clear() if week_before is None else week_before))
    return (
        paired.with_columns(seconds=(pl.col("read_at") - pl.col("started_at")).dt.total_seconds())
        .with_columns(_difference(register).alias(register) for register in _REGISTERS)
        .with_columns(_status(register).alias(f"{register}_status") for register in _REGISTERS)
        .with_columns(
            pl.when(pl.col(f"{register}_status").is_in(Status.IN_TOTALS)).then(register).alias(register)
            for register in _REGISTERS
        )
        .join(booths, on=("control_area", "unit"), how="left", maintain_order="left")
        .rename({"read_at": "ended_at"})
        .with_columns(service_date=pl.col("started_at").dt.date())
        .select(*TURNSTILE_TRAFFIC.schema)
    )


def last_readings(readings: pl.DataFrame) -> pl.DataFrame:
    """The last reading of each turnstile (what the next week carries in), of readings in order."""
    ends = pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift(-1)) for c in TURNSTILE)
    return readings.filter(ends).select(*TURNSTILE, *_CARRIED)


def _with_reading_before(readings: pl.DataFrame, carried: pl.DataFrame) -> pl.DataFrame:
    """Put each reading's predecessor beside it (started_at, *_before): the row above, or the carried one."""
    numbered = readings.with_columns(starts=starts_turnstile()).with_columns(turnstile=pl.col("starts").cum_sum())
    before = ("started_at", "entries_before", "exits_before")
    first = (
        numbered.filter("starts")
        .select("turnstile", *TURNSTILE)
        .join(carried.rename(dict(zip(_CARRIED, before, strict=True))), on=TURNSTILE, how="left", maintain_order="left")
    )
    carried_in = (first[c].gather(numbered["turnstile"] - 1) for c in before)
    return numbered.with_columns(
        pl.when("starts").then(carry).otherwise(pl.col(column).shift()).alias(carry.name)
        for column, carry in zip(_CARRIED, carried_in, strict=True)
    )


def _difference(register: str) -> pl.Expr:
    """Register difference times the register's direction: its majority of rises over falls, ties counting up."""
    difference = pl.col(f"{register}_register") - pl.col(f"{register}_before")
    counts_down = difference.sign().sum().over("turnstile") < 0
    return pl.when(counts_down).then(-difference).otherwise(difference)


def _status(register: str) -> pl.Expr:
    seconds = pl.col("seconds")
    busy = seconds.clip(upper_bound=BUSY_SECONDS)
    most = busy * BUSY_RATE + (seconds - busy) * SUSTAINED_RATE
    return (
        pl.when(pl.col(register).is_null())
        .then(pl.lit(Status.FIRST))
        .when(pl.col(register) < 0)
        .then(pl.lit(Status.RESET))
        .when(pl.col(register) > most)
        .then(pl.lit(Status.IMPLAUSIBLE))
        .when(seconds > LONG_GAP_SECONDS)
        .then(pl.lit(Status.LONG_GAP))
        .otherwise(pl.lit(Status.OK))
    )
