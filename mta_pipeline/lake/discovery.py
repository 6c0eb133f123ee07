"""What the feed offers against what has landed: which weeks to ask for, look by look.

A look is short: a list, some questions about single weeks, seldom a file. What a look leaves, the next one takes up
where the cursor says. Asking for the weeks, and telling people, does not belong here; neither does Dagster.
"""

import datetime as dt
import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pydantic import BaseModel

from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.sources.errors import BadFile, FeedError, FeedSlow
from mta_pipeline.sources.turnstile_files import Feed, PublishedFile

MAX_PROBES_PER_TICK: Final = 100
"""Weeks that a look asks the feed about one by one; the rest wait for the next look."""

SECONDS_PER_TICK: Final = 20.0
"""After so long a look asks no more; Dagster ends a tick at 60 s."""

FIRST_WAIT: Final = dt.timedelta(hours=1)
LONGEST_WAIT: Final = dt.timedelta(days=1)


class RequestedVersion(NamedTuple):
    """Which version of a week was asked for, and how many times. Kept until the lake has what the feed offers."""

    version: str
    times: int


class DiscoveryCursor(BaseModel):
    """What a look leaves to the next one."""

    feed: str = ""
    landed: int = 0
    """How many weeks had landed; if there are fewer now, the lake is another, and the list is read anew."""
    listing: str | None = None
    """The version of the feed's list once all that is new in it was asked for."""
    looked_at: str = ""
    """Landed weeks are looked at in turn; the last one that was."""
    asked: dict[str, RequestedVersion] = {}
    failed_looks: int = 0
    """How many looks in a row the feed did not answer."""


class Attempt(NamedTuple):
    """How the last run over a week ended."""

    ended: dt.datetime
    refused: str | None
    """Why the week's file cannot be used, if it cannot: other contents must come first."""


class DueWeek(NamedTuple):
    """A week to ask for: what the feed says of it, and why it is asked for."""

    file: PublishedFile
    asked: RequestedVersion
    landed_before: bool


@dataclass
class Discovery:
    """What one look found: the weeks that are due, by key."""

    cursor: DiscoveryCursor
    due: dict[str, DueWeek] = field(default_factory=dict)
    fault: FeedError | None = None
    available: int | None = None
    """How many weeks the feed lists; None if its list has not changed since the last look."""
    questions: int = 0


def look(
    feed: Feed,
    raw: RawFiles,
    cursor: DiscoveryCursor,
    *,
    landed: Collection[str],
    calendar: Collection[str],
    in_progress: Collection[str],
    last_attempts: Callable[[Collection[str]], Mapping[str, Attempt]],
    now: dt.datetime,
) -> Discovery:
    """DueWeek the weeks that are on offer and have not landed, or have with other contents; in order.

    Args:
        feed: opened with `fail_fast`.
        raw: what has landed.
        cursor: what the last look left.
        landed: the weeks that have landed, and are known to have.
        calendar: the weeks that may be asked for.
        in_progress: weeks that a run is about to land.
        last_attempts: how the last run over each of these weeks ended, leaving out those without one.
        now: the time, with a zone.
    """
    if cursor.feed != feed.location:
        cursor = DiscoveryCursor(feed=feed.location)
    known = cursor.listing if len(landed) >= cursor.landed else None
    found = Discovery(cursor.model_copy(update={"asked": dict(cursor.asked), "landed": len(landed), "listing": known}))
    here = sorted(set(landed) - set(in_progress))
    try:
        listing = feed.listing_unless(known)
        offered = {} if listing is None else {week: file for week, file in listing.weeks.items() if week in calendar}
        found.available = None if listing is None else len(offered)
        questions = _Questions(feed, raw, found, last_attempts(cursor.asked) if cursor.asked else {}, now)
        new = sorted((offered.keys() | cursor.asked.keys()) - set(landed) - set(in_progress))
        complete = questions.about_new(new, offered)
        if listing is not None:
            found.cursor.listing = listing.version if complete and len(offered) == len(listing.weeks) else None
        questions.about_landed(here)
        found.cursor.failed_looks = 0
    except FeedError as error:
        found.fault = error
        found.cursor.failed_looks += 1
    return found


class _Questions:
    """Asks the feed about single weeks, until it has asked enough for one look."""

    def __init__(
        self, feed: Feed, raw: RawFiles, found: Discovery, attempts: Mapping[str, Attempt], now: dt.datetime
    ) -> None:
        self._feed, self._raw, self._found, self._attempts, self._now = feed, raw, found, attempts, now
        self._until = time.monotonic() + SECONDS_PER_TICK

    def about_new(self, weeks: Iterable[str], offered: Mapping[str, PublishedFile]) -> bool:
        """Ask for weeks that have not landed; returns whether it came to the end of them."""
        for week in weeks:
            file = offered.get(week)
            if file is None or file.signature is None:
                if self._enough():
                    return False
                file = self._feed.look(week)
            if file is None:
                self._found.cursor.asked.pop(week, None)
            else:
                self._ask_for(file, landed_before=False)
        return True

    def about_landed(self, weeks: Collection[str]) -> None:
        """Look at landed weeks in turn, and ask for those with other contents."""
        last = self._found.cursor.looked_at
        for week in (*(week for week in weeks if week > last), *(week for week in weeks if week <= last)):
            if self._enough():
                return
            if self._agree(week):
                self._found.cursor.asked.pop(week, None)
            elif file := self._feed.look(week):
                self._ask_for(file, landed_before=True)
            self._found.cursor.looked_at = week

    def _enough(self) -> bool:
        """Count one question more, unless that would be too many."""
        if self._found.questions == MAX_PROBES_PER_TICK or time.monotonic() > self._until:
            return True
        self._found.questions += 1
        return False

    def _agree(self, week: str) -> bool:
        try:
            return self._raw.is_current(self._feed, week)
        except (BadFile, FeedSlow):  # a run has the time to find out, and says what is bad
            return False

    def _ask_for(self, file: PublishedFile, *, landed_before: bool) -> None:
        """Ask for a week, unless this version of it was asked for and its time has not come again."""
        version, before = _version(file), self._found.cursor.asked.get(file.week)
        times = 1
        if before is not None and before.version == version:
            if not _again(before, self._attempts.get(file.week), self._now):
                return
            times = before.times + 1
        self._found.cursor.asked[file.week] = RequestedVersion(version, times)
        self._found.due[file.week] = DueWeek(file, RequestedVersion(version, times), landed_before)


def _again(asked: RequestedVersion, attempt: Attempt | None, now: dt.datetime) -> bool:
    """Whether to ask for the same version of a week again: unless it was refused, after ever longer waits."""
    if attempt is None:
        return True
    return attempt.refused is None and now - attempt.ended >= min(FIRST_WAIT * 2 ** (asked.times - 1), LONGEST_WAIT)


def _version(file: PublishedFile) -> str:
    """What tells the versions of a week apart, short: a hash of what the feed says of it."""
    return hashlib.sha256((file.signature or "").encode()).hexdigest()[:12]
