"""Discovery finds new and changed weeks, sends few requests, and continues in the next tick."""

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

import pytest

from mta_pipeline.lake import discovery
from mta_pipeline.lake.discovery import Attempt, Discovery, DiscoveryCursor, find_due_weeks
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.sources.errors import BadFile, FeedError, FeedUnavailable
from mta_pipeline.sources.turnstile_files import Fetched, Listing, PublishedFile
from mta_pipeline.weeks import weeks_between

WEEKS = weeks_between("2010-05-01", "2024-05-25")
FIRST, SECOND, THIRD = WEEKS[:3]
NOON = dt.datetime(2024, 6, 1, 12, tzinfo=dt.UTC)


@dataclass
class StubFeed:
    """A feed whose list, files and faults are set by a test. It records the requests that it receives."""

    contents: dict[str, str]
    location: str = "memory"
    lists_signatures: bool = False
    fault: FeedError | None = None
    bad: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    """Weeks that are listed, but whose file is not there."""
    probed: list[str] = field(default_factory=list)
    fetches: list[str] = field(default_factory=list)

    def available_weeks(self) -> Mapping[str, PublishedFile]:
        if self.fault:
            raise self.fault
        return {
            week: self._file(week) if self.lists_signatures else PublishedFile(week, week) for week in self.contents
        }

    def listing_unless(self, version: str | None) -> Listing | None:
        weeks = self.available_weeks()
        now = ",".join(weeks)
        return None if now == version else Listing(weeks, now)

    def look(self, week: str, known: str | None = None) -> PublishedFile | None:
        if self.fault:
            raise self.fault
        self.probed.append(week)
        if week in self.dead:
            raise BadFile(f"{week} is listed, but its file is not there")
        return self._file(week) if week in self.contents else None

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        self.fetches.append(week)
        if week in self.bad | self.dead:
            raise BadFile(f"{week} is a web page")
        data = self.contents[week].encode()
        sink.write(data)
        return Fetched(self._file(week), hashlib.sha256(data).hexdigest(), len(data), NOON)

    def _file(self, week: str) -> PublishedFile:
        return PublishedFile(week, week, etag=f'"{self.contents[week]}"')


class DiscoveryTicker:
    """Runs discovery on a feed and a lake, tick after tick. A test decides which weeks have landed."""

    def __init__(self, feed: StubFeed, lake: str) -> None:
        self.feed, self.raw, self.cursor = feed, RawFiles(lake), DiscoveryCursor()
        self.landed: set[str] = set()
        self.in_progress: set[str] = set()
        self.attempts: dict[str, Attempt] = {}
        self.now = NOON

    def tick(self) -> Discovery:
        self.feed.probed.clear()
        self.feed.fetches.clear()
        found = find_due_weeks(
            self.feed,
            self.raw,
            DiscoveryCursor.model_validate_json(self.cursor.model_dump_json()),
            landed=self.landed,
            calendar=WEEKS,
            in_progress=self.in_progress,
            last_attempts=lambda weeks: {week: attempt for week, attempt in self.attempts.items() if week in weeks},
            now=self.now,
        )
        self.cursor = found.cursor
        return found

    def land(self, *weeks: str) -> None:
        for week in weeks:
            self.raw.land(self.feed, week)
            self.landed.add(week)


@pytest.fixture
def ticker(tmp_path) -> DiscoveryTicker:
    return DiscoveryTicker(StubFeed(dict.fromkeys((FIRST, SECOND, THIRD), "old")), str(tmp_path / "lake"))


@pytest.fixture
def few_probes(monkeypatch):
    monkeypatch.setattr(discovery, "MAX_PROBES_PER_TICK", 2)


def test_new_weeks_are_due_once_oldest_first(ticker):
    assert list(ticker.tick().due) == [FIRST, SECOND, THIRD]
    ticker.in_progress = {FIRST, SECOND, THIRD}
    assert not ticker.tick().due
    ticker.in_progress = set()
    ticker.land(FIRST, SECOND, THIRD)
    assert not ticker.tick().due
    assert ticker.cursor.asked == {}


def test_a_week_with_other_contents_is_due_and_no_other(ticker):
    ticker.land(FIRST, SECOND, THIRD)
    ticker.tick()
    ticker.feed.contents[SECOND] = "new"
    assert list(ticker.tick().due) == [SECOND]
    ticker.in_progress = {SECOND}
    assert not ticker.tick().due
    ticker.in_progress = set()
    ticker.land(SECOND)
    assert not ticker.tick().due


def test_a_week_that_changes_again_during_its_run_is_due_again_afterwards(ticker):
    ticker.tick()
    ticker.land(FIRST, SECOND, THIRD)
    ticker.in_progress = {SECOND}
    ticker.feed.contents[SECOND] = "newer"
    assert not ticker.tick().due
    ticker.in_progress = set()
    assert list(ticker.tick().due) == [SECOND]


def test_an_unchanged_list_is_not_read_again_and_added_weeks_are_found(ticker):
    ticker.tick()
    ticker.land(FIRST, SECOND, THIRD)
    assert ticker.tick().available is None
    ticker.feed.contents[WEEKS[3]] = "first"
    found = ticker.tick()
    assert found.available == 4
    assert list(found.due) == [WEEKS[3]]


def test_weeks_that_are_missing_in_the_lake_are_due_although_the_list_is_unchanged(ticker):
    ticker.tick()
    ticker.land(FIRST, SECOND, THIRD)
    ticker.tick()
    ticker.landed = {FIRST}
    assert list(ticker.tick().due) == [SECOND, THIRD]


def test_another_feed_is_discovered_from_the_beginning(ticker):
    ticker.tick()
    ticker.feed.location = "elsewhere"
    assert list(ticker.tick().due) == [FIRST, SECOND, THIRD]


def test_probes_are_limited_and_continue_in_the_next_tick(ticker, few_probes):
    assert list(ticker.tick().due) == [FIRST, SECOND]
    ticker.in_progress = {FIRST, SECOND}
    assert list(ticker.tick().due) == [THIRD]
    ticker.in_progress = set()
    ticker.land(FIRST, SECOND, THIRD)
    ticker.tick()
    for expected in ([THIRD, FIRST], [SECOND, THIRD], [FIRST, SECOND]):
        assert not ticker.tick().due
        assert ticker.feed.probed == expected


def test_a_feed_that_lists_versions_needs_no_probes(ticker, few_probes):
    ticker.feed.lists_signatures = True
    assert list(ticker.tick().due) == [FIRST, SECOND, THIRD]


def test_fourteen_years_are_discovered_within_eight_ticks(tmp_path):
    ticker = DiscoveryTicker(StubFeed(dict.fromkeys(WEEKS, "old")), str(tmp_path))
    for _ in range(8):
        found = ticker.tick()
        assert len(ticker.feed.probed) <= discovery.MAX_PROBES_PER_TICK
        ticker.in_progress |= found.due.keys()
    assert ticker.in_progress == set(WEEKS)
    assert len(ticker.cursor.model_dump_json()) < 32_000


def test_a_tick_ends_when_its_time_is_over(ticker, monkeypatch):
    monkeypatch.setattr(discovery, "SECONDS_PER_TICK", -1.0)
    assert not ticker.tick().due
    assert ticker.feed.probed == []


def test_a_bad_file_is_due_once_until_it_is_replaced(ticker):
    ticker.land(FIRST, THIRD)
    ticker.feed.bad = {SECOND}
    assert list(ticker.tick().due) == [SECOND]
    ticker.attempts = {SECOND: Attempt(NOON, "a web page")}
    ticker.now += dt.timedelta(days=30)
    assert not ticker.tick().due
    ticker.feed.contents[SECOND] = "new"
    assert list(ticker.tick().due) == [SECOND]


def test_a_landed_week_whose_new_file_is_bad_is_due_once(ticker):
    ticker.land(FIRST, SECOND, THIRD)
    ticker.feed.contents[SECOND] = "rubbish"
    ticker.feed.bad = {SECOND}
    assert list(ticker.tick().due) == [SECOND]
    ticker.attempts = {SECOND: Attempt(NOON, "a web page")}
    assert not ticker.tick().due


@pytest.mark.parametrize("landed_before", [False, True])
def test_a_dead_link_is_due_once_and_again_when_the_file_is_there(ticker, landed_before):
    ticker.land(FIRST, THIRD, *([SECOND] if landed_before else []))
    ticker.feed.dead = {SECOND}
    ticker.feed.contents[THIRD] = "new"
    assert list(ticker.tick().due) == [SECOND, THIRD]
    ticker.land(THIRD)
    ticker.attempts = {SECOND: Attempt(NOON, "not there")}
    ticker.now += dt.timedelta(days=30)
    for _ in range(2):  # the list is unchanged in the second tick
        found = ticker.tick()
        assert (found.error, list(found.due)) == (None, [])
    ticker.feed.dead, ticker.feed.contents[SECOND] = set(), "new"
    assert list(ticker.tick().due) == [SECOND]


def test_a_run_that_failed_for_another_reason_is_due_again_after_increasing_waits(ticker):
    ticker.tick()
    ticker.land(FIRST, THIRD)
    for hours in (1, 2, 4, 8, 16, 24, 24):
        ticker.attempts = {SECOND: Attempt(ticker.now, None)}
        ticker.now += dt.timedelta(hours=hours, seconds=-1)
        assert not ticker.tick().due
        ticker.now += dt.timedelta(seconds=2)
        assert list(ticker.tick().due) == [SECOND]


def test_a_week_whose_run_is_unknown_is_due_again(ticker):
    """The run was deleted from the queue."""
    first = ticker.tick().due[FIRST].requested
    second = ticker.tick().due[FIRST].requested
    assert (first.times, second.times) == (1, 2)


def test_an_unreachable_feed_loses_nothing_and_failures_are_counted(ticker):
    ticker.feed.fault = FeedUnavailable("down")
    for times in (1, 2, 3):
        assert ticker.tick().cursor.failed_looks == times
    ticker.feed.fault = None
    found = ticker.tick()
    assert list(found.due) == [FIRST, SECOND, THIRD]
    assert found.cursor.failed_looks == 0


def test_a_week_with_a_damaged_manifest_is_due(ticker):
    ticker.land(FIRST, SECOND, THIRD)
    (ticker.raw.path(SECOND) / "manifest.json").write_bytes(b"rubbish")
    assert list(ticker.tick().due) == [SECOND]


def test_an_unavailable_week_is_forgotten_if_it_has_not_landed_and_kept_if_it_has(ticker):
    ticker.tick()
    ticker.land(FIRST, SECOND)
    del ticker.feed.contents[SECOND], ticker.feed.contents[THIRD]
    ticker.attempts = {THIRD: Attempt(NOON - dt.timedelta(days=2), None)}
    assert not ticker.tick().due
    assert ticker.cursor.asked == {}
