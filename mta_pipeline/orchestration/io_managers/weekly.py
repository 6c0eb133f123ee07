"""Outputs and inputs of assets: WholeTable for a table without weeks, WeeklyFrames and WeeklyInputs for many weeks.

The latter are processed week by week in bounded memory, whether a run covers one week or all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from threading import Lock
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import polars as pl

from mta_pipeline.lake.inputs import Inputs
from mta_pipeline.lake.origin import Origin
from mta_pipeline.lake.parquet import Frame
from mta_pipeline.orchestration.week_outcomes import MissingInputError
from mta_pipeline.telemetry.tracing import Span, span

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class WeekOutput(NamedTuple):
    """One week of an asset's output, with its metadata.

    Without a frame nothing is written for the week, for example because it was never published, or is complete. The
    metadata `outcome` should then say why. A file from an earlier run remains. Without one, the week is not recorded.
    """

    week: str
    frame: "Frame | None"
    metadata: Mapping[str, Any] = _NOTHING
    origin: Origin | None = None
    """The origin of the input. The file stores it with the rules of the table itself; see WeeklyInputs.origin."""
    origin_now: Callable[[], Origin | None] | None = None
    """Returns the current origin of the input. If it differs from `origin`, another run has updated the input. The
    frame is then not written, so a slow run never overwrites the table of a faster one."""
    traced: Span | None = None
    """The span in which the frame was computed. The span of the write becomes its child."""
    is_stored: bool = False
    """Whether the asset itself has put the week into the lake, so that it is recorded although it has no frame."""


class WholeTable(NamedTuple):
    """The output of an asset without weeks that records the files it is made from."""

    frame: "Frame"
    made_from: Inputs


class WeeklyFrames:
    """The weeks of a run, each written as soon as it is yielded.

    Takes an iterable of `WeekOutput`s or (week, frame) pairs, in any order. It is iterated once. A week of the run that
    is missing counts as a week without a frame.
    """

    def __init__(self, weeks: "Iterable[WeekOutput | tuple[str, Frame | None]]") -> None:
        self._weeks = weeks

    def __iter__(self) -> Iterator[WeekOutput]:
        return (WeekOutput(*week) for week in self._weeks)


def _read(scan: Callable[[str], pl.LazyFrame], week: str) -> pl.DataFrame:
    with span("read", week=week) as traced:
        frame = scan(week).collect()
        traced.add(rows_in=len(frame))
    return frame


class WeeklyInputs(Mapping[str, pl.DataFrame]):
    """The weeks of an upstream table by key. A week is read on access, and the last two weeks read are cached.

    For a week that is not in the lake, such as the one before the first, `get` returns None, `[...]` raises
    MissingInputError, and iteration leaves it out. A damaged week raises DamagedFile. `weeks` has all weeks of the
    input, in the lake or not. Any other week raises ValueError, because the input's partition mapping is wrong.
    """

    def __init__(
        self,
        weeks: Sequence[str],
        calendar_start: str,
        scan: Callable[[str], pl.LazyFrame],
        origin: Callable[[str], Origin | None],
        is_there: Callable[[str], bool],
    ) -> None:
        self.weeks = tuple(weeks)
        self._calendar_start = calendar_start
        self._scan = scan
        self._origin = origin
        self._is_there = is_there
        self._load = lru_cache(maxsize=2)(partial(_read, scan))
        self._lock = Lock()

    def __getitem__(self, week: str) -> pl.DataFrame:
        self._require_input_week(week)
        # If two threads need the same week, only one reads it.
        with self._lock:
            return self._load(week)

    def scan(self, week: str) -> pl.LazyFrame:
        """Return a week as a lazy frame, which reads only what a query needs. Raises the same as `[...]`."""
        self._require_input_week(week)
        return self._scan(week)

    def height(self, week: str) -> int:
        """Return the number of rows of a week, without reading its columns. Raises the same as `[...]`."""
        return int(self.scan(week).select(pl.len()).collect().item())

    def only(self, columns: Sequence[str]) -> "WeeklyInputs":
        """Return the same weeks with only these columns. The other columns are not read."""
        return WeeklyInputs(
            self.weeks,
            self._calendar_start,
            lambda week: self._scan(week).select(columns),
            self._origin,
            self._is_there,
        )

    def origin(self, week: str) -> Origin | None:
        """Return the origin of the week's file, or None if the file lacks it or does not exist.

        Call it before the week is read: then the value is never newer than the rows.
        """
        return self._origin(week)

    def weeks_there(self) -> Iterator[str]:
        """Yield the weeks that are in the lake, without reading them."""
        return (week for week in self.weeks if week >= self._calendar_start and self._is_there(week))

    def _require_input_week(self, week: str) -> None:
        if week < self._calendar_start:
            raise MissingInputError(f"The calendar starts at {self._calendar_start}; there is no week {week}")
        if week not in self.weeks:
            raise ValueError(f"Week {week} is not one of the weeks that the input's partition mapping selects")

    def __iter__(self) -> Iterator[str]:
        return (week for week in self.weeks if week in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
