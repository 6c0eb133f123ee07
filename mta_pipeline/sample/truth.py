"""The true traffic of a sample week, and the statuses that the rules of the data contract must give.

It follows from the simulated people and events, and not from the registers.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mta_pipeline.sample.audits import Readings, wall_clock
from mta_pipeline.sample.chance import Ints
from mta_pipeline.sample.people import People
from mta_pipeline.sample.turnstiles import HOUR, REGISTERS, Turnstiles
from mta_pipeline.schema import WALL_CLOCK
from mta_pipeline.turnstile.clock import offset_of
from mta_pipeline.turnstile.contract import BUS_CONTROL_AREA, SUBWAY_DIVISIONS, RejectReason, Status

TRUTH_SCHEMA: Final = {
    "control_area": pl.String(),
    "unit": pl.String(),
    "scp": pl.String(),
    "division": pl.String(),
    "complex_id": pl.Int32(),
    "started_at": WALL_CLOCK,
    "ended_at": WALL_CLOCK,
    "true_entries": pl.Int64(),
    "true_exits": pl.Int64(),
    "entries_status": pl.String(),
    "exits_status": pl.String(),
}
"""The columns of a week's truth. With status `first`, started_at and the true counts are null."""

WEEKS_SCHEMA: Final = {
    "week": pl.String(),
    "readings": pl.Int64(),
    "turnstiles": pl.Int64(),
    **{reason.value: pl.Int64() for reason in RejectReason},
    "true_entries": pl.Int64(),
    "true_exits": pl.Int64(),
    "recoverable_entries": pl.Int64(),
    "recoverable_exits": pl.Int64(),
}
"""The columns of `truth/weeks.csv`. People count only subway turnstiles. Rejects are counted by reason."""

_NONE: Final = -1


@dataclass(frozen=True)
class SampleWeek:
    """One week of a sample feed.

    `text` holds the unpacked bytes of the file. `truth` has one row per reading that the data contract keeps, by
    turnstile and time, with the columns of `TRUTH_SCHEMA`. `rejects` counts the other lines (legacy layout: groups) by
    reason. Reasons that do not occur are absent.
    """

    week: str
    text: bytes
    truth: pl.DataFrame
    rejects: dict[str, int]

    def summary(self) -> pl.DataFrame:
        """Return the week's row of `truth/weeks.csv`."""
        subway = pl.col("division").is_in(SUBWAY_DIVISIONS) & (pl.col("control_area") != BUS_CONTROL_AREA)
        recoverable = {r: subway & pl.col(f"{r}_status").is_in(Status.IN_TOTALS) for r in REGISTERS}
        return self.truth.select(
            pl.lit(self.week).alias("week"),
            pl.len().alias("readings"),
            pl.struct("control_area", "unit", "scp").n_unique().alias("turnstiles"),
            *(pl.lit(self.rejects.get(reason, 0)).alias(reason) for reason in RejectReason),
            *(pl.col(f"true_{r}").filter(subway).sum() for r in REGISTERS),
            *(pl.col(f"true_{r}").filter(recoverable[r]).sum().alias(f"recoverable_{r}") for r in REGISTERS),
        ).cast(pl.Schema(WEEKS_SCHEMA))


def truth(kept: Readings, before: Readings | None, roster: Turnstiles, people: People) -> pl.DataFrame:
    """Return the truth of a week, with the columns of `TRUTH_SCHEMA`.

    Args:
        kept: the readings that count, by turnstile and time.
        before: those of the week before, or None if it was never published.
        roster: the turnstiles.
        people: the simulated people.
    """
    starts = np.ones(kept.at.size, dtype=np.bool_)
    starts[1:] = kept.turnstile[1:] != kept.turnstile[:-1]

    def previous(now: Ints, earlier: Ints | None) -> Ints:
        carried = np.full(roster.count, _NONE)
        if before is not None and earlier is not None:
            ends = np.append(before.turnstile[1:] != before.turnstile[:-1], True)
            carried[before.turnstile[ends]] = earlier[ends]
        return np.where(starts, carried[kept.turnstile], np.roll(now, 1))

    started = previous(kept.at, before.at if before else None)
    first = started == _NONE
    columns = {"started_at": wall_clock(started), "ended_at": wall_clock(kept.at)}
    later_offset = pl.DataFrame(columns).select(offset_of("ended_at") - offset_of("started_at")).to_series()
    long = kept.at - started - HOUR * later_offset.to_numpy() > 24 * HOUR
    for register in REGISTERS:
        passed = previous(kept.passed[register], before.passed[register] if before else None)
        reset, jump = people.happened(register, kept.turnstile, started, kept.at)
        status = np.select([first, reset, jump, long], range(4), default=4)
        columns[f"true_{register}"] = pl.Series(kept.passed[register] - passed)
        columns[f"{register}_status"] = pl.Series([status.value for status in Status]).gather(status)
    unknown_at_first = pl.col("started_at", "true_entries", "true_exits")
    return (
        roster.frame[kept.turnstile]
        .with_columns(**columns, first=pl.Series(first))
        .with_columns(pl.when(~pl.col("first")).then(unknown_at_first))
        .select(*TRUTH_SCHEMA)
    )
