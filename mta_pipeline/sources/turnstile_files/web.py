"""The feed on a web site: an index page that links to the files, or a directory that has them by name.

Only what HTTP needs is here; what is done with the bytes is in delivery.
"""

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import IO, BinaryIO, Final, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import requests

from mta_pipeline.sources.errors import BadFile, FeedRefused
from mta_pipeline.sources.http import NOT_MODIFIED, Site, moment, origin
from mta_pipeline.sources.turnstile_files.interface import (
    Fetched,
    Listing,
    PublishedFile,
    by_week,
    copies,
    not_published,
    shown,
    subject_of,
)
from mta_pipeline.sources.turnstile_files.unpacking import deliver, receive, spool

MAX_INDEX_BYTES: Final = 8 * 2**20


class _Index(NamedTuple):
    """What the index page says: where the weeks are, or None if it is as it was; and its version, if it has one."""

    links: Mapping[str, str] | None
    version: str | None


class WebFeed:
    """Weekly files below an http(s) URL: that of an index page (`….html`) or of a directory.

    `available_weeks` reads the index each time; the other methods read it once. Without an index, or if the index does
    not name the week, the file is requested by its name. Put user and password into ~/.netrc: a URL that contains them
    is rejected, because URLs are displayed and logged. With `fail_fast` there is one short attempt.
    """

    def __init__(self, location: str, *, fail_fast: bool = False) -> None:
        parts = urlsplit(location)
        if parts.hostname is None or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(
                f"{shown(location)} cannot be a feed: its URL takes a host and a path, no query or fragment, "
                "and no user or password, for which there is ~/.netrc"
            )
        path = parts.path if parts.path.endswith((".html", ".htm")) else parts.path.rstrip("/") + "/"
        self._page = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self._site = Site("MTA_FEED", "the user and password in ~/.netrc", fail_fast=fail_fast)
        self._links: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        return f"WebFeed({self._page!r})"

    @property
    def location(self) -> str:
        """The address of the index page or directory."""
        return self._page

    def available_weeks(self) -> Mapping[str, PublishedFile]:
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
                + f", so the weeks on offer are not known; single weeks may still be had by name. "
                f"{self._site.check_address}."
            )
        return Listing({week: PublishedFile(week, shown(url)) for week, url in index.links.items()}, index.version)

    def look(self, week: str) -> PublishedFile | None:
        """What the server says of a week's file without sending it; None if it was not published."""
        for url in self._addresses(week):
            file = self._site.with_retries(self._describe, week, url)
            if file is not None:
                return file
        return None

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        """Write a week's file, unpacked, to the sink. Unless it is whole and sound, the sink gets nothing."""
        with spool() as stored:
            for url in self._addresses(week):
                file = self._site.with_retries(self._download, week, url, stored)
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
        index = self._site.with_retries(self._ask_index, subject, unless)
        if index is None or index.links is not None:  # an index that is as it was may not have been read by this feed
            self._links = {} if index is None else index.links
        return index

    def _ask_index(self, subject: str, unless: str | None) -> _Index | None:
        condition = None if unless is None else {_condition(unless): unless}
        response = self._site.request("GET", self._page, subject, headers=condition)
        if response is None:
            return None
        page = bytearray()
        with response:
            if response.status_code == NOT_MODIFIED:
                return _Index(None, unless)
            for chunk in self._site.body(response, subject, decode=True):
                page += chunk
                if len(page) > MAX_INDEX_BYTES:
                    raise BadFile(
                        f"{subject}: more than {MAX_INDEX_BYTES:,} bytes, no index page. {self._site.check_address}."
                    )
        links = _Links()
        links.feed(page.decode(errors="replace"))
        addresses = (_address(response.url, href) for href in links.hrefs)
        named = by_week((urlsplit(url).path.rpartition("/")[2], url) for url in addresses if url is not None)
        return _Index(named, response.headers.get("ETag") or response.headers.get("Last-Modified"))

    def _describe(self, week: str, url: str) -> PublishedFile | None:
        response = self._site.request("HEAD", url, subject_of(week, url))
        if response is None:
            return None
        with response:
            return _published(week, url, response)

    def _download(self, week: str, url: str, stored: IO[bytes]) -> PublishedFile | None:
        subject = subject_of(week, url)
        response = self._site.request("GET", url, subject)
        if response is None:
            return None
        with response:
            encoding = response.headers.get("Content-Encoding", "identity").lower()
            if encoding not in ("identity", "gzip", "x-gzip"):
                raise BadFile(f"{subject}: sent with Content-Encoding {encoding}, which was not asked for.")
            file = _published(week, url, response)
            receive(self._site.body(response, subject, decode=False), file, stored)
            return file


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
        same_site = origin(source) == origin(target)
    except ValueError:  # no URL at all
        return None
    return urlunsplit((source.scheme, source.netloc, target.path, target.query, "")) if same_site else None


def _published(week: str, url: str, response: requests.Response) -> PublishedFile:
    length = response.headers.get("Content-Length", "")
    return PublishedFile(
        week,
        shown(url),
        etag=response.headers.get("ETag"),
        last_modified=moment(response.headers.get("Last-Modified")),
        size=int(length) if length.isdecimal() else None,
    )


def _condition(version: str) -> str:
    """The header that asks for a page unless it is of this version: an etag is quoted, a date is not."""
    return "If-None-Match" if version.startswith(('"', "W/")) else "If-Modified-Since"
