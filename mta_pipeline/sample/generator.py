"""The sample feed: synthetic weekly files with known true ridership, from a seed.

Any week can be made alone, in any order, at the same cost and memory. This works because the number of people who have
passed (`people`) and every random choice follow from closed formulas of the seed and the position. The truth of a week
also needs the week before (rule 3).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import polars as pl

from mta_pipeline.sample.audits import Auditor, Readings, WeekFile
from mta_pipeline.sample.faults import Faults
from mta_pipeline.sample.hourly import published_hours
from mta_pipeline.sample.layout import FIRST_MODERN_WEEK, Layout
from mta_pipeline.sample.people import EPOCH, HORIZON, People
from mta_pipeline.sample.publish import Compression, fingerprint, publish
from mta_pipeline.sample.truth import SampleWeek, truth
from mta_pipeline.sample.turnstiles import Turnstiles, choose
from mta_pipeline.weeks import FIRST_WEEK, week_before, week_start

RECIPE = 2
"""Increase it when the same values give different bytes, so that samples on disk are made again."""


@dataclass(frozen=True, eq=False)
class SampleFeed:
    """A synthetic feed. The same values give the same bytes.

    Raises:
        ValueError: a week is not a valid week of a sample feed.
    """

    seed: int
    turnstiles: int
    first_week: str
    """The first published week. In it, each turnstile's first interval has status `first`."""
    faults: Faults = field(default_factory=Faults.typical)
    layout: Layout | None = None
    """The layout of all weeks. By default it depends on the week: modern from the file 141018 on, legacy before."""
    unpublished: frozenset[str] = frozenset()
    """Weeks that are never published. In the week after, each turnstile's first interval has status `first`."""
    republished: frozenset[str] = frozenset()
    """Weeks that were published again, with other registers; see `after_republishing`."""
    booths: pl.DataFrame | None = None
    """The possible booths, with the columns of control_areas. By default all known booths."""

    def __post_init__(self) -> None:
        for week in (self.first_week, *self.unpublished, *self.republished):
            _number(week)

    def is_published(self, week: str) -> bool:
        """Whether the feed has the week."""
        return week >= self.first_week and week not in self.unpublished

    def week(self, week: str) -> SampleWeek:
        """Make one week.

        Raises:
            ValueError: the feed does not have the week.
        """
        if not self.is_published(week):
            raise ValueError(f"the sample feed has no week {week}")
        return next(self.stream([week]))

    def stream(self, weeks: Iterable[str]) -> Iterator[SampleWeek]:
        """Make weeks one by one. Weeks that the feed does not have are left out.

        Each result equals that of `week`. Consecutive weeks cost less, because the week before is available.
        """
        before: tuple[str, Readings] | None = None
        for week in weeks:
            if not self.is_published(week):
                continue
            file = self._file(week)
            yield SampleWeek(week, file.text, self._truth(week, file.kept, before), file.rejects)
            before = (week, file.kept)

    def hourly(self, weeks: Iterable[str]) -> pl.DataFrame:
        """Return the rows that the portal publishes for the riders of these weeks; see `hourly.published_hours`."""
        numbered = {week: _number(week) for week in weeks}
        return pl.concat(published_hours(week, self._roster, self._people, self.seed) for week in numbered)

    def after_republishing(self, week: str) -> Self:
        """Return the feed after the MTA has published a week again, with corrected registers.

        Only the file of that week changes. The truth changes for that week and for the first intervals of the next
        week, which start from the corrected readings.
        """
        return replace(self, republished=self.republished | {week})

    def write(
        self,
        directory: Path,
        weeks: Iterable[str],
        *,
        compression: Compression = "none",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> pl.DataFrame:
        """Write weeks to a directory, with their truth in the subdirectory `truth`; see `publish.publish`.

        Existing weeks are kept. Weeks that the feed does not have are left out.

        Returns:
            `truth/weeks.csv`: one row for every week in the directory.

        Raises:
            FileExistsError: the directory holds weekly files that are not known to be a sample.
        """
        return publish(
            directory,
            [week for week in weeks if self.is_published(week)],
            self.stream,
            about=self._about,
            compression=compression,
            progress=progress,
        )

    @property
    def _about(self) -> str:
        """Everything that determines the bytes."""
        booths = fingerprint(self._known_booths.write_csv())
        return (
            f"Seed {self.seed}, {self.turnstiles} turnstiles, first week {self.first_week}, "
            f"layout {self.layout or 'by date'}, recipe {RECIPE}, booths {booths}.\n"
            f"Never published: {', '.join(sorted(self.unpublished)) or 'none'}. "
            f"Published again: {', '.join(sorted(self.republished)) or 'none'}.\n"
            f"{self.faults}"
        )

    @cached_property
    def _known_booths(self) -> pl.DataFrame:
        if self.booths is not None:
            return self.booths
        from mta_pipeline.turnstile.complexes import control_areas  # noqa: PLC0415  # needed only here

        return control_areas()

    @cached_property
    def _roster(self) -> Turnstiles:
        return choose(self._known_booths, self.turnstiles, self.seed, self.faults)

    @cached_property
    def _people(self) -> People:
        return People(self._roster, self.seed, self.faults, frozenset(map(_number, self.republished)))

    @cached_property
    def _auditor(self) -> Auditor:
        return Auditor(self._roster, self._people, self.seed, self.faults)

    def _file(self, week: str) -> WeekFile:
        by_date: Layout = "modern" if week >= FIRST_MODERN_WEEK else "legacy"
        return self._auditor.week(_number(week), self.layout or by_date)

    def _truth(self, week: str, kept: Readings, before: tuple[str, Readings] | None) -> pl.DataFrame:
        earlier = week_before(week)
        if before is not None and before[0] == earlier:
            carried: Readings | None = before[1]
        else:
            carried = self._file(earlier).kept if self.is_published(earlier) else None
        return truth(kept, carried, self._roster, self._people)


def _number(week: str) -> int:
    """The number of a week since the epoch."""
    number, days = divmod((week_start(week) - EPOCH).days, 7)
    if days or week < FIRST_WEEK or number >= HORIZON:
        raise ValueError(
            f"{week} is not a week of a sample feed: weeks start on Saturdays, from {FIRST_WEEK} to "
            f"{HORIZON - 1} weeks after {EPOCH}"
        )
    return number
