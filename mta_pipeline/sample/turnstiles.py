"""The turnstiles of a sample feed: who they are, how busy, when they are audited, and how their registers begin.

Identities of booths are real, everything else is made up. What happens over the weeks belongs to `people`.
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
"""Where a register that counts down starts: the most that nine digits hold."""

WELL_KNOWN: Final = (611, 610, 602, 607, 164, 318, 614, 628, 617, 616, 447, 604)
"""Complexes a reader knows, Times Sq and Grand Central first; they are busy, and in small feeds too."""

_SHARES: Final = {"well-known": 0.45, "other carriers": 0.08, "others": 0.47}
_AUDIT_STARTS: Final = (3 * HOUR, 0, HOUR, 2 * HOUR, 3 * HOUR + 22 * 60, HOUR + 30 * 60)
_AUDIT_SHARES: Final = (0.53, 0.40, 0.03, 0.02, 0.01, 0.01)
_PATH_STEP: Final = 4 * HOUR + 12 * 60
_ARRAYS: Final = ("00", "03", "05", "06")


@dataclass(frozen=True)
class Turnstiles:
    """The roster; all arrays have one element per turnstile, in file order (control area, unit, scp).

    `frame` holds control_area, unit, scp, station, line_name, division, complex_id. The rest: people per week and the
    share of them who come as business does (entries in the evening), per register; seconds between audits and seconds
    from a week's start to the first; +1 or -1 and the first value, per register.
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
        """How many there are."""
        return self.frame.height


def choose(booths: pl.DataFrame, turnstiles: int, seed: int, faults: Faults) -> Turnstiles:
    """Draw a roster of so many turnstiles from `booths` (the contract's control_areas; incomplete ones are left out).

    Raises:
        ValueError: there is no booth to choose from, or too many turnstiles for them.
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
    # PATH's turnstiles are audited each at its own second.
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
    """The booths that are in the feed, with their number of turnstiles and how busy each of these is (people a week).

    Well-known complexes, other carriers and the rest are dealt in turn, by their shares, so that a small feed has some
    of each.
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
    # Where the booths are too few for the feed, all of them grow.
    so_far = (pl.col("wanted").cum_sum() * max(turnstiles, total) // total).clip(upper_bound=turnstiles)
    return dealt.with_columns(turnstiles=so_far - so_far.shift(fill_value=0)).filter(pl.col("turnstiles") > 0)


def _heavy_tail(u: Floats) -> Floats:
    """Uniform numbers made log-logistic: median 1, a few six times that."""
    u = 0.03 + 0.94 * u
    return np.asarray(np.sqrt(u / (1.0 - u)))
