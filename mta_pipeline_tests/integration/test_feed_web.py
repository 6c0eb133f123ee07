"""Faults that a feed on the web must handle: missing pages, cut and wrong responses, redirects, hostile links."""

import datetime as dt
import gzip
import io
import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from mta_pipeline.lake.discovery import DiscoveryCursor, find_due_weeks
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.sources import http
from mta_pipeline.sources.errors import BadFile, FeedError, FeedRefused, FeedSlow, FeedUnavailable, NotPublished
from mta_pipeline.sources.turnstile_files import FileFeed, open_feed, web
from mta_pipeline.weeks import file_name
from mta_pipeline_tests.support.assertions import assert_short
from mta_pipeline_tests.support.feed_server import BARE, Fault, FeedServer, serve_feed

WEEK, NEXT_WEEK = "2024-01-06", "2024-01-13"
NAME, NEXT_NAME = file_name(WEEK), file_name(NEXT_WEEK)
CONTENTS = b"A002,R051,02-00-00,59 ST,NQR456W,BMT,01/06/2024,03:00:00,REGULAR,0000105161,0000076217\n" * 20_000
ATTEMPTS = 3
TRANSIENT = {
    "too many requests": Fault(status=429),
    "too many requests, wait": Fault(status=429, headers={"Retry-After": "30"}),
    "too many requests, wait unclear": Fault(status=429, headers={"Retry-After": "soon"}),
    "server error": Fault(status=500),
    "down until a moment": Fault(status=503, headers={"Retry-After": "Sat, 06 Jan 2024 05:00:00 GMT"}),
    "no answer": Fault(hang=5),
    "cut before the body": Fault(cut_after=0),
    "cut in the body": Fault(cut_after=100_000),
    "stalled in the body": Fault(cut_after=100_000, hang=5),
    "announces more than it has": Fault(headers={"Content-Length": str(len(CONTENTS) + 5)}),
    "cut in a longer file that was there before": Fault(
        headers={"Content-Length": str(2 * len(CONTENTS))}, body=CONTENTS + CONTENTS[:100_000]
    ),
    "cut in a chunk": Fault(
        headers={"Content-Length": None, "Transfer-Encoding": "chunked"}, body=b"fff\r\n" + CONTENTS[:100]
    ),
}


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=ATTEMPTS):
        yield


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FeedServer]:
    (tmp_path / NAME).write_bytes(CONTENTS)
    with serve_feed(tmp_path) as server:
        yield server


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short timeout, for responses that never come. All other tests have the default timeout."""
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.5)


def methods_of_requests(server: FeedServer, name: str) -> list[str]:
    return [request.method for request in server.requests if request.path.endswith(name)]


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
def test_a_transient_fault_is_retried_and_the_sink_receives_one_complete_file(server, short_timeout, fault):
    server.fail(NAME, fault, times=ATTEMPTS - 1)
    sink = io.BytesIO()

    open_feed(server.index_url).fetch(WEEK, sink)

    assert sink.getvalue() == CONTENTS
    assert methods_of_requests(server, NAME) == ["GET"] * ATTEMPTS


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
def test_a_persistent_fault_makes_the_feed_unavailable_and_writes_nothing_to_the_sink(server, short_timeout, fault):
    server.fail(NAME, fault, times=ATTEMPTS)
    sink = io.BytesIO()

    with pytest.raises(FeedUnavailable, match=f"Week {WEEK} at {server.bare_url}{NAME}: .*[Tt]ry again") as raised:
        open_feed(server.bare_url).fetch(WEEK, sink)

    assert raised.value.retryable
    assert sink.getvalue() == b""


@pytest.mark.parametrize(
    ("fault", "outcome", "expected"),
    [
        (Fault(status=401), FeedRefused, "answers 401.*user and password"),
        (Fault(status=403), FeedRefused, "answers 403"),
        (Fault(status=418), FeedRefused, "answers 418"),
        (Fault(status=204), FeedRefused, "answers 204"),
        (Fault(status=404), BadFile, f"/turnstile/{NAME}: the index page .*turnstile.html links to this file, but"),
        (Fault(status=410), BadFile, "says that it does not exist"),
        (Fault(body=b"<!DOCTYPE html><html>Sorry!</html>"), BadFile, "web page.*DOCTYPE"),
        (Fault(body=b""), BadFile, "empty"),
        (Fault(headers={"Content-Encoding": "br"}), BadFile, "Content-Encoding br"),
        (Fault(headers={"Content-Length": str(10**12)}), BadFile, "too large"),
        (Fault(status=302, headers={"Location": "file:///etc/passwd"}), FeedRefused, "from http to file"),
        (Fault(status=302, headers={"Location": f"/developers/data/nyct/turnstile/{NAME}"}), FeedRefused, "redirects"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_permanent_error_is_not_retried(server, fault, outcome, expected):
    server.fail(NAME, fault, times=http.MAX_REDIRECTS + 1)
    sink = io.BytesIO()

    with pytest.raises(outcome, match=expected) as raised:
        open_feed(server.index_url).fetch(WEEK, sink)

    assert WEEK in str(raised.value)
    assert not raised.value.retryable
    assert sink.getvalue() == b""
    assert len(methods_of_requests(server, NAME)) == (http.MAX_REDIRECTS + 1 if expected == "redirects" else 1)


def test_a_dead_link_is_not_a_week_that_was_not_published(server):
    server.index_page = f'<a href="/bare/{NEXT_NAME}">Next</a>'.encode()
    feed = open_feed(server.index_url)

    assert list(feed.available_weeks()) == [NEXT_WEEK]
    for request in (lambda: feed.look(NEXT_WEEK), lambda: feed.fetch(NEXT_WEEK, io.BytesIO())):
        with pytest.raises(BadFile, match=f"Week {NEXT_WEEK} at {server.bare_url}{NEXT_NAME}: .*does not exist"):
            request()
    for request in (lambda: feed.look("2024-01-20"), lambda: open_feed(server.bare_url).look(NEXT_WEEK)):
        assert request() is None


def test_retry_after_is_respected_up_to_a_limit(server):
    with stamina.set_testing(False):
        waited: list[float] = []
        stamina.instrumentation.set_on_retry_hooks([lambda retry: waited.append(retry.wait_for)])
        server.fail(NAME, Fault(status=429, headers={"Retry-After": "1"}))
        assert open_feed(server.bare_url).look(WEEK) is not None
        assert waited == [1]

        server.fail(NAME, Fault(status=429, headers={"Retry-After": "3600"}))
        with pytest.raises(FeedUnavailable) as raised:
            open_feed(server.bare_url).look(WEEK)
        assert raised.value.retry_after == 3600
        stamina.instrumentation.set_on_retry_hooks(None)


def test_without_an_index_weeks_are_found_by_name_and_the_available_weeks_are_unknown(server):
    feed = open_feed(server.bare_url)

    assert feed.look(WEEK).size == len(CONTENTS)
    assert feed.look(NEXT_WEEK) is None
    with pytest.raises(BadFile, match="it does not exist"):
        feed.available_weeks()


def test_if_the_index_is_refused_weeks_are_found_by_name(server):
    server.fail("/listing/", Fault(status=403), times=2)
    feed = open_feed(server.listing_url)

    assert feed.look(WEEK) is not None
    with pytest.raises(FeedRefused):
        open_feed(server.listing_url).available_weeks()


def test_if_the_index_is_down_no_week_counts_as_unpublished(server):
    server.fail("turnstile.html", Fault(status=503), times=3 * ATTEMPTS)
    feed = open_feed(server.index_url)

    with pytest.raises(FeedUnavailable, match=r"Index page .*503"):
        feed.available_weeks()
    for request in (lambda: feed.look(NEXT_WEEK), lambda: feed.fetch(NEXT_WEEK, io.BytesIO())):
        with pytest.raises(FeedUnavailable, match=rf"Week {NEXT_WEEK}, index page .*503"):
            request()


def test_a_page_without_links_to_weekly_files_is_refused_as_index(server):
    server.index_page = b"<html>We have moved! <a href='/'>Home</a></html>"

    with pytest.raises(BadFile, match="links to no weekly file"):
        open_feed(server.index_url).available_weeks()


def test_an_index_page_that_a_browser_saved_is_refused_with_the_number_of_links_by_reason(server):
    old_site = "http://reader:s3cret@mta.example"
    links = [f"{old_site}/data/{NAME}", f"{old_site}/data/{NEXT_NAME}?key=s3cret", f"file:///C:/{NAME}", f"../{NAME}"]
    others = ["#top", "faq.html", "mailto:info@mta.example", "http://[", "//other.example/"]
    server.index_page = "".join(f'<a href="{link}">link</a>' for link in [*links, *others]).encode()

    with pytest.raises(BadFile, match="links to no weekly file") as raised:
        open_feed(server.index_url).available_weeks()

    message = str(raised.value)
    assert "9 links are not followed" in message
    for reason in (
        "2 to another host (http://mta.example)",
        "1 to another host (http://other.example)",
        "1 to a parent folder (..)",
        "2 to no weekly file",
        "3 to no web address",
    ):
        assert reason in message
    assert "s3cret" not in message


def test_an_index_page_without_any_link_says_so(server):
    server.index_page = b"<script>loadLinks()</script>"

    with pytest.raises(BadFile, match=r"links to no weekly file .* has no links at all"):
        open_feed(server.index_url).available_weeks()


@pytest.mark.parametrize("base", ["/bare/", "http://{host}/bare/", "/bare/page.html", "../bare/", "//{host}/bare/"])
def test_a_base_within_the_site_is_honoured(server, base):
    base = base.format(host=server.host)
    server.index_page = f'<head><base target="_top"><BASE HREF="{base}"></head><a href="{NAME}">This</a>'.encode()
    feed = open_feed(server.index_url)

    assert [file.url for file in feed.available_weeks().values()] == [server.bare_url + NAME]
    assert feed.look(WEEK).size == len(CONTENTS)


@pytest.mark.parametrize("base", ["http://elsewhere.example/", "//elsewhere.example", "https://{host}/bare/"])
def test_links_below_a_base_on_another_site_are_not_followed(server, base):
    server.index_page = f'<base href="{base.format(host=server.host)}"><a href="{NEXT_NAME}">Next</a>'.encode()

    with pytest.raises(BadFile, match="1 link is not followed: 1 to another host"):
        open_feed(server.index_url).available_weeks()


def test_a_base_that_is_no_address_is_ignored(server):
    server.index_page = f'<base href="http://["><a href="data/nyct/turnstile/{NAME}">This</a>'.encode()

    assert list(open_feed(server.index_url).available_weeks()) == [WEEK]


@pytest.mark.parametrize(("limit", "unit"), [("MAX_INDEX_BYTES", "bytes"), ("MAX_LINKS", "links")])
def test_an_oversized_index_page_is_refused(server, monkeypatch, limit, unit):
    monkeypatch.setattr(web, limit, 0)

    with pytest.raises(BadFile, match=f"more than 0 {unit}"):
        open_feed(server.index_url).available_weeks()


def test_the_index_is_cached_until_the_available_weeks_are_requested(server):
    feed = open_feed(server.index_url)
    feed.look(WEEK)
    feed.look(WEEK)
    assert methods_of_requests(server, "turnstile.html") == ["GET"]

    (server.directory / NEXT_NAME).write_bytes(CONTENTS)
    assert list(feed.available_weeks()) == [WEEK, NEXT_WEEK]
    assert feed.look(NEXT_WEEK) is not None


@pytest.mark.parametrize(
    "href",
    [
        "http://elsewhere.example/{name}",
        "//elsewhere.example/{name}",
        "https://{host}/{name}",
        "http://127.0.0.1:1/{name}",
        "file:///etc/{name}",
        "../../{name}",
        "%2e%2e/{name}",
        "a/..%2f..%5c/{name}",
    ],
)
def test_a_link_outside_of_the_feed_is_not_followed_and_its_week_is_not_unpublished(server, href):
    link = href.format(name=NEXT_NAME, host=server.host)
    server.index_page = f'<a href="{link}">Next</a><a href="data/nyct/turnstile/{NAME}">This</a>'.encode()
    feed = open_feed(server.index_url)

    listing = feed.listing_unless(None)
    assert list(listing.weeks) == [WEEK]
    assert len(listing.notes) == 1
    assert NEXT_NAME in listing.notes[0]
    for request in (lambda: feed.look(NEXT_WEEK), lambda: feed.fetch(NEXT_WEEK, io.BytesIO())):
        with pytest.raises(BadFile, match=f"Week {NEXT_WEEK} at .*{NEXT_NAME}: .*not followed, because it leads to "):
            request()
    assert all(request.path.startswith("/developers/turnstile") for request in server.requests)

    (server.directory / NEXT_NAME).write_bytes(CONTENTS)
    assert open_feed(server.listing_url).look(NEXT_WEEK) is not None  # found by name, beside the page


@pytest.mark.parametrize(
    "href",
    [
        "javascript:alert('/{name}')",
        "http://[/{name}",
        "http://{host}:1/{name}",
        "{name}/../passwd",
        "{name}/passwd",
        "x%2f{name}",
    ],
)
def test_a_link_that_names_no_week_is_ignored(server, href):
    link = href.format(name=NEXT_NAME, host=server.host)
    server.index_page = f'<a href="{link}">Next</a><a href="data/nyct/turnstile/{NAME}">This</a>'.encode()
    feed = open_feed(server.index_url)

    assert list(feed.available_weeks()) == [WEEK]
    assert feed.look(NEXT_WEEK) is None
    assert all(request.path.startswith("/developers/turnstile") for request in server.requests)


def test_an_index_page_is_transferred_again_only_if_it_has_changed(server, tmp_path):
    first = open_feed(server.index_url).listing_unless(None)
    assert open_feed(server.index_url).listing_unless(first.version) is None
    (tmp_path / NEXT_NAME).write_bytes(CONTENTS)
    again = open_feed(server.index_url).listing_unless(first.version)
    assert list(again.weeks) == [WEEK, NEXT_WEEK]
    assert again.version != first.version


def test_a_feed_with_an_unchanged_index_page_still_finds_weeks(server):
    version = open_feed(server.index_url).listing_unless(None).version
    feed = open_feed(server.index_url)
    feed.listing_unless(version)
    assert feed.look(WEEK).etag is not None


def test_an_index_page_without_a_version_is_read_every_time(server):
    server.fail("turnstile.html", Fault(headers={"ETag": None}))
    assert open_feed(server.index_url).listing_unless(None).version is None


def test_a_fail_fast_feed_sends_one_request_and_does_not_wait_for_slow_responses(server, monkeypatch):
    monkeypatch.setattr(http, "FAIL_FAST_TIMEOUT", 1)
    feed = open_feed(server.index_url, fail_fast=True)
    with stamina.set_testing(False):
        server.fail("turnstile.html", Fault(status=503))
        with pytest.raises(FeedUnavailable, match="503"):
            feed.available_weeks()
        server.fail(NAME, Fault(cut_after=10, hang=5))
        with pytest.raises(FeedUnavailable, match="no answer in time"):
            feed.fetch(WEEK, io.BytesIO())
    assert methods_of_requests(server, "turnstile.html").count("GET") == 2  # one by the listing, one by the fetch
    assert methods_of_requests(server, NAME) == ["GET"]


def test_links_may_be_absolute_or_have_a_query_and_their_user_is_ignored(server):
    for link in (
        f"/bare/{NAME}",
        f"http://{server.host}/bare/{NAME}?key=secret",
        f"http://me:pw@{server.host}/bare/{NAME}",
    ):
        server.index_page = f"<A HREF='{link}'>Saturday".encode()
        file = open_feed(server.index_url).look(WEEK)
        assert file.url == server.bare_url + NAME
        assert "Authorization" not in server.requests[-1].headers
    assert any(request.path.endswith("?key=secret") for request in server.requests)


def test_requests_have_a_user_agent_and_accept_no_compression(server):
    open_feed(server.index_url).look(WEEK)

    for request in server.requests:
        assert request.headers["User-Agent"].startswith("mta_pipeline/")
        assert request.headers["Accept-Encoding"] == "identity"


def test_a_compressed_response_is_decompressed(server):
    compressed = gzip.compress(CONTENTS)
    headers = {"Content-Encoding": "gzip", "Content-Length": str(len(compressed))}
    server.fail(NAME, Fault(body=compressed, headers=headers))
    sink = io.BytesIO()

    open_feed(server.index_url).fetch(WEEK, sink)

    assert sink.getvalue() == CONTENTS
    assert methods_of_requests(server, NAME) == ["GET"]


def test_a_server_that_does_not_support_head_is_requested_by_get(server):
    server.fail(NAME, Fault(status=405))

    assert open_feed(server.index_url).look(WEEK).size == len(CONTENTS)
    assert methods_of_requests(server, NAME) == ["HEAD", "GET"]


def test_a_server_without_file_headers_gives_no_signature(server):
    server.fail(NAME, Fault(headers={"ETag": None, "Last-Modified": "yesterday", "Content-Length": None}))

    file = open_feed(server.index_url).look(WEEK)

    assert (file.etag, file.last_modified, file.size, file.signature) == (None, None, None, None)


def test_user_and_password_come_from_netrc_and_are_never_shown(tmp_path, caplog, short_timeout, monkeypatch):
    (tmp_path / NAME).write_bytes(CONTENTS)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login reader password s3cret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    caplog.set_level(logging.DEBUG)
    with serve_feed(tmp_path, credentials="reader:s3cret") as server:
        feed = open_feed(server.index_url)
        shown = [repr(feed), feed.location, repr(feed.available_weeks()), repr(feed.fetch(WEEK, io.BytesIO()))]
        for fault in (Fault(status=503), Fault(status=403), Fault(cut_after=5), Fault(body=b"<html>"), Fault(hang=5)):
            server.fail(NAME, fault, times=ATTEMPTS)
            with pytest.raises((FeedUnavailable, FeedRefused, BadFile)) as raised:
                feed.fetch(WEEK, io.BytesIO())
            shown.append(str(raised.getrepr(chain=True, style="value")))
        with pytest.raises(NotPublished) as not_published:
            feed.fetch(NEXT_WEEK, io.BytesIO())
        shown.append(str(not_published.value))

    assert not [text for text in [*shown, caplog.text] if "s3cret" in text or "reader" in text]


def test_user_and_password_in_the_address_are_refused_and_not_shown():
    with pytest.raises(ValueError, match=r"~/\.netrc") as raised:
        open_feed("https://reader:s3cret@mirror.example/feed")

    assert "s3cret" not in str(raised.value)


def test_an_unreachable_host_makes_the_feed_unavailable(server):
    address = server.bare_url
    server.shutdown()
    server.server_close()

    for url in (address, "http://no-such-host.invalid/feed"):
        with pytest.raises(FeedUnavailable, match=f"Week {WEEK}, index page {url}.*the connection failed"):
            open_feed(url).look(WEEK)


@pytest.fixture
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), dt.datetime.now(dt.UTC)
    local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(hours=1))
    certificate = builder.add_extension(local, critical=True).sign(key, hashes.SHA256())
    pem = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return pem


def test_tls_is_verified_and_a_redirect_to_http_is_refused(tmp_path, certificate, monkeypatch):
    (tmp_path / NAME).write_bytes(CONTENTS)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serve_feed(tmp_path, tls=tls) as server, serve_feed(tmp_path) as plain:
        with pytest.raises(FeedRefused, match="certificate of the server is not trusted"):
            open_feed(server.index_url).look(WEEK)

        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        plain.fail("turnstile.html", Fault(status=301, headers={"Location": server.index_url}))
        assert open_feed(plain.index_url).look(WEEK).url.startswith("https://")

        server.fail(NAME, Fault(status=302, headers={"Location": plain.bare_url + NAME}))
        with pytest.raises(FeedRefused, match="from https to http"):
            open_feed(server.index_url).fetch(WEEK, io.BytesIO())


DRIPPING = {
    "headers": Fault(drip="headers"),
    "body": Fault(drip="body"),
    "chunks": Fault(
        drip="body", headers={"Content-Length": None, "Transfer-Encoding": "chunked"}, body=b"1\r\nA\r\n" * 1_000
    ),
    "compressed body": Fault(drip="body", headers={"Content-Encoding": "gzip"}, body=gzip.compress(CONTENTS)),
    "headers of a redirect": Fault(drip="headers", status=302, headers={"Location": BARE + NAME}),
    "headers of an error": Fault(drip="headers", status=503),
}
DEADLINES = {True: "FAIL_FAST_TIMEOUT", False: "ANSWER_TIMEOUT"}


@pytest.mark.parametrize("fail_fast", DEADLINES)
@pytest.mark.parametrize("fault", DRIPPING.values(), ids=DRIPPING)
def test_a_server_that_sends_single_bytes_is_left_at_the_deadline(server, monkeypatch, fault, fail_fast):
    monkeypatch.setattr(http, DEADLINES[fail_fast], 1)
    attempts = 1 if fail_fast else 2
    server.fail(NAME, fault, times=attempts)
    with stamina.set_testing(not fail_fast, attempts=attempts), pytest.raises(FeedUnavailable) as raised:
        open_feed(server.index_url, fail_fast=fail_fast).fetch(WEEK, io.BytesIO())

    assert "no answer in time" in str(raised.value)
    assert ("incomplete" in str(raised.value)) == (fault.drip == "body")
    assert isinstance(raised.value, FeedSlow) == fail_fast
    assert raised.value.retryable
    assert all(server.hung_up.acquire(timeout=60) for _ in range(attempts))


def test_the_headers_of_a_file_and_the_text_of_an_error_have_the_deadline_too(server, monkeypatch):
    monkeypatch.setattr(http, "FAIL_FAST_TIMEOUT", 1)
    server.fail(NAME, Fault(drip="headers"), times=ATTEMPTS)
    with pytest.raises(FeedSlow):
        open_feed(server.bare_url, fail_fast=True).look(WEEK)
    assert server.hung_up.acquire(timeout=60)

    while server.take_fault(NAME):
        pass
    text = Fault(status=503, headers={"Content-Type": "application/json"}, body=b" " * 1_000, drip="body")
    server.fail(NAME, text, times=ATTEMPTS)
    with pytest.raises(FeedUnavailable, match="answers 503 Service Unavailable"):
        open_feed(server.bare_url, fail_fast=True).fetch(WEEK, io.BytesIO())
    assert server.hung_up.acquire(timeout=60)


@pytest.mark.parametrize("drip", ["headers", "body"])
def test_a_slow_feed_ends_the_tick_with_a_reason(server, tmp_path, monkeypatch, drip):
    monkeypatch.setattr(http, "FAIL_FAST_TIMEOUT", 1)
    server.fail("turnstile.html", Fault(drip=drip), times=ATTEMPTS)
    found = find_due_weeks(
        open_feed(server.index_url, fail_fast=True),
        RawFiles(str(tmp_path / "lake")),
        DiscoveryCursor(),
        landed=[],
        calendar=[WEEK],
        in_progress=[],
        last_attempts=lambda _: {},
        now=dt.datetime.now(dt.UTC),
    )

    assert isinstance(found.error, FeedSlow)
    assert f"Index page {server.index_url}: no answer in time" in str(found.error)
    assert (found.due, found.cursor.failed_looks) == ({}, 1)


def test_all_requests_of_a_tick_have_a_deadline_together(server, monkeypatch):
    feed = open_feed(server.index_url, fail_fast=True)
    assert list(feed.available_weeks()) == [WEEK]

    monkeypatch.setattr(http, "FAIL_FAST_TOTAL", 0)
    with pytest.raises(FeedSlow):
        feed.look(WEEK)
    assert methods_of_requests(server, NAME) == []


def test_no_further_attempt_begins_that_could_end_after_the_window_for_retries(server, monkeypatch):
    monkeypatch.setattr(http, "ANSWER_TIMEOUT", 1)
    monkeypatch.setattr(http, "RETRY_WINDOW", 1.5)
    server.fail(NAME, Fault(drip="headers"), times=ATTEMPTS)

    with pytest.raises(FeedUnavailable, match="no answer in time"):
        open_feed(server.bare_url).look(WEEK)
    assert methods_of_requests(server, NAME) == ["HEAD"]


@pytest.mark.parametrize("fail_fast", [True, False])
def test_received_bytes_extend_the_deadline_except_with_fail_fast(server, monkeypatch, fail_fast):
    monkeypatch.setattr(http, "SLOWEST", 1_000)
    site = http.Site("MTA_FEED", "them", fail_fast=fail_fast)
    with site.request("GET", server.bare_url + NAME, "It") as response:
        before = response.raw.deadline.seconds
        assert b"".join(site.body(response, "It", decode=False)) == CONTENTS
        added = response.raw.deadline.seconds - before

    assert added == (0 if fail_fast else pytest.approx(len(CONTENTS) / 1_000))


def test_a_slow_server_is_left_while_it_sends_the_headers_over_tls(tmp_path, certificate, monkeypatch):
    monkeypatch.setattr(http, "FAIL_FAST_TIMEOUT", 1)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with serve_feed(tmp_path, tls=tls) as server:
        server.fail(NAME, Fault(drip="headers"), times=ATTEMPTS)
        with pytest.raises(FeedSlow):
            open_feed(server.bare_url, fail_fast=True).look(WEEK)
        assert server.hung_up.acquire(timeout=60)


def test_the_addresses_of_a_host_share_the_time_for_connecting(monkeypatch):
    monkeypatch.setattr(http, "FAIL_FAST_TIMEOUT", 0.5)
    given = []
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * 10)
    monkeypatch.setattr(socket.socket, "settimeout", lambda _, seconds: given.append(seconds))
    with pytest.raises(FeedUnavailable):
        open_feed("http://mirror.example/feed", fail_fast=True).look(WEEK)

    assert given
    assert max(given) <= 0.05


REDIRECTS = ["http://localhost:{port}/{name}", "http://127.0.0.2:{port}/{name}", "http://169.254.169.254/{name}"]
REDIRECTS += ["http://[::1]:{port}/{name}", "//127.1:{port}/{name}", "http://127.0.0.1:1/{name}", "http://0/{name}"]


@pytest.mark.parametrize("target", REDIRECTS)
@pytest.mark.parametrize("name", [NAME, "turnstile.html"])
def test_a_redirect_to_another_host_or_port_is_not_followed_and_the_host_is_named(server, target, name):
    location = target.format(port=server.server_port, name="bare/" + NAME)
    server.fail(name, Fault(status=302, headers={"Location": location}))
    feed = open_feed(server.index_url)

    with pytest.raises(FeedRefused, match=r"redirected to another site.*MTA_FEED") as raised:
        feed.available_weeks() if name == "turnstile.html" else feed.fetch(WEEK, io.BytesIO())
    assert location.split("/")[2] in str(raised.value)
    assert len(methods_of_requests(server, name)) == 1
    assert methods_of_requests(server, "bare/" + NAME) == []


def test_redirects_within_the_site_are_followed_and_their_bodies_are_not_read(server):
    endless = {"Location": BARE + NAME, "Content-Length": str(10**12)}
    server.fail("turnstile/" + NAME, Fault(status=302, headers=endless, body=b"", cut_after=0, hang=60), times=2)
    sink = io.BytesIO()
    feed = open_feed(server.index_url)

    assert feed.look(WEEK).size == len(CONTENTS)
    feed.fetch(WEEK, sink)
    assert sink.getvalue() == CONTENTS


@pytest.mark.parametrize("location", ["http://[", "http://127.0.0.1:99999/", "http://a:b@c:d/", "\x7f"])
def test_a_redirect_to_what_is_no_address_is_refused(server, location):
    server.fail(NAME, Fault(status=302, headers={"Location": location}))
    with pytest.raises(FeedRefused, match="no web address"):
        open_feed(server.bare_url).look(WEEK)


STATUSES = [200, 200, 200, 204, 206, 301, 302, 304, 401, 404, 405, 429, 500, 503]
STATUS_LINES = [
    *(f"HTTP/1.1 {status} Text".encode() for status in STATUSES), b"HTTP/1.0 200 OK", b"HTTP/1.1 200 \xff\x07", b"",
    b"HTTP/1.1 1", b"HTTP/1.1 +200 OK", b"HTTP/9 200 OK", b"HTTP/1.1 100 Continue", b"x" * 70_000,
]  # fmt: skip
NAMES = [
    b"Content-Length", b"Last-Modified", b"ETag", b"Location", b"Retry-After", b"Content-Encoding", b"Connection",
    b"Content-Type", b"Transfer-Encoding", b"Set-Cookie", b"", b" ", b"\xff", b"\0",
]  # fmt: skip
VALUES = [
    b"9" * 5_000, b"9" * 19, b"-1", b"1, 2", b"+5", b"0x5", b"5", b"5, 5", b"\xb2", b"nan", b"", b" ",
    b"\xff" * 3_000, b"Fri, 31 Dec 9999 23:59:59 -1200", b"Mon, 01 Jan 0001 00:00:00 +1400", b"Mon, 99 Foo 2024",
    b"1 Jan 10000", b"http://[", b"//", b"/\x00", b"/" * 9_000, b"http://a:b@h:99999999999/", b"http://\xe2\x84\xa1/",
    b"?", b"a\r\n b", b"chunked", b"chunked, chunked", b"gzip", b"gzip, " * 99, b"deflate", b"br", b"zstd",
    b"identity" * 8_000, b"application/json", b'"a\x07b"', b"W/", b"keep-alive", b"a=b; domain=.; expires=x",
]  # fmt: skip
BODIES = [
    b"[" * 4_000, b'{"message": "' + 5_000 * b"x", b"{}", b"", CONTENTS[:2_000], b"<![x[ <a href='b'>",
    gzip.compress(CONTENTS[:2_000]), gzip.compress(bytes(web.MAX_INDEX_BYTES + 1)), b"\x1f\x8b\x08\x00\xff",
    b"5\r\nABCDE\r\n0\r\n\r\n", b"5;x=y\r\nABCDE\r\n0\r\nX: Y\r\n\r\n", b"-5\r\nAB", b"-1\r\nAB", b"5\r\nAB",
    b"zz\r\n", b"F" * 20 + b"\r\nA", b"1" * 70_000, b"5\r\nABCDEFGH", b"0\r\n" + 200 * b"X: Y\r\n",
]  # fmt: skip
ANY_LINE = st.one_of(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.binary(max_size=30)).map(b": ".join),
    st.sampled_from([b" folded", b"no colon", b"\r", b"x" * 70_000, b"\r\n".join(200 * [b"A: b"])]),
)
RESPONSES = st.builds(
    lambda status, lines, end, body: end.join([status, *lines, b"", body]),
    st.sampled_from(STATUS_LINES),
    st.lists(ANY_LINE, max_size=5),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]),
    st.sampled_from(BODIES) | st.binary(max_size=50),
)


@pytest.fixture
def known_feed(server: FeedServer) -> Iterator[FileFeed]:
    """A feed that has read its index page, and gives up after one attempt."""
    with stamina.set_testing(True, attempts=1):
        feed = open_feed(server.listing_url)
        feed.available_weeks()
        yield feed


@examples(max_examples=examples.default.max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(response=RESPONSES, method=st.sampled_from(["available_weeks", "look", "fetch", "fetch"]))
def test_any_response_gives_no_error_other_than_those_of_feeds(server, known_feed, response, method):
    sink = io.BytesIO()
    name = "listing/" if method == "available_weeks" else NAME
    arguments = {"available_weeks": (), "look": (WEEK,), "fetch": (WEEK, sink)}[method]
    while server.take_fault(name):
        pass
    server.fail(name, Fault(raw=response))
    try:
        getattr(known_feed, method)(*arguments)
    except FeedError as error:
        assert_short(str(error))
        assert sink.getvalue() == b""


HREFS = [
    "{name}", "/bare/{name}", "//{host}/bare/{name}?a#b", "//h/{name}", "https://{host}/{name}",
    "http://{host}:1/{name}", "../{name}", "%2e%2e/{name}", "%252e%252e/{name}", "..%5c{name}", "a/..;/{name}",
    "/{name}\0", "http://[/{name}", "file:///etc/{name}", "javascript:{name}", "data:,{name}", "http:{name}",
    "///{name}", "\\\\h\\{name}", "http:///{name}", "http://{host}@h/{name}", "http://h\\@{host}/{name}",
    "http://{host}:x/{name}", "http://\u2101/{name}", "&#x110000;{name}", "x" * 9_000 + "/{name}",
    "//" + "h" * 9_000 + "/{name}", "turnstile%2f..%2fx.csv", "turnstile%00.csv", "turnstile%ff.csv",
    "turnstile" + 300 * "\u00e9" + ".csv", "turnstile_2019.csv", "turnstile\u202e.zip", " {name} ",
    "{name}/../{name}", "",
]  # fmt: skip
TAGS = [
    "<a href='{}'>", '<A HREF="{}" href=x>', "<a href={}>", "<base href='{}'>", "<base href='{}", "<a href='{}",
    "<area href='{}'>", "<!--<a href='{}'>", "<![x[<a href='{}'>", "<script><a href='{}'>", "<a\0href='{}'>",
    "<a " * 500 + "{}", "<!{}>", "</a {}>",
]  # fmt: skip
ANY_HREF = st.tuples(st.sampled_from(HREFS), st.just("") | st.text(max_size=3)).map("".join) | st.text(max_size=12)
PAGES = st.lists(st.builds(lambda tag, href: tag.replace("{}", href), st.sampled_from(TAGS), ANY_HREF), max_size=8)


@examples(max_examples=examples.default.max_examples // 4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tags=PAGES, encoding=st.sampled_from(["utf-8", "utf-8", "utf-8", "latin-1", "utf-16", "utf-7"]))
def test_any_index_page_lists_files_of_its_own_site_or_is_refused(server, tags, encoding):
    page = "".join(tags).replace("{host}", server.host).replace("{name}", NAME)
    server.index_page = page.encode(encoding, errors="replace")
    feed = open_feed(server.index_url)
    try:
        listing = feed.listing_unless(None)
        files = [*listing.weeks.values(), *feed.exports()]
        feed.look(WEEK)
    except BadFile as error:
        assert_short(str(error))
    else:
        assert_short("".join(listing.notes))
        for file in files:
            assert file.url.startswith(f"http://{server.host}/")
            assert_short(file.url)


@pytest.mark.parametrize("digits", [19, 5_000])
def test_a_size_that_no_file_has_is_not_recorded(server, digits):
    server.fail(NAME, Fault(headers={"Content-Length": "9" * digits}))
    assert open_feed(server.index_url).look(WEEK).size is None


def test_a_version_that_cannot_be_sent_back_is_not_used(server):
    server.fail("turnstile.html", Fault(headers={"ETag": '"a\x07b"', "Last-Modified": None}))
    assert open_feed(server.index_url).listing_unless(None).version is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sat, 06 Jan 2024 05:00:00 GMT", dt.datetime(2024, 1, 6, 5, tzinfo=dt.UTC)),
        ("Sat, 06 Jan 2024 05:00:00 -0000", dt.datetime(2024, 1, 6, 5, tzinfo=dt.UTC)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)),
        ("Fri, 31 Dec 9999 23:59:59 -0500", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_the_date_of_a_header_is_in_utc(text, expected):
    assert http.moment(text) == expected


def test_the_query_of_a_link_is_in_no_message_and_no_log(server, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(http, "ANSWER_TIMEOUT", 1)
    server.index_page = f"<a href='/bare/{NAME}?key=s3cret'>Saturday".encode()
    feed = open_feed(server.index_url)
    shown = [repr(feed.listing_unless(None)), repr(feed.fetch(WEEK, io.BytesIO()))]
    for fault in (
        Fault(status=503),
        Fault(cut_after=5),
        Fault(drip="headers"),
        Fault(body=b"<html>"),
        Fault(headers={"Broken ": "header", "": ""}, cut_after=0),
        Fault(status=302, headers={"Location": "http://me:s3cret@other.example/?key=s3cret"}),
        Fault(status=302, headers={"Location": f"/bare/{NAME}?key=s3cret"}),
    ):
        server.fail(NAME, fault, times=http.MAX_REDIRECTS + 1)
        with pytest.raises(FeedError) as raised:
            feed.fetch(WEEK, io.BytesIO())
        shown.append(str(raised.getrepr(chain=True, style="value")))
        while server.take_fault(NAME):
            pass

    assert any("s3cret" in request.path for request in server.requests)
    assert not [text for text in [*shown, caplog.text] if "s3cret" in text]
