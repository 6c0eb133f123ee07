"""The turnstiles of a sample feed: their identity, ridership, audit times and initial registers.

Booths are real, everything else is synthetic. `people` simulates the weeks.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mta_pipeline.sample.chance import Chance, Floats, Ints
from mta_pipeline.sample.faults import Faults
from mta_pipeline.turnstile.contract import SUBWAY_DIVISIONS

HOUR: Final = 3600
REGISTERS: Final = ("entries", "exits")
TOP: Final = 999_999_999
"""Initial value of a register that counts down: the largest number with nine digits."""

WELL_KNOWN: Final = (611, 610, 602, 607, 164, 318, 614, 628, 617, 616, 447, 604)
"""Well-known complexes, Times Sq and Grand Central first. They are busy, and small feeds have them too."""

_SHARES: Final = {"well-known": 0.45, "other carriers": 0.08, "others": 0.47}
_AUDIT_STARTS: Final = (3 * HOUR, 0, HOUR, 2 * HOUR, 3 * HOUR + 22 * 60, HOUR + 30 * 60)
_AUDIT_SHARES: Final = (0.53, 0.40, 0.03, 0.02, 0.01, 0.01)
_PATH_STEP: Final = 4 * HOUR + 12 * 60
_ARRAYS: Final = ("00", "03", "05", "06")


@dataclass(frozen=True)
class Turnstiles:
    """The roster. Arrays have one element per turnstile, in file order (control area, unit, SCP).

    `frame` holds control_area, unit, scp, station, line_name, division, complex_id. `per_week`: people per week.
    `business`: share of the people who follow business hours (entries in the evening). `audit_step`: seconds between
    audits. `audit_start`: seconds from the start of a week to its first audit. `direction`: +1 or -1. `first_value`:
    initial value. All except the audit times are per register.
    """

    frame: pl.DataFrame
    per_week: dict[str, Floats]
    business: dict[str, Floats]
    audit_step: Ints
    audit_start: Ints
    direction: dict[str, Ints]
    first_value: dict[str, Ints]

    @property
    def count(self) -> int:
        """The number of turnstiles."""
        return self.frame.height


def choose(booths: pl.DataFrame, turnstiles: int, seed: int, faults: Faults) -> Turnstiles:
    """Draw a roster of this many turnstiles from `booths` (columns of control_areas). Incomplete booths are left out.

    Raises:
        ValueError: there are no complete booths, or too few for this many turnstiles.
    """
    named = booths.drop_nulls(["station", "line_name", "division"])
    if named.is_empty() or not 1 <= turnstiles <= 100 * named.height:
        raise ValueError(f"{turnstiles} turnstiles cannot be spread over {named.height} booths")
    chosen = _booths(named.sort("control_area", "unit"), turnstiles, seed)
    frame = (
        chosen.with_columns(n=pl.int_ranges("turnstiles"))
        .explode("n")
        .with_columns(
            scp=pl.format(
                "{}-{}-{}",
                (pl.col("n") // 16).cast(pl.String).str.zfill(2),
                (pl.col("n") // 4 % 4).replace_strict(dict(enumerate(_ARRAYS))),
                (pl.col("n") % 4).cast(pl.String).str.zfill(2),
            )
        )
        .sort("control_area", "unit", "scp")
    )
    n = np.arange(frame.height)
    booth = frame["booth"].to_numpy().astype(np.int64)
    path = (frame["division"] == "PTH").to_numpy()
    quick = Chance(seed, "quarter hour").uniform(booth) < faults.quarter_hour
    step = np.where(quick, HOUR // 4, np.where(path, _PATH_STEP, 4 * HOUR))
    phase = np.searchsorted(np.cumsum(_AUDIT_SHARES), Chance(seed, "audit phase").uniform(booth), side="right")
    start = np.array(_AUDIT_STARTS)[np.minimum(phase, len(_AUDIT_STARTS) - 1)]
    # Each turnstile of PATH is audited at its own second.
    start = np.where(path, Chance(seed, "path phase").below(_PATH_STEP, n), start) % step

    idle = Chance(seed, "idle").uniform(n) < 0.02
    per_week, direction, first_value = {}, {}, {}
    for register in REGISTERS:
        share = 0.3 + 1.4 * Chance(seed, f"share of {register}").uniform(n)
        people = np.clip(np.floor(frame["booth_people"].to_numpy() * share), 120.0, 20_000.0)
        per_week[register] = np.where(idle, 0.0, people)
        down = Chance(seed, f"{register} count down").uniform(n) < faults.count_down
        direction[register] = np.where(down, -1, 1)
        distance = 1_000_000 + Chance(seed, f"first {register}").below(39_000_000, n)
        first_value[register] = np.where(down, TOP - distance, distance)
    business = Chance(seed, "business").uniform(booth)
    return Turnstiles(
        frame=frame.select("control_area", "unit", "scp", "station", "line_name", "division", "complex_id"),
        per_week=per_week,
        business={"entries": business, "exits": 1.0 - business},
        audit_step=step,
        audit_start=start,
        direction=direction,
        first_value=first_value,
    )


def _booths(named: pl.DataFrame, turnstiles: int, seed: int) -> pl.DataFrame:
    """The booths of the feed, with their numbers of turnstiles and the people per week at each turnstile.

    Booths of well-known complexes, other carriers and the rest are taken in turn, by their shares, so that small feeds
    have some of each.
    """
    index = np.arange(named.height)
    complexes = named["complex_id"].fill_null(0).to_numpy().astype(np.int64)
    size = _heavy_tail(Chance(seed, "complex size").uniform(complexes))
    kind = (
        pl.when(pl.col("complex_id").is_in(WELL_KNOWN))
        .then(pl.lit("well-known"))
        .when(~pl.col("division").is_in(SUBWAY_DIVISIONS))
        .then(pl.lit("other carriers"))
        .otherwise(pl.lit("others"))
    )
    dealt = (
        named.with_columns(
            booth=pl.Series(index),
            wanted=pl.Series(3 + Chance(seed, "booth size").below(10, index)),
            draw=pl.Series(Chance(seed, "booth").uniform(index)),
            kind=kind,
            booth_people=pl.Series(1300.0 * size),
        )
        .with_columns(
            booth_people=pl.col("booth_people") * pl.when(pl.col("kind") == "well-known").then(2.0).otherwise(1.0)
        )
        .with_columns(turn=(pl.col("draw").rank("ordinal").over("kind") - 0.5) / pl.col("kind").replace_strict(_SHARES))
        .sort("turn", "booth")
    )
    total = int(dealt["wanted"].sum())
    # If there are too few booths for the feed, enlarge all of them.
    so_far = (pl.col("wanted").cum_sum() * max(turnstiles, total) // total).clip(upper_bound=turnstiles)
    return dealt.with_columns(turnstiles=so_far - so_far.shift(fill_value=0)).filter(pl.col("turnstiles") > 0)


def _heavy_tail(u: Floats) -> Floats:
    """Convert uniform numbers to a log-logistic distribution: the median is 1, and a few values are about 6."""
    u = 0.03 + 0.94 * u
    return np.asarray(np.sqrt(u / (1.0 - u)))
