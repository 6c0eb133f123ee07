"""Many weeks of a table as one value: what an asset gives (WeeklyFrames) and what it gets (WeeklyInputs).

Both go week by week in bounded memory, whether a run covers one week or all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from threading import Lock
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import dagster as dg
import polars as pl

from mta_pipeline.lake.parquet import Frame
from mta_pipeline.telemetry.tracing import Span, span

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class WeekOutput(NamedTuple):
    """One week of an asset's output, and what the catalogue shall show about it.

    No frame says that there is nothing to write for the week (it was never published, or is complete): a file from an
    earlier run stays. Metadata `outcome` that says why is welcome.
    """

    week: str
    frame: "Frame | None"
    metadata: Mapping[str, Any] = _NOTHING
    made_from: str | None = None
    """Which published contents the frame was made from; kept in its file, see WeeklyInputs.made_from."""
    made_from_now: Callable[[], str | None] | None = None
    """Which ones it would be made from now. Where that is no longer `made_from`, another run has renewed what the frame
    was made from, and it is not written: a slow run never puts its table over that of a faster one."""
    traced: Span | None = None
    """The span of its making; that of its writing goes inside."""


class WeeklyFrames:
    """The weeks of a run, each written as soon as it is yielded. Takes `WeekOutput`s or (week, frame) pairs, once.

    Weeks may come in any order. One of the run that does not come counts as one without data.
    """

    def __init__(self, weeks: "Iterable[WeekOutput | tuple[str, Frame | None]]") -> None:
        self._weeks = weeks

    def __iter__(self) -> Iterator[WeekOutput]:
        return (WeekOutput(*week) for week in self._weeks)


class MissingInputError(dg.Failure, KeyError):
    """A table, or a week of it, that is not in the lake. A Failure that is not retried: waiting does not bring it."""

    def __init__(self, description: str) -> None:
        super().__init__(description=description, allow_retries=False)

    __str__ = Exception.__str__  # KeyError's would put it in quotes.


def _read(scan: Callable[[str], pl.LazyFrame], week: str) -> pl.DataFrame:
    with span("read", week=week) as traced:
        frame = scan(week).collect()
        traced.add(rows_in=len(frame))
    return frame


class WeeklyInputs(Mapping[str, pl.DataFrame]):
    """The weeks of an upstream table that a run takes in, by key, each read when asked for; the last two stay at hand.

    `get` gives None for a week that is not in the lake, such as the one before the first; iteration leaves it out;
    `[...]` raises MissingInputError. `weeks` has all keys, there or not. A week that the run does not take in is a
    ValueError throughout: the input's partition mapping is wrong.
    """

    def __init__(
        self,
        weeks: Sequence[str],
        calendar_start: str,
        scan: Callable[[str], pl.LazyFrame],
        made_from: Callable[[str], str | None],
    ) -> None:
        self.weeks = tuple(weeks)
        self._calendar_start = calendar_start
        self._scan = scan
        self._made_from = made_from
        self._load = lru_cache(maxsize=2)(partial(_read, scan))
        self._one_at_a_time = Lock()

    def __getitem__(self, week: str) -> pl.DataFrame:
        self._must_be_taken_in(week)
        # Of two threads that want the same week, one reads it.
        with self._one_at_a_time:
            return self._load(week)

    def scan(self, week: str) -> pl.LazyFrame:
        """A week without reading all of it: what a query leaves out stays on disk. Raises as `[...]` does."""
        self._must_be_taken_in(week)
        return self._scan(week)

    def height(self, week: str) -> int:
        """The number of rows of a week, without reading its columns. Raises as `[...]` does."""
        return int(self.scan(week).select(pl.len()).collect().item())

    def only(self, columns: Sequence[str]) -> "WeeklyInputs":
        """The same weeks with these columns alone: the others are not read."""
        return WeeklyInputs(
            self.weeks, self._calendar_start, lambda week: self._scan(week).select(columns), self._made_from
        )

    def made_from(self, week: str) -> str | None:
        """What the week's file says it was made from; None if it does not say, or is not there.

        Asked before the week is read, it is never newer than what is read.
        """
        return self._made_from(week)

    def weeks_there(self) -> Iterator[str]:
        """The weeks that are in the lake, without reading them."""
        for week in self.weeks:
            with suppress(MissingInputError):
                self.scan(week)
                yield week

    def _must_be_taken_in(self, week: str) -> None:
        if week < self._calendar_start:
            raise MissingInputError(f"The calendar starts at {self._calendar_start}; there is no week {week}")
        if week not in self.weeks:
            raise ValueError(f"Week {week} is not among those that the input's partition mapping takes in")

    def __iter__(self) -> Iterator[str]:
        return (week for week in self.weeks if week in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
