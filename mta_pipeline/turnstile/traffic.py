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
_BOOTH: Final = ("control_area", "unit")

COLUMNS: Final = (*TURNSTILE, "division", *_CARRIED)
"""What traffic needs of readings."""


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
    carried = last_readings(readings.clear() if week_before is None else week_before)
    paired = _with_reading_before(readings, carried, control_areas)
    return (
        paired.with_columns(seconds=(pl.col("read_at") - pl.col("started_at")).dt.total_seconds())
        .with_columns(_difference(register).alias(register) for register in _REGISTERS)
        .with_columns(_status(register).alias(f"{register}_status") for register in _REGISTERS)
        .with_columns(
            pl.when(pl.col(f"{register}_status").is_in(Status.IN_TOTALS)).then(register).alias(register)
            for register in _REGISTERS
        )
        .rename({"read_at": "ended_at"})
        .with_columns(service_date=pl.col("started_at").dt.date())
        .select(*TURNSTILE_TRAFFIC.schema)
    )


def last_readings(readings: pl.DataFrame) -> pl.DataFrame:
    """The last reading of each turnstile (what the next week carries in), of readings in order."""
    ends = pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift(-1)) for c in TURNSTILE)
    return readings.filter(ends).select(*TURNSTILE, *_CARRIED)


def _with_reading_before(readings: pl.DataFrame, carried: pl.DataFrame, control_areas: pl.DataFrame) -> pl.DataFrame:
    """Put beside each reading its complex and its predecessor (started_at, *_before), the row above or the carried one.

    Adds `turnstile`, too, which counts turnstiles from 1.
    """
    numbered = readings.with_columns(starts=starts_turnstile()).with_columns(
        turnstile=pl.col("starts").cum_sum().set_sorted()
    )
    before = ("started_at", "entries_before", "exits_before")
    # There are fifty readings to a turnstile: what is looked up is looked up once for each.
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
