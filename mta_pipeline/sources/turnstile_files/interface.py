"""The interface of feeds, and helpers that all kinds of feeds share."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, BinaryIO, Final, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

import polars as pl

from mta_pipeline.addresses import shown
from mta_pipeline.sources.errors import NotPublished, one_line
from mta_pipeline.weeks import FIRST_WEEK, LAST_YEAR, file_name, is_outside_calendar, week_of_file

T = TypeVar("T")

SUFFIXES: Final = (".txt", ".txt.gz", ".txt.zip")
"""The suffixes of weekly files, the preferred first."""

_EXPORT: Final = re.compile(r"[^.~].*\.(?:csv|tsv)(?:\.gz|\.zip)?|[^.~].*\.zip", re.IGNORECASE)
_NAMED_LIKE_A_WEEK: Final = re.compile(r"turnstile_\d{6}\b.*", re.IGNORECASE)
_YEAR: Final = re.compile(r"(?<!\d)(20\d\d)(?!\d)")

_LOOKS_LIKE_DATA: Final = re.compile(r"turnstile.*\d|\d{6}.*\.txt$|\.(csv|tsv|zip|gz)$", re.IGNORECASE)

MAX_FOLDER_NAME: Final = 255
"""Maximum bytes of the name of a folder, which file systems have in common."""

SAMPLE_NOTE: Final = "SAMPLE.txt"
"""The name of a file that says that the files beside it are synthetic."""

MAX_NAMES: Final = 8
"""Maximum number of names in one message."""


@dataclass(frozen=True)
class PublishedFile:
    """One available week. Etag, last_modified (UTC) and size (stored bytes) are None if the feed does not give them."""

    week: str
    url: str
    """Without credentials and query: safe for messages, logs and manifests."""
    etag: str | None = None
    last_modified: dt.datetime | None = None
    size: int | None = None
    same_as: str | None = None
    """An earlier etag, if the contents are the same as then."""

    @property
    def subject(self) -> str:
        """The beginning of messages about the file."""
        return subject_of(self.week, self.url)

    @property
    def signature(self) -> str | None:
        """A text that changes with the file, as far as the metadata shows; None without such metadata."""
        return _signature(self)


@dataclass(frozen=True)
class PublishedExport:
    """A file with the readings of a year. Etag, last_modified and size as in PublishedFile."""

    name: str
    url: str
    etag: str | None = None
    last_modified: dt.datetime | None = None
    size: int | None = None

    @property
    def subject(self) -> str:
        """The beginning of messages about the file."""
        return f"Export {self.url}"

    @property
    def signature(self) -> str | None:
        """As in PublishedFile."""
        return _signature(self)

    @property
    def years(self) -> tuple[int, int] | None:
        """The first and the last year in the name; None if there is none."""
        years = [int(year) for year in _YEAR.findall(self.name)]
        return (min(years), max(years)) if years else None


@dataclass(frozen=True)
class ExportRows:
    """The rows of a week that come from one export."""

    export: str
    """The name of the export."""
    sha256: str
    """Hexadecimal digest of the whole export, unpacked."""
    rows: int


@dataclass(frozen=True)
class Fetched:
    """A downloaded file: its description from the same response, and the properties of the unpacked bytes."""

    file: PublishedFile
    sha256: str
    """Hexadecimal digest of the unpacked bytes."""
    size: int
    """Number of unpacked bytes."""
    fetched_at: dt.datetime
    """In UTC."""
    lines: pl.Series | None = None
    """The number of each line in its export, from 1; None if the file itself is published."""
    exports: tuple[ExportRows, ...] = ()
    """The exports that the rows come from."""
    is_sample: bool = False
    """Whether the feed says that its data are synthetic."""


class Listing(NamedTuple):
    """The weeks that a feed lists, in order, with the metadata in the listing."""

    weeks: Mapping[str, PublishedFile]
    version: str | None
    """Identifies this state of the list for conditional requests; None if the feed has no such version."""
    notes: Sequence[str] = ()
    """Sentences that name other files of the feed that look like data but are not used."""


def _signature(file: PublishedFile | PublishedExport) -> str | None:
    if file.etag is not None:
        return f"etag {file.etag}"
    if file.last_modified is not None:
        return f"modified {file.last_modified.isoformat()} size {file.size}"
    return None


class ExportFiles(Protocol):
    """A place that can hold yearly exports. Every method can raise FeedUnavailable, FeedRefused or BadFile."""

    @property
    def is_sample(self) -> bool:
        """Whether there is a file SAMPLE.txt, which says that the data are synthetic."""

    def exports(self) -> Sequence[PublishedExport]:
        """Return the exports there, by name in order, with their metadata."""

    def open_export(self, export: PublishedExport) -> AbstractContextManager[IO[bytes]]:
        """Open the stored bytes of an export, complete and seekable."""


class Feed(Protocol):
    """A source of weekly files. Every method can raise FeedUnavailable, FeedRefused or BadFile."""

    @property
    def location(self) -> str:
        """The location of the feed, without credentials."""

    def available_weeks(self) -> Mapping[str, PublishedFile]:
        """Return the weeks that the feed lists now, in order, with the metadata in the listing."""

    def listing_unless(self, version: str | None) -> Listing | None:
        """Return the current list, or None if it still has this version."""

    def look(self, week: str, known: str | None = None) -> PublishedFile | None:
        """Return the metadata of one week without a download; None if the feed does not offer the week.

        `known` is the etag that the caller has. It helps feeds that can tell with fewer requests that it is current, or
        that the contents are the same (`same_as`).

        Raises:
            BadFile: the feed offers the week, but its file is not there.
        """

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        """Write a week's unpacked file to the sink. The sink gets nothing unless the file is complete and valid.

        Raises:
            NotPublished: the feed does not offer this week.
            BadFile: the feed offers the week, but its file is not there or cannot be used.
        """


class FileFeed(Feed, ExportFiles, Protocol):
    """A place with files: weekly ones, yearly exports, or both."""


def copies(week: str) -> tuple[str, ...]:
    """Return the possible file names of a week, the preferred first."""
    stem = file_name(week).removesuffix(".txt")
    return tuple(stem + suffix for suffix in SUFFIXES)


def by_week(named: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Select the items with names of weekly files, by week in order. Of several copies, the preferred one is used."""
    best: dict[str, tuple[int, T]] = {}
    for name, thing in named:
        week = week_of_file(name)
        if week is None:
            continue
        rank = next(n for n, suffix in enumerate(SUFFIXES) if name.endswith(suffix))
        if week not in best or rank < best[week][0]:
            best[week] = rank, thing
    return {week: best[week][1] for week in sorted(best)}


def is_export(name: str, *, alone: bool = False) -> bool:
    """Whether a file has the name of a yearly export, such as Turnstile_Usage_Data__2019.csv.

    Among other files, the name must contain `turnstile`. With `alone`, the location names this one file. The lake has a
    folder with the name of each export, so it must be possible to write the name.
    """
    if not name.isprintable() or len(quote(name)) > MAX_FOLDER_NAME:
        return False
    named = _EXPORT.fullmatch(name) and not _NAMED_LIKE_A_WEEK.fullmatch(name)
    return bool(named) and (alone or "turnstile" in name.lower())


def why_not_used(name: str) -> str | None:
    """Return why no week is read from a file with this name; None if its name does not look like data."""
    if name.startswith((".", "~")) or is_export(name) or not _LOOKS_LIKE_DATA.search(name):
        return None
    if week_of_file(name) is not None:
        return "another copy of its week is preferred"
    if is_outside_calendar(name):
        return f"the date in the name is outside the calendar, which is from {FIRST_WEEK} to {LAST_YEAR}"
    return (
        f"the name is not turnstile_YYMMDD{SUFFIXES[0]}, {SUFFIXES[1]} or {SUFFIXES[2]} with the date of a Saturday, "
        "nor that of a yearly export, such as Turnstile_Usage_Data__2019.csv"
    )


def notes_on(location: str, reasons: Iterable[tuple[str, str | None]]) -> list[str]:
    """Return one sentence per reason, given the names of files and why each is not used, or None to leave it out."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in sorted({(name, reason) for name, reason in reasons if reason is not None}):
        by_reason.setdefault(reason, []).append(name)
    return [
        f"{'1 file is' if len(found) == 1 else f'{len(found):,} files are'} not used at {location}, because {reason}: "
        f"{named(found)}"
        for reason, found in by_reason.items()
    ]


def named(names: Sequence[str]) -> str:
    """Return names for a message, the first ones of many."""
    first = [one_line(name if name.isprintable() else repr(name)) for name in names[:MAX_NAMES]]
    return ", ".join(first) + (f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else "")


def named_days(days: Sequence[dt.date]) -> str:
    """Return dates for a message."""
    return named([day.isoformat() for day in days])


def subject_of(week: str, url: str) -> str:
    """Return the beginning of messages about one file."""
    return f"Week {week} at {shown(url)}"


def not_published(week: str, location: str) -> NotPublished:
    """Return the error for a week that the feed does not have."""
    plain, *packed = copies(week)
    return NotPublished(
        f"Week {week} is not published at {location}: there is no {plain} (nor {' or '.join(packed)}). "
        "If it should be there, check the feed and MTA_FEED. A week is published on the Saturday after it ends."
    )
