"""A look finds what is new or other than what has landed, asks little, and leaves the rest to the next one."""

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
class WrittenFeed:
    """A feed whose list, files and faults a test writes down; it counts what it is asked."""

    contents: dict[str, str]
    location: str = "memory"
    lists_signatures: bool = False
    fault: FeedError | None = None
    bad: set[str] = field(default_factory=set)
    looks: list[str] = field(default_factory=list)
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

    def look(self, week: str) -> PublishedFile | None:
        if self.fault:
            raise self.fault
        self.looks.append(week)
        return self._file(week) if week in self.contents else None

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        self.fetches.append(week)
        if week in self.bad:
            raise BadFile(f"{week} is a web page")
        data = self.contents[week].encode()
        sink.write(data)
        return Fetched(self._file(week), hashlib.sha256(data).hexdigest(), len(data), NOON)

    def _file(self, week: str) -> PublishedFile:
        return PublishedFile(week, week, etag=f'"{self.contents[week]}"')


class Watch:
    """Look after look at a feed, with a lake that lands what a test says has landed."""

    def __init__(self, feed: WrittenFeed, lake: str) -> None:
        self.feed, self.raw, self.cursor = feed, RawFiles(lake), DiscoveryCursor()
        self.landed: set[str] = set()
        self.in_progress: set[str] = set()
        self.attempts: dict[str, Attempt] = {}
        self.now = NOON

    def look(self) -> Discovery:
        self.feed.looks.clear()
        self.feed.fetches.clear()
        found = find_due_weeks(
            self.feed,
            self.raw,
            DiscoveryCursor.model_validate_json(self.cursor.model_dump_json()),
            landed=self.landed,
            calendar=WEEKS,
            in_progress=self.in_progress,
            last_attempts=lambda weeks: {week: how for week, how in self.attempts.items() if week in weeks},
            now=self.now,
        )
        self.cursor = found.cursor
        return found

    def land(self, *weeks: str) -> None:
        for week in weeks:
            self.raw.land(self.feed, week)
            self.landed.add(week)


@pytest.fixture
def watch(tmp_path) -> Watch:
    return Watch(WrittenFeed(dict.fromkeys((FIRST, SECOND, THIRD), "old")), str(tmp_path / "lake"))


@pytest.fixture
def few_questions(monkeypatch):
    monkeypatch.setattr(discovery, "MAX_PROBES_PER_TICK", 2)


def test_new_weeks_are_asked_for_once_and_the_oldest_first(watch):
    assert list(watch.look().due) == [FIRST, SECOND, THIRD]
    watch.in_progress = {FIRST, SECOND, THIRD}
    assert not watch.look().due
    watch.in_progress = set()
    watch.land(FIRST, SECOND, THIRD)
    assert not watch.look().due
    assert watch.cursor.asked == {}


def test_a_week_with_other_contents_is_asked_for_and_no_other(watch):
    watch.land(FIRST, SECOND, THIRD)
    watch.look()
    watch.feed.contents[SECOND] = "new"
    assert list(watch.look().due) == [SECOND]
    watch.in_progress = {SECOND}
    assert not watch.look().due
    watch.in_progress = set()
    watch.land(SECOND)
    assert not watch.look().due


def test_what_changes_again_while_its_run_is_in_flight_is_asked_for_again_afterwards(watch):
    watch.look()
    watch.land(FIRST, SECOND, THIRD)
    watch.in_progress = {SECOND}
    watch.feed.contents[SECOND] = "newer"
    assert not watch.look().due
    watch.in_progress = set()
    assert list(watch.look().due) == [SECOND]


def test_an_unchanged_list_is_not_read_again_and_weeks_that_join_it_are_found(watch):
    watch.look()
    watch.land(FIRST, SECOND, THIRD)
    assert watch.look().available is None
    watch.feed.contents[WEEKS[3]] = "first"
    found = watch.look()
    assert found.available == 4
    assert list(found.due) == [WEEKS[3]]


def test_another_lake_gets_all_weeks_though_the_list_has_not_changed(watch):
    watch.look()
    watch.land(FIRST, SECOND, THIRD)
    watch.look()
    watch.landed = {FIRST}
    assert list(watch.look().due) == [SECOND, THIRD]


def test_another_feed_is_watched_from_the_beginning(watch):
    watch.look()
    watch.feed.location = "elsewhere"
    assert list(watch.look().due) == [FIRST, SECOND, THIRD]


def test_questions_are_capped_and_go_on_at_the_next_look(watch, few_questions):
    assert list(watch.look().due) == [FIRST, SECOND]
    watch.in_progress = {FIRST, SECOND}
    assert list(watch.look().due) == [THIRD]
    watch.in_progress = set()
    watch.land(FIRST, SECOND, THIRD)
    watch.look()
    for expected in ([THIRD, FIRST], [SECOND, THIRD], [FIRST, SECOND]):
        assert not watch.look().due
        assert watch.feed.looks == expected


def test_a_directory_says_all_of_its_weeks_at_once(watch, few_questions):
    watch.feed.lists_signatures = True
    assert list(watch.look().due) == [FIRST, SECOND, THIRD]


def test_fourteen_years_are_asked_for_within_eight_looks(tmp_path):
    watch = Watch(WrittenFeed(dict.fromkeys(WEEKS, "old")), str(tmp_path))
    for _ in range(8):
        found = watch.look()
        assert len(watch.feed.looks) <= discovery.MAX_PROBES_PER_TICK
        watch.in_progress |= found.due.keys()
    assert watch.in_progress == set(WEEKS)
    assert len(watch.cursor.model_dump_json()) < 32_000


def test_a_look_ends_when_its_time_is_over(watch, monkeypatch):
    monkeypatch.setattr(discovery, "SECONDS_PER_TICK", -1.0)
    assert not watch.look().due
    assert watch.feed.looks == []


def test_a_bad_file_is_asked_for_once_until_it_is_another(watch):
    watch.land(FIRST, THIRD)
    watch.feed.bad = {SECOND}
    assert list(watch.look().due) == [SECOND]
    watch.attempts = {SECOND: Attempt(NOON, "a web page")}
    watch.now += dt.timedelta(days=30)
    assert not watch.look().due
    watch.feed.contents[SECOND] = "new"
    assert list(watch.look().due) == [SECOND]


def test_a_landed_week_whose_new_file_is_bad_is_asked_for_once(watch):
    watch.land(FIRST, SECOND, THIRD)
    watch.feed.contents[SECOND] = "rubbish"
    watch.feed.bad = {SECOND}
    assert list(watch.look().due) == [SECOND]
    watch.attempts = {SECOND: Attempt(NOON, "a web page")}
    assert not watch.look().due


def test_a_run_that_failed_for_another_reason_is_asked_for_again_after_ever_longer_waits(watch):
    watch.look()
    watch.land(FIRST, THIRD)
    for hours in (1, 2, 4, 8, 16, 24, 24):
        watch.attempts = {SECOND: Attempt(watch.now, None)}
        watch.now += dt.timedelta(hours=hours, seconds=-1)
        assert not watch.look().due
        watch.now += dt.timedelta(seconds=2)
        assert list(watch.look().due) == [SECOND]


def test_a_run_that_nobody_knows_of_is_asked_for_again(watch):
    """It was deleted from the queue."""
    first = watch.look().due[FIRST].requested
    second = watch.look().due[FIRST].requested
    assert (first.times, second.times) == (1, 2)


def test_a_feed_out_of_reach_loses_nothing_and_is_counted(watch):
    watch.feed.fault = FeedUnavailable("down")
    for times in (1, 2, 3):
        assert watch.look().cursor.failed_looks == times
    watch.feed.fault = None
    found = watch.look()
    assert list(found.due) == [FIRST, SECOND, THIRD]
    assert found.cursor.failed_looks == 0


def test_a_damaged_manifest_is_a_week_to_land_again(watch):
    watch.land(FIRST, SECOND, THIRD)
    (watch.raw.path(SECOND) / "manifest.json").write_bytes(b"rubbish")
    assert list(watch.look().due) == [SECOND]


def test_a_week_that_is_no_longer_on_offer_is_forgotten_if_it_has_not_landed_and_kept_if_it_has(watch):
    watch.look()
    watch.land(FIRST, SECOND)
    del watch.feed.contents[SECOND], watch.feed.contents[THIRD]
    watch.attempts = {THIRD: Attempt(NOON - dt.timedelta(days=2), None)}
    assert not watch.look().due
    assert watch.cursor.asked == {}
