"""The feed at the State's open-data portal: one data set of readings per year, requested by week through its SODA API.

The rows of a week become a text with the portal's column names, sorted as those of yearly exports. `sources.socrata`
sends the requests.
"""

import datetime as dt
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.resources import files
from typing import BinaryIO, Final, NamedTuple

import polars as pl

from mta_pipeline.sources import turnstile_files
from mta_pipeline.sources.errors import BadFile, FeedSlow, FeedUnavailable, NotPublished
from mta_pipeline.sources.socrata.client import Snapshot, SodaApi, View
from mta_pipeline.sources.socrata.dataset import ROW_ID, SodaSource
from mta_pipeline.sources.socrata.pages import InconsistentPages, verified_pages
from mta_pipeline.sources.turnstile_files import ExportRows, Fetched, Listing, PublishedFile
from mta_pipeline.sources.turnstile_files.interface import named, named_days
from mta_pipeline.turnstile.exports import WeekOfExport, days_missing, join_weeks, week_of_rows
from mta_pipeline.turnstile.parsing import UnreadableFile
from mta_pipeline.weeks import ONE_WEEK, saturday, week_start

SECONDS_FOR_LIST: Final = 40.0
"""With `fail_fast`, no further request for the list is sent after this time. Dagster ends a tick after 60 s."""

ROUNDS: Final = 3
"""Number of attempts for a week whose rows change, or whose pages do not fit together, during the download."""

_ROWS: Final = "|"
"""Separates the two parts of an etag."""

_DATE: Final = "date"
_TIMESTAMPS: Final = ("calendar_date", "floating_timestamp")
"""The portal's names of the type of a timestamp without a zone."""


class _Part(NamedTuple):
    """The rows of a week in one data set, as the portal announces them."""

    data_set: str
    snapshot: Snapshot


class PortalFeed:
    """Weeks of the portal's data sets of turnstile readings.

    The etag of a week consists of the time when its data sets last changed, and of the number of its rows with the time
    when any of these last changed. With `fail_fast`, fetching a week raises FeedSlow, and so does a slow list.
    """

    def __init__(self, api: SodaApi, data_sets: Sequence[SodaSource], *, fail_fast: bool = False) -> None:
        self._api = api
        self._data_sets = data_sets
        self._fail_fast = fail_fast
        self._views: dict[str, View] = {}

    @property
    def location(self) -> str:
        """The address of the portal."""
        return self._api.base_url

    def available_weeks(self) -> Mapping[str, PublishedFile]:
        """Return the weeks of which the data sets can have all days, in order, without metadata."""
        listing = self.listing_unless(None)
        return {} if listing is None else listing.weeks

    def listing_unless(self, version: str | None) -> Listing | None:
        """Return the available weeks, or None if no data set has changed since this version."""
        until = time.monotonic() + SECONDS_FOR_LIST
        current = " ".join(self._view(source.id).changed_at for source in self._data_sets)
        if current == version:
            return None
        days = set[dt.date]()
        for source in self._data_sets:
            if self._fail_fast and time.monotonic() > until:
                raise FeedSlow(f"{self.location}: no list of weeks after {SECONDS_FOR_LIST:g} s. Try again later.")
            if span := self._api.days(source.id, self._date_column(source.id)):
                days |= {span[0] + dt.timedelta(n) for n in range((span[1] - span[0]).days + 1)}
        weeks = {week: days_missing(week, days) for week in sorted({saturday(day) for day in days})}
        notes = [
            f"Week {week} is not available at {self.location}: the data sets have no rows of {named_days(missing)}"
            for week, missing in weeks.items()
            if missing
        ]
        available = {week: PublishedFile(week, self._url(week)) for week, missing in weeks.items() if not missing}
        return Listing(available, current, notes)

    def look(self, week: str, known: str | None = None) -> PublishedFile | None:
        """Return the number of rows of a week, as its etag; None if the portal has none.

        No rows are counted if no data set has changed since the etag `known`. If the data sets have changed, but no row
        of this week, the contents are the same as those of `known`.
        """
        sources = self._sources(week)
        stamp = "+".join(self._view(source.id).changed_at for source in sources)
        if known is not None and sources and known.partition(_ROWS)[0] == stamp:
            return PublishedFile(week, self._url(week), known)
        file = self._published(week, self._announced(week))
        if file is None or known is None or _rows_of(file.etag) != _rows_of(known):
            return file
        return replace(file, same_as=known)

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        """Write the rows of a week to the sink, as CSV, after counts and ids have shown that none is missing.

        Raises:
            NotPublished: the portal has no rows of the week.
            BadFile: it has no rows of some days.
            FeedUnavailable: the rows keep changing, or the pages do not fit together.
        """
        if self._fail_fast:
            raise FeedSlow(f"Week {week} at {self.location}: a run will fetch its pages.")
        reason: InconsistentPages | None = None
        for _ in range(ROUNDS):
            parts = self._announced(week)
            file = self._published(week, parts)
            if file is None:
                ids = ", ".join(source.id for source in self._sources(week)) or "none is declared"
                raise NotPublished(f"Week {week} at {self.location}: the portal has no rows of it (data sets: {ids}).")
            try:
                weeks = [self._download(week, part) for part in parts if part.snapshot.rows]
                if self._announced(week) != parts:
                    raise InconsistentPages("the data set changed during the download")
            except InconsistentPages as error:
                reason = error
                continue
            return self._delivered(week, weeks, parts, file, sink)
        raise FeedUnavailable(f"Week {week} at {self.location}: {reason}, {ROUNDS} times. Try again later.")

    def _delivered(
        self, week: str, weeks: Sequence[WeekOfExport], parts: Sequence[_Part], file: PublishedFile, sink: BinaryIO
    ) -> Fetched:
        if missing := days_missing(week, [day for each in weeks for day in each.days]):
            raise BadFile(
                f"Week {week} at {self.location}: the portal has no rows of {named_days(missing)}. A week is complete "
                "with rows of all its days."
            )
        joined = join_weeks(weeks)
        sink.write(joined.text)
        exports = tuple(
            ExportRows(part.data_set, each.sha256, each.rows)
            for part, each in zip([part for part in parts if part.snapshot.rows], weeks, strict=True)
        )
        is_sample = any(self._view(part.data_set).is_sample for part in parts)
        fetched_at = dt.datetime.now(dt.UTC)
        return Fetched(file, joined.sha256, len(joined.text), fetched_at, joined.lines, exports, is_sample)

    def _download(self, week: str, part: _Part) -> WeekOfExport:
        fields, where = (ROW_ID, *self._view(part.data_set).columns), self._where(part.data_set, week)
        load = partial(self._api.page, part.data_set, fields, where)
        subject = f"Week {week} at {self.location}, {part.data_set}"
        pages = verified_pages(part.snapshot.rows, self._api.page_rows, load, fields, subject)
        rows = pl.concat([page.rows for page in pages]).drop(ROW_ID)
        try:
            return week_of_rows(week, rows, f"{part.data_set} at {self._api.host}")
        except UnreadableFile as error:
            raise BadFile(f"Week {week}: {error}") from None

    def _announced(self, week: str) -> list[_Part]:
        return [
            _Part(source.id, self._api.snapshot(source.id, self._where(source.id, week)))
            for source in self._sources(week)
        ]

    def _published(self, week: str, parts: Sequence[_Part]) -> PublishedFile | None:
        if not any(part.snapshot.rows for part in parts):
            return None
        stamp = "+".join(self._view(part.data_set).changed_at for part in parts)
        rows = "; ".join(f"{part.snapshot.rows} rows, changed {part.snapshot.updated_at}" for part in parts)
        return PublishedFile(week, self._url(week), f"{stamp}{_ROWS}{rows}")

    def _sources(self, week: str) -> list[SodaSource]:
        start = week_start(week)
        return [source for source in self._data_sets if source.overlaps(start, start + ONE_WEEK)]

    def _url(self, week: str) -> str:
        sources = self._sources(week)
        return f"{self.location}/d/{sources[0].id}" if sources else self.location

    def _where(self, data_set: str, week: str) -> str:
        column, start = self._date_column(data_set), week_start(week)
        return f"{column} >= '{start}T00:00:00' and {column} < '{start + ONE_WEEK}T00:00:00'"

    def _date_column(self, data_set: str) -> str:
        columns = self._view(data_set).columns
        if columns.get(_DATE) not in _TIMESTAMPS:
            raise BadFile(
                f"{data_set} at {self._api.host}: there is no column {_DATE} with timestamps, so this is no data set "
                f"of turnstile readings. Its columns are {named([*columns]) or 'not described'}. Correct its id."
            )
        return _DATE

    def _view(self, data_set: str) -> View:
        if data_set not in self._views:
            self._views[data_set] = self._api.view(data_set)
        return self._views[data_set]


def _rows_of(etag: str | None) -> str | None:
    """The part of an etag that says what is known of the rows of the week."""
    return etag and etag.partition(_ROWS)[2]


@cache
def usage_data_sets() -> Sequence[SodaSource]:
    """Return the data sets of turnstile readings that `sources/turnstile_files/data_sets.toml` declares."""
    text = files(turnstile_files).joinpath("data_sets.toml").read_text()
    return [SodaSource.model_validate(declared) for declared in tomllib.loads(text)["data_sets"]]
