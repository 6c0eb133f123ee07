"""What every feed offers, and the outcomes it knows. How a kind of feed does it is said in the kind's own module."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

from mta_pipeline.sources.errors import NotPublished
from mta_pipeline.weeks import file_name, week_of_file

T = TypeVar("T")

SUFFIXES: Final = (".txt", ".txt.gz", ".txt.zip")
"""The kinds of copy a week may have, the preferred first."""


@dataclass(frozen=True)
class PublishedFile:
    """One week on offer. Etag, last_modified (UTC) and size (bytes, as stored) are None where the feed does not say."""

    week: str
    url: str
    """Without credentials or query: fit for messages, logs and manifests."""
    etag: str | None = None
    last_modified: dt.datetime | None = None
    size: int | None = None

    @property
    def signature(self) -> str | None:
        """Changes when the file does, as far as can be told without reading it; None if that cannot be told."""
        if self.etag is not None:
            return f"etag {self.etag}"
        if self.last_modified is not None:
            return f"modified {self.last_modified.isoformat()} size {self.size}"
        return None


@dataclass(frozen=True)
class Fetched:
    """What was fetched: the file as the feed described it with the bytes, and the bytes as unpacked."""

    file: PublishedFile
    sha256: str
    """Of the unpacked bytes, in hexadecimal."""
    size: int
    """Of the unpacked bytes."""
    fetched_at: dt.datetime
    """UTC."""


class Listing(NamedTuple):
    """The weeks a feed lists, in order, with what it says of each without being asked for it."""

    weeks: Mapping[str, PublishedFile]
    version: str | None
    """Tells later whether the list has changed since; None where the feed cannot tell."""


class Feed(Protocol):
    """A source of weekly files. Every method raises FeedUnavailable, FeedRefused or BadFile when it must."""

    @property
    def location(self) -> str:
        """Where the feed is, without credentials."""

    def available_weeks(self) -> Mapping[str, PublishedFile]:
        """The weeks the feed lists now, in order; what it says of each without being asked for it."""

    def listing_unless(self, version: str | None) -> Listing | None:
        """The list as it is now, or None if it is still the one of this version."""

    def look(self, week: str) -> PublishedFile | None:
        """What the feed says of one week, cheaply; None if it was not published."""

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        """Write a week's file, unpacked, to the sink. Unless it is whole and sound, the sink gets nothing.

        Raises:
            NotPublished: the feed has no such week.
        """


def copies(week: str) -> tuple[str, ...]:
    """The names a week's file may have, the preferred first."""
    stem = file_name(week).removesuffix(".txt")
    return tuple(stem + suffix for suffix in SUFFIXES)


def by_week(named: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Of things with names those of weekly files, by week in order; of several copies of a week the preferred one."""
    best: dict[str, tuple[int, T]] = {}
    for name, thing in named:
        week = week_of_file(name)
        if week is None:
            continue
        rank = next(n for n, suffix in enumerate(SUFFIXES) if name.endswith(suffix))
        if week not in best or rank < best[week][0]:
            best[week] = rank, thing
    return {week: best[week][1] for week in sorted(best)}


def shown(location: str) -> str:
    """A location as messages may show it: without user, password and query."""
    if "://" not in location:
        return location
    parts = urlsplit(location)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def subject_of(week: str, url: str) -> str:
    """What a message about one file begins with."""
    return f"Week {week} at {shown(url)}"


def not_published(week: str, location: str) -> NotPublished:
    """The outcome for a week of which the feed has no copy."""
    plain, *packed = copies(week)
    return NotPublished(
        f"Week {week} is not published at {location}: no {plain} (nor {' or '.join(packed)}) there. "
        "If it should be, look at the feed or at MTA_FEED; a week is published on the Saturday after it ends."
    )
