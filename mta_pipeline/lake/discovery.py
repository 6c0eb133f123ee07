"""Which weeks are due: available at the feed, but not landed, or landed with other contents.

One tick is short: it requests the feed's list, probes a limited number of weeks, and seldom fetches a file. The cursor
tells the next tick where to continue. This module does not depend on Dagster. `orchestration.automation.sensors`
requests the runs and records observations.
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
"""Maximum number of weeks that one tick probes at the feed. The others wait for the next tick."""

SECONDS_PER_TICK: Final = 20.0
"""After this time a tick sends no more probes. Dagster ends a tick after 60 s."""

FIRST_WAIT: Final = dt.timedelta(hours=1)
"""Wait before a week is requested again after its first failed run. It doubles with each further request."""

LONGEST_WAIT: Final = dt.timedelta(days=1)


class RequestedVersion(NamedTuple):
    """Which version of a week was requested, and how many times. Kept until the lake has what the feed offers."""

    version: str
    times: int


class DiscoveryCursor(BaseModel):
    """The state that one tick passes to the next. It is stored as JSON."""

    feed: str = ""
    landed: int = 0
    """Number of landed weeks. If it has fallen, this is another lake, and the whole list is read again."""
    listing: str | None = None
    """The version of the feed's list, set once all its new weeks were probed."""
    looked_at: str = ""
    """The landed week that was checked last. Landed weeks are checked in turn."""
    asked: dict[str, RequestedVersion] = {}
    failed_looks: int = 0
    """Number of consecutive ticks in which a request to the feed failed."""


class Attempt(NamedTuple):
    """How the last run over a week ended."""

    ended: dt.datetime
    refused: str | None
    """Why the week's file cannot be used, or None. A refused version is not requested again."""


class DueWeek(NamedTuple):
    """A week to request: the published file, the requested version, and whether an earlier version has landed."""

    file: PublishedFile
    requested: RequestedVersion
    landed_before: bool


@dataclass
class Discovery:
    """The result of one tick."""

    cursor: DiscoveryCursor
    due: dict[str, DueWeek] = field(default_factory=dict)
    """The due weeks by key."""
    error: FeedError | None = None
    """Why the tick ended early, if it did."""
    available: int | None = None
    """Number of weeks that the feed lists; None if its list has not changed since the last tick."""
    outside: Collection[str] = ()
    """Weeks that the feed lists and that may not be requested."""
    probes: int = 0
    """Number of weeks probed at the feed."""


def find_due_weeks(
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
    """Find weeks that are available but have not landed, or have landed with other contents.

    An error of the feed ends the tick and is returned in the result.

    Args:
        feed: opened with `fail_fast`.
        raw: the raw turnstile files.
        cursor: the cursor of the last tick.
        landed: the weeks that have landed according to both the lake and Dagster's records.
        calendar: the weeks that may be requested.
        in_progress: the weeks that a queued or running run lands. They are ignored.
        last_attempts: returns how the last run over each given week ended. Weeks without a run are left out.
        now: the current time, with time zone.
    """
    if cursor.feed != feed.location:
        cursor = DiscoveryCursor(feed=feed.location)
    known = cursor.listing if len(landed) >= cursor.landed else None
    found = Discovery(cursor.model_copy(update={"asked": dict(cursor.asked), "landed": len(landed), "listing": known}))
    to_check = sorted(set(landed) - set(in_progress))
    try:
        # The time of a tick starts here: the list counts, too, because a portal can take long to give it.
        probes = _Probes(feed, raw, found, last_attempts(cursor.asked) if cursor.asked else {}, now)
        listing = feed.listing_unless(known)
        calendar, listed = set(calendar), {} if listing is None else listing.weeks
        offered = {week: file for week, file in listed.items() if week in calendar}
        found.outside = listed.keys() - calendar
        found.available = None if listing is None else len(offered)
        new = sorted((offered.keys() | cursor.asked.keys()) - set(landed) - set(in_progress))
        complete = probes.check_new(new, offered)
        if listing is not None:
            found.cursor.listing = listing.version if complete and len(offered) == len(listing.weeks) else None
        probes.check_landed(to_check)
        found.cursor.failed_looks = 0
    except FeedError as error:
        found.error = error
        found.cursor.failed_looks += 1
    return found


class _Probes:
    """Probes single weeks at the feed, within the limits of one tick."""

    def __init__(
        self, feed: Feed, raw: RawFiles, found: Discovery, attempts: Mapping[str, Attempt], now: dt.datetime
    ) -> None:
        self._feed, self._raw, self._found, self._attempts, self._now = feed, raw, found, attempts, now
        self._until = time.monotonic() + SECONDS_PER_TICK

    def check_new(self, weeks: Iterable[str], offered: Mapping[str, PublishedFile]) -> bool:
        """Request weeks that have not landed. Return whether all of them were checked."""
        for week in weeks:
            file = offered.get(week)
            if file is not None and file.signature is not None:
                self._request(file, file.signature, landed_before=False)
            elif self._limit_reached():
                return False
            else:
                self._probe(week, landed_before=False)
        return True

    def check_landed(self, weeks: Collection[str]) -> None:
        """Check landed weeks in turn, starting after the last one checked, and request those with other contents."""
        last = self._found.cursor.looked_at
        for week in (*(week for week in weeks if week > last), *(week for week in weeks if week <= last)):
            if self._limit_reached():
                return
            if self._is_current(week):
                self._found.cursor.asked.pop(week, None)
            else:
                self._probe(week, landed_before=True)
            self._found.cursor.looked_at = week

    def _limit_reached(self) -> bool:
        """Count one probe, or return True if the tick may send no more."""
        if self._found.probes == MAX_PROBES_PER_TICK or time.monotonic() > self._until:
            return True
        self._found.probes += 1
        return False

    def _probe(self, week: str, *, landed_before: bool) -> None:
        """Request a week if the feed offers it. If its file is not there, the run reports that."""
        try:
            file = self._feed.look(week)
        except BadFile as error:
            self._request(PublishedFile(week, self._feed.location), str(error), landed_before=landed_before)
            return
        if file is None:
            self._found.cursor.asked.pop(week, None)
        else:
            self._request(file, file.signature or "", landed_before=landed_before)

    def _is_current(self, week: str) -> bool:
        try:
            return self._raw.is_current(self._feed, week)
        except (BadFile, FeedSlow):  # a run has more time and reports what is wrong
            return False

    def _request(self, file: PublishedFile, state: str, *, landed_before: bool) -> None:
        """Request a week, unless the same version was requested before and may not be requested again yet.

        `state` is a text that changes with the version.
        """
        version, before = hashlib.sha256(state.encode()).hexdigest()[:12], self._found.cursor.asked.get(file.week)
        times = 1
        if before is not None and before.version == version:
            if not _may_request_again(before, self._attempts.get(file.week), self._now):
                return
            times = before.times + 1
        self._found.cursor.asked[file.week] = RequestedVersion(version, times)
        self._found.due[file.week] = DueWeek(file, RequestedVersion(version, times), landed_before)


def _may_request_again(requested: RequestedVersion, attempt: Attempt | None, now: dt.datetime) -> bool:
    """Whether the same version of a week may be requested again: not if it was refused, else after a growing wait."""
    if attempt is None:
        return True
    return attempt.refused is None and now - attempt.ended >= min(FIRST_WAIT * 2 ** (requested.times - 1), LONGEST_WAIT)
