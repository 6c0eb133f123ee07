"""Faults that landing from a portal must handle: too many requests, cut responses, inconsistent pages, corrections."""

import contextlib
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pytest
import stamina

from mta_pipeline.hourly_ridership.contract import HOURLY_RIDERSHIP
from mta_pipeline.lake.raw import DamagedRawFile
from mta_pipeline.lake.raw_pages import SodaRaw
from mta_pipeline.sample import SampleFeed
from mta_pipeline.sample.portal import Answer, Handler, Portal, serve
from mta_pipeline.sources import http
from mta_pipeline.sources.errors import BadFile, FeedRefused, FeedSlow, FeedUnavailable, NotPublished
from mta_pipeline.sources.socrata.client import TOKEN_HEADER, SodaApi
from mta_pipeline_tests.support.drip import Drip
from mta_pipeline_tests.support.faulty_portal import FaultyPortal, always, once

WEEK, NEXT_WEEK, BORDER = "2024-01-06", "2024-01-13", "2019-12-28"
BEFORE, DATA_SET = "t69i-h2me", "wujg-7c2s"
TOKEN = "not-for-anybody-s-eyes"
PAGE = 500


class CuttingHandler(Handler):
    """Hangs up in the middle of every third response."""

    def do_GET(self) -> None:  # noqa: N802
        if len(self.server.asked) % 3 != 2:
            super().do_GET()
            return
        body = self.server.answer(self.path, {}).body
        self.send_response(200)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    feed = SampleFeed(3, 12, WEEK)
    return feed.hourly([WEEK, NEXT_WEEK])


@pytest.fixture
def portal(rows) -> Iterator[FaultyPortal]:
    with serve(FaultyPortal({DATA_SET: rows})) as portal:
        yield portal


@pytest.fixture
def raw(tmp_path) -> SodaRaw:
    return SodaRaw(str(tmp_path), HOURLY_RIDERSHIP)


@pytest.fixture
def api(portal) -> SodaApi:
    return SodaApi(portal.url, TOKEN, page_rows=PAGE)


def of_week(rows: pl.DataFrame, week: str = WEEK) -> pl.DataFrame:
    is_next = pl.col("transit_timestamp").dt.date() >= pl.lit(NEXT_WEEK).str.to_date()
    return rows.filter(is_next if week == NEXT_WEEK else ~is_next)


def riders(raw: SodaRaw, week: str = WEEK) -> float:
    manifest = raw.manifest(week)
    assert manifest is not None
    return raw.rows(manifest, week)["ridership"].cast(pl.Float64).sum()


def test_a_week_lands_page_by_page_and_landing_it_again_requests_no_page(portal, api, raw, rows):
    manifest, is_new = raw.land(api, WEEK)
    assert (is_new, manifest.rows) == (True, of_week(rows).height)
    assert riders(raw) == of_week(rows)["ridership"].sum()
    pages = portal.requests()["page"]
    assert pages == len(manifest.pages) == -(-manifest.rows // PAGE)
    assert raw.land(api, WEEK) == (manifest, False)
    assert portal.requests()["page"] == pages


def test_pages_are_transferred_compressed_and_the_token_is_sent_only_in_its_header(portal, api, raw, caplog):
    with caplog.at_level(logging.DEBUG):
        raw.land(api, WEEK)
    assert {headers[TOKEN_HEADER] for headers in portal.headers} == {TOKEN}
    assert all("gzip" in headers["Accept-Encoding"] for headers in portal.headers)
    files = [path.read_bytes() for path in Path(raw.lake_root).rglob("*") if path.is_file()]
    assert TOKEN not in caplog.text + " ".join(portal.asked) + repr(api)
    assert not any(TOKEN.encode() in contents for contents in files)


def test_a_refused_token_is_not_retried_and_not_shown(portal, api, raw):
    portal.faults.append(always(Answer(403, "application/json", json.dumps({"message": "Invalid app_token"}).encode())))
    with pytest.raises(FeedRefused, match=r"403 Forbidden .Invalid app_token.*MTA_SODA_TOKEN") as refused:
        raw.land(api, WEEK)
    assert len(portal.asked) == 1
    assert TOKEN not in str(refused.value)


def test_a_redirect_to_another_site_is_not_followed_with_the_token(portal, raw, rows):
    class Redirecting(Handler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(302)
            self.send_header("Location", f"{portal.url}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serve(FaultyPortal({DATA_SET: rows})) as elsewhere:
        elsewhere.RequestHandlerClass = Redirecting
        with pytest.raises(FeedRefused, match="redirected to another site"):
            raw.land(SodaApi(elsewhere.url, TOKEN), WEEK)
    assert portal.asked == []


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_portal_that_sends_single_bytes_is_left_at_the_deadline(portal, monkeypatch, from_the_start):
    class Dripping(Handler):
        def do_GET(self) -> None:  # noqa: N802
            if from_the_start:
                self.wfile = Drip(hung_up, closing, self.connection)
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile = Drip(hung_up, closing, self.connection)
            self.wfile.write(bytes(100_000))

    hung_up, closing = threading.Semaphore(0), threading.Event()
    monkeypatch.setattr(http, "FAIL_FAST_TIMEOUT", 1)
    portal.RequestHandlerClass = Dripping
    api = SodaApi(portal.url, fail_fast=True)
    with stamina.set_testing(False):
        for request in (lambda: api.changed_at(DATA_SET), lambda: api.page(DATA_SET, ("ridership",), None, 0)):
            with pytest.raises(FeedSlow, match="no answer in time"):
                request()
            assert hung_up.acquire(timeout=60)


@pytest.mark.parametrize(
    "answer",
    [
        "[" * 100_000,
        '[{"rows": Infinity}]',
        '[{"rows": 1e999}]',
        f'[{{"rows": {"9" * 5_000}}}]',
        f'[{{"rows": "{"9" * 5_000}"}}]',
        '{"rowsUpdatedAt": 1, "columns": [{"fieldName": [], "dataTypeName": 1}, {"fieldName": "", "dataTypeName": 1}]}',
        '{"rowsUpdatedAt": 1, "columns": {"fieldName": 1}}',
        "null",
    ],
)
def test_an_answer_with_other_contents_gives_no_error_other_than_those_of_feeds(portal, api, answer):
    portal.faults.append(always(Answer(200, "application/json", answer.encode())))
    with pytest.raises(BadFile):
        api.snapshot(DATA_SET, None)
    for request in (lambda: api.days(DATA_SET, "transit_timestamp"), lambda: api.view(DATA_SET)):
        with contextlib.suppress(BadFile):
            request()


def test_too_many_requests_are_retried(portal, api, raw, rows):
    portal.faults += [once(Answer(429, "text/plain", b"")), once(Answer(429, "text/plain", b""), "count")]
    raw.land(api, WEEK)
    assert riders(raw) == of_week(rows)["ridership"].sum()


def test_after_too_many_refused_requests_the_next_landing_continues_with_the_failed_page(portal, api, raw, rows):
    portal.faults.append(always(Answer(429, "text/plain", b""), "offset=1000"))
    with pytest.raises(FeedUnavailable, match=r"rows 1,001 to 1,500: the server answers 429"):
        raw.land(api, WEEK)
    assert raw.manifest(WEEK) is None
    portal.faults.clear()
    portal.asked.clear()
    manifest, _ = raw.land(api, WEEK)
    assert portal.requests()["page"] == len(manifest.pages) - 2
    assert riders(raw) == of_week(rows)["ridership"].sum()


def test_connections_that_are_cut_in_the_middle_of_a_page_lose_nothing(portal, api, raw, rows):
    portal.RequestHandlerClass = CuttingHandler
    raw.land(api, WEEK)
    assert riders(raw) == of_week(rows)["ridership"].sum()


def test_repeated_rows_of_an_unordered_portal_do_not_land(portal, api, raw):
    answer = Portal.answer
    portal.faults.append(
        lambda url, headers: (
            answer(portal, url.replace("order=%3Aid", "order=none"), headers) if "order" in url else None
        )
    )
    with pytest.raises(FeedUnavailable, match="repeated rows, so other rows are missing, 3 times"):
        raw.land(api, WEEK)
    assert raw.manifest(WEEK) is None


def test_rows_that_are_repeated_once_are_requested_again(portal, api, raw, rows):
    portal.faults.append(once(_page(portal, api, 0)))
    raw.land(api, WEEK)
    assert riders(raw) == of_week(rows)["ridership"].sum()


def test_a_page_that_lacks_rows_is_requested_again(portal, api, raw, rows):
    short = _page(portal, api, 500)
    lines = short.body.splitlines(keepends=True)
    portal.faults.append(once(short._replace(body=b"".join(lines[:-1]))))
    raw.land(api, WEEK)
    assert riders(raw) == of_week(rows)["ridership"].sum()


def test_a_web_page_instead_of_rows_keeps_the_landed_week(portal, api, raw, rows):
    raw.land(api, WEEK)
    portal.correct(DATA_SET, 0, ridership="999.0")
    portal.faults.append(always(Answer(200, "text/html", b"<html>Maintenance</html>"), "offset"))
    with pytest.raises(BadFile, match="web page"):
        raw.land(api, WEEK)
    assert riders(raw) == of_week(rows)["ridership"].sum()


def test_a_missing_column_is_named(rows, raw):
    with (
        serve(FaultyPortal({DATA_SET: rows.rename({"ridership": "riders"})})) as portal,
        pytest.raises(FeedRefused, match="No such column: ridership"),
    ):
        raw.land(SodaApi(portal.url), WEEK)


def test_a_correction_is_detected_and_only_its_week_lands_again(portal, api, raw, rows):
    for week in (WEEK, NEXT_WEEK):
        raw.land(api, week)
    changed_before = api.changed_at(DATA_SET)
    portal.correct(DATA_SET, 7, ridership="1000.0")
    assert api.changed_at(DATA_SET) != changed_before
    assert [raw.is_due(api, week) for week in (WEEK, NEXT_WEEK)] == [True, False]
    manifest, is_new = raw.land(api, WEEK)
    assert is_new
    assert riders(raw) == of_week(rows)["ridership"].sum() - rows["ridership"][7] + 1000
    assert {path.name for path in raw.path(WEEK).iterdir()} == {
        "manifest.json",
        *(page.object for page in manifest.pages),
    }


def test_a_correction_while_a_week_is_read_starts_the_week_again(portal, api, raw, rows):
    corrected = []

    def correct_at_the_second_page(url: str, _: Mapping[str, str]) -> None:
        if "offset=500" in url and not corrected:
            corrected.append(portal.correct(DATA_SET, 0, ridership="1000.0"))

    portal.faults.append(correct_at_the_second_page)
    raw.land(api, WEEK)
    assert riders(raw) == of_week(rows)["ridership"].sum() - rows["ridership"][0] + 1000


def test_a_week_in_two_data_sets_is_fetched_from_both(raw):
    feed = SampleFeed(3, 12, BORDER)
    rows = feed.hourly([BORDER])
    in_2019 = pl.col("transit_timestamp").dt.year() == 2019
    with serve(FaultyPortal({BEFORE: rows.filter(in_2019), DATA_SET: rows.filter(~in_2019)})) as portal:
        manifest, _ = raw.land(SodaApi(portal.url), BORDER)
    assert {part.data_set: part.rows for part in manifest.parts} == {
        BEFORE: rows.filter(in_2019).height,
        DATA_SET: rows.filter(~in_2019).height,
    }
    assert riders(raw, BORDER) == rows["ridership"].sum()


def test_weeks_before_the_first_data_set_are_not_published_and_not_requested(portal, api, raw):
    with pytest.raises(NotPublished, match=r"week 2014-10-11.* no rows"):
        raw.land(api, "2014-10-11")
    assert portal.asked == []


def test_a_page_that_is_damaged_on_disk_is_named_and_fetched_again(api, raw, rows):
    manifest, _ = raw.land(api, WEEK)
    (raw.path(WEEK) / manifest.pages[1].object).write_bytes(b"gone")
    with pytest.raises(
        DamagedRawFile, match=f"{manifest.pages[1].object}.*materialize raw/hourly_ridership for {WEEK}"
    ):
        raw.rows(manifest, WEEK)
    raw.land(api, WEEK)
    assert riders(raw) == of_week(rows)["ridership"].sum()


def test_a_missing_page_makes_its_week_due_and_a_damaged_one_is_found_and_set_aside(api, raw, rows):
    manifest, _ = raw.land(api, WEEK)
    assert raw.problem(WEEK) is None
    page = Path(str(raw.path(WEEK) / manifest.objects[0]))
    page.write_bytes(b"rubbish")
    assert page.name in raw.problem(WEEK)
    raw.set_damaged_aside(WEEK)
    assert raw.is_due(api, WEEK)
    raw.land(api, WEEK)
    assert raw.problem(WEEK) is None
    assert not raw.is_due(api, WEEK)


def test_an_oversized_page_is_refused(portal, api, raw, monkeypatch):
    monkeypatch.setattr("mta_pipeline.sources.socrata.client.MAX_PAGE_BYTES", 10_000)
    with pytest.raises(BadFile, match="more than 10,000 bytes"):
        raw.land(api, WEEK)


def _page(portal: Portal, api: SodaApi, offset: int) -> Answer:
    """The page that the portal returns without faults."""
    kept, portal.faults = portal.faults, []
    body = api.page(DATA_SET, HOURLY_RIDERSHIP.fields, HOURLY_RIDERSHIP.where(WEEK), offset)
    portal.faults = kept
    return Answer(200, "text/csv", body)
