"""The feed on a web site: an index page that links to the files, or a directory that has them by name.

Only what HTTP needs is here; what is done with the bytes is in delivery.
"""

import datetime as dt
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from importlib.metadata import version
from typing import IO, BinaryIO, Final, NamedTuple
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

import requests
import stamina
import urllib3

from mta_pipeline.feed.delivery import CHUNK_BYTES, deliver, receive, spool
from mta_pipeline.feed.interface import (
    BadFile,
    FeedRefused,
    FeedSlow,
    FeedUnavailable,
    Fetched,
    Listing,
    PublishedFile,
    by_week,
    copies,
    not_published,
    shown,
    subject_of,
)

CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 60.0
"""Seconds without a byte, not seconds for the whole file."""

ATTEMPTS: Final = 5
RETRY_WINDOW: Final = 300.0
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0
JITTER: Final = 1.0
LONGEST_RETRY_AFTER: Final = 60.0
"""A feed that asks for more seconds than this is left alone; the orchestrator may come back."""

HURRIED: Final = 15.0
"""Seconds after which a hurried feed gives up on an answer, or on the whole of a file."""

MAX_REDIRECTS: Final = 5
MAX_INDEX_BYTES: Final = 8 * 2**20

_NOT_MODIFIED: Final = 304
_ABSENT: Final = (404, 410)
_REFUSED: Final = (401, 403, 407)
_NO_HEAD: Final = (405, 501)
_TRY_LATER: Final = "Try again later; if it stays so, look at the feed and at MTA_FEED"
_CHECK_ADDRESS: Final = "Look at MTA_FEED"


class _Index(NamedTuple):
    """What the index page says: where the weeks are, or None if it is as it was; and its version, if it has one."""

    links: Mapping[str, str] | None
    version: str | None


class WebFeed:
    """Weekly files below an http(s) URL: that of an index page (`….html`) or of a directory.

    The index is read when weeks_on_offer is called, and otherwise once: open a new feed to see what is new. Where there
    is no index, or it does not name the week, the file is asked for by its name beside it. User and password belong in
    ~/.netrc; in a URL, which gets shown and logged, they are refused. A hurried feed asks once and gives up soon.
    """

    def __init__(self, location: str, *, hurried: bool = False) -> None:
        parts = urlsplit(location)
        if parts.hostname is None or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(
                f"{shown(location)} cannot be a feed: its URL takes a host and a path, no query or fragment, "
                "and no user or password, for which there is ~/.netrc"
            )
        path = parts.path if parts.path.endswith((".html", ".htm")) else parts.path.rstrip("/") + "/"
        self._page = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self._session = _Session()
        self._links: Mapping[str, str] | None = None
        self._hurried = hurried
        self._retry = stamina.RetryingCaller(
            attempts=1 if hurried else ATTEMPTS,
            timeout=RETRY_WINDOW,
            wait_initial=FIRST_WAIT,
            wait_max=LONGEST_WAIT,
            wait_jitter=JITTER,
        )

    def __repr__(self) -> str:
        return f"WebFeed({self._page!r})"

    @property
    def location(self) -> str:
        """The address of the index page or directory."""
        return self._page

    def weeks_on_offer(self) -> Mapping[str, PublishedFile]:
        """The weeks the index page links to, in order; it says nothing of them but their addresses."""
        listing = self.listing_unless(None)
        return {} if listing is None else listing.weeks

    def listing_unless(self, version: str | None) -> Listing | None:
        """The weeks the index page links to, or None if the server says that it is still the page of this version."""
        index = self._read_index(f"Index page {self._page}", version)
        if index is not None and index.links is None:
            return None
        if index is None or not index.links:
            raise BadFile(
                f"Index page {self._page}: "
                + ("there is none" if index is None else "it links to no weekly file (turnstile_YYMMDD.txt)")
                + f", so the weeks on offer are not known; single weeks may still be had by name. {_CHECK_ADDRESS}."
            )
        return Listing({week: PublishedFile(week, shown(url)) for week, url in index.links.items()}, index.version)

    def look(self, week: str) -> PublishedFile | None:
        """What the server says of a week's file without sending it; None if it was not published."""
        for url in self._addresses(week):
            file = self._retry(_wait_before_retry, self._describe, week, url)
            if file is not None:
                return file
        return None

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        """Write a week's file, unpacked, to the sink. Unless it is whole and sound, the sink gets nothing."""
        with spool() as stored:
            for url in self._addresses(week):
                file = self._retry(_wait_before_retry, self._download, week, url, stored)
                if file is not None:
                    return deliver(stored, file, sink)
        raise not_published(week, self.location)

    def _addresses(self, week: str) -> list[str]:
        if self._links is None:
            try:
                self._read_index(f"Week {week}, index page {self._page}")
            except FeedRefused:  # many a server refuses to list a directory and serves the files in it
                self._links = {}
        if self._links and week in self._links:
            return [self._links[week]]
        return [urljoin(self._page, name) for name in copies(week)]

    def _read_index(self, subject: str, unless: str | None = None) -> _Index | None:
        index = self._retry(_wait_before_retry, self._ask_index, subject, unless)
        if index is None or index.links is not None:  # an index that is as it was may not have been read by this feed
            self._links = {} if index is None else index.links
        return index

    def _ask_index(self, subject: str, unless: str | None) -> _Index | None:
        response = self._ask("GET", self._page, subject, unless)
        if response is None:
            return None
        page = bytearray()
        with response:
            if response.status_code == _NOT_MODIFIED:
                return _Index(None, unless)
            for chunk in self._body(response, subject, decode=True):
                page += chunk
                if len(page) > MAX_INDEX_BYTES:
                    raise BadFile(f"{subject}: more than {MAX_INDEX_BYTES:,} bytes, no index page. {_CHECK_ADDRESS}.")
        links = _Links()
        links.feed(page.decode(errors="replace"))
        addresses = (_address(response.url, href) for href in links.hrefs)
        named = by_week((urlsplit(url).path.rpartition("/")[2], url) for url in addresses if url is not None)
        return _Index(named, response.headers.get("ETag") or response.headers.get("Last-Modified"))

    def _describe(self, week: str, url: str) -> PublishedFile | None:
        response = self._ask("HEAD", url, subject_of(week, url))
        if response is None:
            return None
        with response:
            return _published(week, url, response)

    def _download(self, week: str, url: str, stored: IO[bytes]) -> PublishedFile | None:
        subject = subject_of(week, url)
        response = self._ask("GET", url, subject)
        if response is None:
            return None
        with response:
            encoding = response.headers.get("Content-Encoding", "identity").lower()
            if encoding not in ("identity", "gzip", "x-gzip"):
                raise BadFile(f"{subject}: sent with Content-Encoding {encoding}, which was not asked for.")
            file = _published(week, url, response)
            receive(self._body(response, subject, decode=False), file, stored)
            return file

    def _ask(self, method: str, url: str, subject: str, unless: str | None = None) -> requests.Response | None:
        """The answer to one request, its body still to be read; None if there is nothing at the address.

        Given the version of a page, the answer may be that it is not modified.
        """
        condition = {} if unless is None else {_condition(unless): unless}
        timeout = (CONNECT_TIMEOUT, HURRIED if self._hurried else READ_TIMEOUT)
        try:
            response = self._session.request(method, url, headers=condition, stream=True, timeout=timeout)
        except _BadRedirectError as error:
            raise FeedRefused(f"{subject}: {error}. {_CHECK_ADDRESS}.") from None
        except requests.TooManyRedirects:
            raise FeedRefused(f"{subject}: more than {MAX_REDIRECTS} redirects. {_CHECK_ADDRESS}.") from None
        except requests.RequestException as error:
            raise _unreachable(error, subject) from None
        status = response.status_code
        if status == 200 or (condition and status == _NOT_MODIFIED):
            return response
        response.close()
        if status in _ABSENT:
            return None
        if method == "HEAD" and status in _NO_HEAD:
            return self._ask("GET", url, subject)
        answer = f"{subject}: the server answers {status} {response.reason}"
        if status in _REFUSED:
            raise FeedRefused(f"{answer}. Check the user and password in ~/.netrc, and whether they may read there.")
        if status in (408, 425, 429) or status >= 500:
            raise FeedUnavailable(f"{answer}. {_TRY_LATER}.", _retry_after(response))
        raise FeedRefused(f"{answer}, which is no file. {_CHECK_ADDRESS}.")

    def _body(self, response: requests.Response, subject: str, *, decode: bool) -> Iterator[bytes]:
        started = time.monotonic()
        try:
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=decode):
                yield chunk
                if self._hurried and time.monotonic() - started > HURRIED:
                    raise FeedSlow(f"{subject}: not whole within {HURRIED:g} s. {_TRY_LATER}.")
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(error, subject) from None


class _BadRedirectError(requests.RequestException):
    """A redirect we do not follow."""


class _Session(requests.Session):
    """Asks for bytes as they are stored, says who asks, and follows no redirect that leaves the web or gives up TLS."""

    def __init__(self) -> None:
        super().__init__()
        self.max_redirects = MAX_REDIRECTS
        self.headers.update(
            {"User-Agent": f"mta_pipeline/{version('mta-pipeline')}", "Accept": "*/*", "Accept-Encoding": "identity"}
        )

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            origin, scheme = urlsplit(resp.url).scheme, urlsplit(urljoin(resp.url, target)).scheme.lower()
            if scheme not in ("http", "https") or (origin, scheme) == ("https", "http"):
                raise _BadRedirectError(f"redirected from {origin} to {scheme}, which is not followed")
        return target


class _Links(HTMLParser):
    """Collects where the links of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.hrefs.extend(value for name, value in attrs if name == "href" and value)


def _address(page: str, href: str) -> str | None:
    """Where a link of a page leads, or None if that is another site or the link climbs out of its directory."""
    if ".." in unquote(href).replace("\\", "/").split("/"):
        return None
    try:
        source, target = urlsplit(page), urlsplit(urljoin(page, href.strip()))
        same_site = _origin(source) == _origin(target)
    except ValueError:  # no URL at all
        return None
    return urlunsplit((source.scheme, source.netloc, target.path, target.query, "")) if same_site else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _published(week: str, url: str, response: requests.Response) -> PublishedFile:
    length = response.headers.get("Content-Length", "")
    return PublishedFile(
        week,
        shown(url),
        etag=response.headers.get("ETag"),
        last_modified=_moment(response.headers.get("Last-Modified")),
        size=int(length) if length.isdecimal() else None,
    )


def _moment(text: str | None) -> dt.datetime | None:
    try:
        return parsedate_to_datetime(text).astimezone(dt.UTC) if text else None
    except ValueError:
        return None


def _condition(version: str) -> str:
    """The header that asks for a page unless it is of this version: an etag is quoted, a date is not."""
    return "If-None-Match" if version.startswith(('"', "W/")) else "If-Modified-Since"


def _unreachable(error: Exception, subject: str) -> FeedUnavailable | FeedRefused:
    """The outcome for a broken exchange. Only the innermost cause is told: those around it quote whole addresses."""
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(cause, ssl.SSLCertVerificationError):
        return FeedRefused(f"{subject}: its certificate is not trusted ({cause.verify_message}). {_CHECK_ADDRESS}.")
    if isinstance(cause, TimeoutError):
        told = "no answer in time"
    else:
        told = f"the connection failed ({type(cause).__name__}: {cause})"
    return FeedUnavailable(f"{subject}: {told}. {_TRY_LATER}.")


def _retry_after(response: requests.Response) -> float | None:
    """Seconds to wait by the Retry-After header, which is a number or a date."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    moment = _moment(text)
    return None if moment is None else max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds())


def _wait_before_retry(error: Exception) -> bool | float:
    if not isinstance(error, FeedUnavailable):
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= LONGEST_RETRY_AFTER else False
