"""The portal as a feed: weeks from yearly data sets, few requests, corrections, faults, and the token."""

import datetime as dt
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import stamina
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import SecretStr

from mta_pipeline.build import build_defs
from mta_pipeline.lake import portal as portal_module
from mta_pipeline.lake.feeds import feed_at
from mta_pipeline.lake.portal import PortalFeed, usage_data_sets
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.sample import SampleFeed
from mta_pipeline.sample.portal import Answer, Portal, serve
from mta_pipeline.sample.usage import usage_data_sets as by_data_set
from mta_pipeline.sample.usage import usage_rows
from mta_pipeline.settings import Settings
from mta_pipeline.sources import http
from mta_pipeline.sources.errors import BadFile, FeedRefused, FeedSlow, FeedUnavailable, NotPublished
from mta_pipeline.sources.socrata.client import BUSY_ATTEMPTS, MOST_ROWS, TOKEN_HEADER, SodaApi
from mta_pipeline.turnstile.complexes import control_areas
from mta_pipeline.turnstile.readings import stage
from mta_pipeline_tests.support.faulty_portal import FaultyPortal, always, once
from mta_pipeline_tests.support.published_files import moment

WEEK, BORDER, NEXT = "2018-12-22", "2018-12-29", "2019-01-05"
OLD, NEW = "bjcb-yee3", "xfn5-qji9"
"""The data sets of 2018 and 2019. The week BORDER is in both."""
DATA_SETS = [source.id for source in usage_data_sets()]
TOKEN = "not-for-anybody-s-eyes"
PAGE = 100
BUSY = Answer(429, "text/plain", b"")


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture(scope="module")
def texts() -> dict[str, bytes]:
    """The weekly files of the sample whose readings the portal has."""
    return {made.week: made.text for made in SampleFeed(3, 6, WEEK).stream([WEEK, BORDER, NEXT])}


@pytest.fixture(scope="module")
def rows(texts) -> pl.DataFrame:
    return usage_rows(texts.values())


@pytest.fixture
def portal(rows) -> Iterator[FaultyPortal]:
    with serve(FaultyPortal(by_data_set(rows, usage_data_sets()))) as portal:
        yield portal


@pytest.fixture
def feed(portal) -> PortalFeed:
    return opened(portal)


@pytest.fixture
def raw(tmp_path) -> RawFiles:
    return RawFiles(str(tmp_path))


def opened(portal: Portal, *, fail_fast: bool = False, page_rows: int = PAGE) -> PortalFeed:
    """A new feed, as each step of a run and each tick opens one."""
    return PortalFeed(
        SodaApi(portal.url, TOKEN, setting="MTA_FEED", page_rows=page_rows), usage_data_sets(), fail_fast=fail_fast
    )


def of_week(rows: pl.DataFrame, week: str) -> pl.DataFrame:
    start = moment(week)
    return rows.filter(pl.col("date").is_between(start, start + dt.timedelta(days=7), closed="left"))


def readings(text: bytes, week: str) -> pl.DataFrame:
    return stage(text, week, control_areas()).readings.drop("source_line")


def fetched(feed: PortalFeed, week: str) -> bytes:
    sink = io.BytesIO()
    feed.fetch(week, sink)
    return sink.getvalue()


def served(rows: pl.DataFrame, **frames: pl.DataFrame) -> FaultyPortal:
    """A portal with these rows, except for the data sets given by year, such as `of_2018`."""
    ids = {f"of_{source.first.year}": source.id for source in usage_data_sets() if source.first}
    return FaultyPortal({**by_data_set(rows, usage_data_sets()), **{ids[year]: rows for year, rows in frames.items()}})


def test_weeks_of_a_portal_that_serves_a_sample_are_marked_as_synthetic(feed):
    assert feed.fetch(WEEK, io.BytesIO()).is_sample


# --- the list ---


def test_the_list_has_the_weeks_of_all_data_sets(feed, portal):
    listing = feed.listing_unless(None)
    assert list(listing.weeks) == [WEEK, BORDER, NEXT]
    assert [file.url for file in listing.weeks.values()] == [f"{portal.url}/d/{name}" for name in (OLD, OLD, NEW)]
    assert listing.notes == []


def test_an_unchanged_list_costs_one_request_per_data_set_and_a_changed_one_two(feed, portal):
    version = feed.listing_unless(None).version
    assert portal.requests() == {"view": len(DATA_SETS), "days": len(DATA_SETS)}
    portal.asked.clear()
    assert opened(portal).listing_unless(version) is None
    assert portal.requests() == {"view": len(DATA_SETS)}
    portal.correct(NEW, 0, entries="1")
    assert opened(portal).listing_unless(version).version != version


def test_weeks_at_the_edges_without_all_days_are_named_and_not_listed(rows):
    cut = rows.filter(pl.col("date").is_between(moment("2018-12-24"), moment("2019-01-10")))
    with serve(served(cut)) as portal:
        listing = opened(portal).listing_unless(None)
    assert list(listing.weeks) == [BORDER]
    assert listing.notes == [
        f"Week {WEEK} is not available at {portal.url}: the data sets have no rows of 2018-12-22, 2018-12-23",
        f"Week {NEXT} is not available at {portal.url}: the data sets have no rows of 2019-01-11",
    ]


# --- a week ---


def test_a_week_has_the_same_readings_as_its_weekly_file(feed, portal, texts, rows):
    for week in (WEEK, NEXT):
        portal.asked.clear()
        text = fetched(feed, week)
        assert_frame_equal(readings(text, week), readings(texts[week], week))
        pages = -(-of_week(rows, week).height // PAGE)
        assert portal.requests() == {"view": 1, "count": 2, "page": pages}


def test_a_week_around_new_year_comes_from_two_data_sets(feed, portal, raw, texts, rows):
    manifest, _ = raw.land(feed, BORDER)
    year = of_week(rows, BORDER)["date"].dt.year()
    assert {part.export: part.rows for part in manifest.exports} == {
        OLD: (year == 2018).sum(),
        NEW: (year == 2019).sum(),
    }
    assert_frame_equal(readings(raw.read(BORDER), BORDER), readings(texts[BORDER], BORDER))
    asked = portal.requests()
    assert (asked["view"], asked["count"]) == (2, 4)


def test_pages_have_the_maximum_size_so_that_a_real_week_needs_six(portal, texts, rows):
    fetched(opened(portal, page_rows=MOST_ROWS), WEEK)
    assert portal.requests() == {"view": 1, "count": 2, "page": 1}
    assert -(-255_000 // MOST_ROWS) == 6


@examples(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.integers(0, 2**32), page_rows=st.integers(100, 1_000))
def test_neither_the_order_of_rows_nor_the_size_of_pages_changes_the_text(order, page_rows, rows, feed):
    with serve(served(rows.sample(fraction=1, shuffle=True, seed=order))) as other:
        assert fetched(opened(other, page_rows=page_rows), BORDER) == fetched(feed, BORDER)


def test_other_names_of_columns_and_a_missing_station_give_the_same_readings(rows, texts):
    in_2018 = rows.filter(pl.col("date").dt.year() == 2018)
    in_2019 = rows.filter(pl.col("date").dt.year() == 2019)
    renamed = in_2018.rename({"line_name": "linename", "description": "desc"}).with_columns(
        pl.col("entries", "exits").cast(pl.Int64)
    )
    with serve(served(rows, of_2018=renamed, of_2019=in_2019.drop("station"))) as portal:
        for week in (WEEK, BORDER, NEXT):
            found, expected = (readings(text, week) for text in (fetched(opened(portal), week), texts[week]))
            assert_frame_equal(found.drop("station"), expected.drop("station"))
            assert found["station"].null_count() == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows.with_columns(colour=pl.lit("green")), "'colour' is not a known column"),
        (lambda rows: rows.drop("exits"), "EXITS is missing"),
    ],
    ids=["unknown", "missing"],
)
def test_a_wrong_column_is_named_and_nothing_lands(rows, raw, change, expected):
    with serve(served(change(rows))) as portal, pytest.raises(BadFile, match=rf"Week {WEEK}: {OLD}.*{expected}"):
        raw.land(opened(portal), WEEK)
    assert raw.manifest(WEEK) is None


def test_a_week_without_rows_is_not_published_and_one_without_a_day_is_incomplete(rows, feed):
    with pytest.raises(NotPublished, match=r"Week 2018-12-15 .*no rows of it \(data sets: bjcb-yee3\)"):
        fetched(feed, "2018-12-15")
    with pytest.raises(NotPublished, match="none is declared"):
        fetched(feed, "2013-06-01")
    assert feed.look("2018-12-15") is None
    with (
        serve(served(rows.filter(pl.col("date") != moment("2018-12-25")))) as portal,
        pytest.raises(BadFile, match=r"the portal has no rows of 2018-12-25\. A week is complete with rows of all"),
    ):
        fetched(opened(portal), WEEK)


def test_a_wrong_id_is_named(rows):
    with serve(Portal({OLD: rows})) as portal, pytest.raises(FeedRefused) as refused:
        opened(portal).listing_unless(None)
    assert f"{DATA_SETS[0]} at" in str(refused.value)
    assert "there is no such data set. Check MTA_FEED, and the id" in str(refused.value)


def test_a_data_set_without_dates_is_no_data_set_of_readings(rows):
    riders = rows.select(pl.lit("1").alias("ridership"))
    with serve(served(rows, of_2018=riders)) as portal, pytest.raises(BadFile) as bad:
        opened(portal).look(WEEK)
    assert "there is no column date with timestamps" in str(bad.value)
    assert "Its columns are ridership. Correct its id" in str(bad.value)


# --- corrections ---


def test_a_landed_week_is_known_to_be_current_without_counting_its_rows(feed, portal, raw):
    manifests = {week: raw.land(feed, week)[0] for week in (WEEK, BORDER)}
    portal.asked.clear()
    again = opened(portal, fail_fast=True)
    for week, manifest in manifests.items():
        assert raw.manifest_if_unchanged(again, week) == manifest
    assert portal.requests() == {"view": 2}


def test_a_correction_is_detected_and_other_weeks_of_the_data_set_are_counted_once(feed, portal, raw, rows):
    for week in (WEEK, BORDER, NEXT):
        raw.land(feed, week)
    etags = {week: raw.manifest(week).etag for week in (WEEK, BORDER, NEXT)}
    at = rows.filter(pl.col("date").dt.year() == 2018).with_row_index()
    corrected = of_week(at, WEEK)["index"][5]
    portal.correct(OLD, corrected, entries="7")
    portal.asked.clear()
    for counts in (3, 1):  # WEEK, and both data sets of BORDER; then WEEK alone
        again = opened(portal, fail_fast=True)
        current = [raw.manifest_if_unchanged(again, week) is not None for week in (WEEK, BORDER, NEXT)]
        assert current == [False, True, True]
        assert portal.requests() == {"view": 2, "count": counts}
        portal.asked.clear()
    assert raw.manifest(BORDER).etag != etags[BORDER]
    assert raw.manifest(NEXT).etag == etags[NEXT]
    manifest, is_new = raw.land(opened(portal), WEEK)
    assert is_new
    assert manifest.etag != etags[WEEK]
    assert b",7," in raw.read(WEEK)


def test_the_same_rows_with_other_ids_and_times_are_the_same_version(feed, portal, raw, rows):
    before, _ = raw.land(feed, WEEK)
    portal.replace(OLD, rows.filter(pl.col("date").dt.year() == 2018).reverse())
    manifest, is_new = raw.land(opened(portal), WEEK)
    assert not is_new
    assert manifest.sha256 == before.sha256
    assert manifest.etag != before.etag
    assert raw.manifest_if_unchanged(opened(portal), WEEK) == manifest


def test_a_correction_during_the_download_starts_the_week_again(feed, portal, raw):
    corrected = []

    def correct_at_the_second_page(url: str, _: object) -> None:
        if f"offset={PAGE}" in url and not corrected:
            corrected.append(portal.correct(OLD, 0, entries="7777777"))

    portal.faults.append(correct_at_the_second_page)
    raw.land(feed, WEEK)
    assert b",7777777," in raw.read(WEEK)
    assert raw.manifest_if_unchanged(opened(portal), WEEK) is not None


def test_rows_that_keep_changing_do_not_land(feed, portal, raw):
    portal.faults.append(lambda url, _: portal.correct(OLD, 0, entries="1") if "offset" in url else None)
    with pytest.raises(FeedUnavailable, match="the data set changed during the download, 3 times"):
        raw.land(feed, WEEK)
    assert raw.manifest(WEEK) is None


def test_repeated_rows_of_an_unordered_portal_do_not_land(feed, portal, raw):
    answer = Portal.answer
    portal.faults.append(
        lambda url, headers: (
            answer(portal, url.replace("order=%3Aid", "order=none"), headers) if "order" in url else None
        )
    )
    with pytest.raises(FeedUnavailable, match="repeated rows, so other rows are missing, 3 times"):
        raw.land(feed, WEEK)


# --- limits ---


def test_a_tick_fetches_no_pages(portal):
    with pytest.raises(FeedSlow, match=f"Week {WEEK} .*a run will fetch its pages"):
        fetched(opened(portal, fail_fast=True), WEEK)
    assert portal.asked == []


def test_a_tick_gives_up_on_a_portal_that_takes_long_for_its_list(portal, monkeypatch):
    monkeypatch.setattr(portal_module, "SECONDS_FOR_LIST", -1.0)
    with pytest.raises(FeedSlow, match="no list of weeks after"):
        opened(portal, fail_fast=True).listing_unless(None)
    assert opened(portal).listing_unless(None) is not None


@pytest.mark.parametrize("when", ["count", f"offset={PAGE}", "/api/views/"])
def test_too_many_requests_are_repeated(portal, feed, texts, when):
    portal.faults.append(once(BUSY._replace(headers={"Retry-After": "0"}), when))
    assert_frame_equal(readings(fetched(feed, WEEK), WEEK), readings(texts[WEEK], WEEK))


def test_a_portal_that_asks_for_a_long_delay_is_left_alone(portal, feed):
    portal.faults.append(always(BUSY._replace(headers={"Retry-After": "3600"})))
    with pytest.raises(FeedUnavailable, match="the server answers 429") as error:
        feed.look(WEEK)
    assert error.value.retry_after == 3600
    assert len(portal.asked) == 1


def test_a_busy_portal_gets_more_attempts_than_one_that_does_not_answer(portal):
    retries = []
    stamina.instrumentation.set_on_retry_hooks([retries.append])
    try:
        with stamina.set_testing(True, attempts=100, cap=True):
            portal.faults.append(always(BUSY))
            with pytest.raises(FeedUnavailable, match="429"):
                opened(portal).look(WEEK)
            assert len(portal.asked) == BUSY_ATTEMPTS
            retries.clear()
            for address in ("http://127.0.0.1:9", "http://no-such-host.invalid"):
                with pytest.raises(FeedUnavailable, match=r"the connection failed|no answer in time"):
                    PortalFeed(SodaApi(address), usage_data_sets()).look(WEEK)
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert len(retries) == 2 * (http.ATTEMPTS - 1)


# --- the token ---


def test_the_token_is_sent_in_its_header_and_shown_nowhere(portal, raw, caplog, tmp_path):
    with caplog.at_level(logging.DEBUG):
        feed = feed_at(f"soda+{portal.url}", str(tmp_path), token=SecretStr(TOKEN))
        raw.land(feed, WEEK)
        portal.faults.append(always(Answer(403, "application/json", json.dumps({"message": "no"}).encode())))
        with pytest.raises(FeedRefused, match="MTA_SODA_TOKEN") as refused:
            feed.look(BORDER)
    assert {headers[TOKEN_HEADER] for headers in portal.headers} == {TOKEN}
    files = [path.read_bytes().decode("latin-1") for path in Path(raw.lake_root).rglob("*") if path.is_file()]
    assert TOKEN not in " ".join([caplog.text, str(refused.value), repr(feed), feed.location, *portal.asked, *files])


@pytest.mark.parametrize(
    ("feed", "soda", "expected"),
    [
        ("https://data.ny.gov", None, TOKEN),
        ("soda+https://mirror.example", None, TOKEN),
        ("soda+https://mirror.example", "https://data.ny.gov", None),
        ("https://mirror.example/turnstile.html", "https://data.ny.gov", None),
        ("https://mirror.example/turnstile.html", None, None),
    ],
)
def test_the_token_is_only_for_the_portal_that_it_belongs_to(feed, soda, expected):
    portal = {} if soda is None else {"soda": soda}
    token = Settings(feed=feed, lake_root="lake", soda_token=TOKEN, **portal).feed_token
    assert (token and token.get_secret_value()) == expected


def test_the_ui_does_not_show_the_token():
    settings = Settings(feed="https://data.ny.gov", lake_root="lake", soda_token=TOKEN)
    config = build_defs(settings).resolve_job_def("weekly_ridership").resource_defs["feed"].config_schema
    shown = json.dumps(config.default_value, default=str)
    assert TOKEN not in shown
    assert "MTA_SODA_TOKEN" in shown
