"""The feed on a web site: an index page that links to the files, or a directory that holds them by name.

`unpacking` processes the bytes.
"""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from types import MappingProxyType
from typing import IO, Any, BinaryIO, Final, NamedTuple, TypeVar
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import requests

from mta_pipeline.addresses import shown
from mta_pipeline.sources.errors import BadFile, FeedRefused, one_line
from mta_pipeline.sources.http import NOT_MODIFIED, Site, header, moment, origin
from mta_pipeline.sources.turnstile_files.interface import (
    SAMPLE_NOTE,
    Fetched,
    Listing,
    PublishedExport,
    PublishedFile,
    by_week,
    copies,
    is_export,
    named,
    not_published,
    notes_on,
    subject_of,
    why_not_used,
)
from mta_pipeline.sources.turnstile_files.unpacking import deliver, receive, spool
from mta_pipeline.weeks import week_of_file

MAX_INDEX_BYTES: Final = 8 * 2**20
MAX_LINKS: Final = 20_000
"""Maximum number of links of an index page. The MTA's had 700."""
MAX_LINK: Final = 2_000
"""Maximum characters of the address of a link."""
_MAX_DIGITS: Final = 18
"""Of a size in bytes. Longer ones fit into no table."""

Published = TypeVar("Published", PublishedFile, PublishedExport)


class _NotFollowed(NamedTuple):
    """A link that is not followed: its address for messages, and to what it leads."""

    url: str
    leads_to: str


class _Index(NamedTuple):
    """The page's links by week, or None if it is unchanged; and its version, if it has one."""

    links: Mapping[str, str] | None
    version: str | None
    exports: Mapping[str, str] = MappingProxyType({})
    """The links to yearly exports, by name."""
    not_followed: Sequence[_NotFollowed] = ()
    notes: Sequence[str] = ()
    is_sample: bool = False


_NO_INDEX: Final = _Index({}, None)


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
                f"{shown(location)} cannot be a feed: its URL must have a host and a path, and no query, fragment, "
                "user or password. Put user and password into ~/.netrc"
            )
        name = unquote(parts.path.rpartition("/")[2])
        is_file = is_export(name, alone=True) or name.endswith((".html", ".htm"))
        path = parts.path if is_file else parts.path.rstrip("/") + "/"
        self._page = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self._site = Site("MTA_FEED", "the user and password in ~/.netrc", fail_fast=fail_fast)
        # The address of a single export takes the place of an index page.
        self._single = _Index({}, None, {name: self._page}) if is_export(name, alone=True) else None
        self._index: _Index | None = None

    def __repr__(self) -> str:
        return f"WebFeed({self._page!r})"

    @property
    def location(self) -> str:
        """The address of the index page or directory."""
        return self._page

    def available_weeks(self) -> Mapping[str, PublishedFile]:
        """Return the weeks that the index page links to, in order. The page gives no metadata except the addresses."""
        listing = self.listing_unless(None)
        return {} if listing is None else listing.weeks

    def listing_unless(self, version: str | None) -> Listing | None:
        """Return the weeks that the index page links to, or None if the server says that it still has this version."""
        index = self._read_index(f"Index page {self._page}", version)
        if index is not None and index.links is None:
            return None
        if index is None or not (index.links or index.exports):
            raise BadFile(
                f"Index page {self._page}: "
                + ("it does not exist" if index is None else "it links to no weekly file (turnstile_YYMMDD.txt)")
                + f", so the available weeks are not known. {'' if index is None else _summary(index.not_followed)}"
                f"Single weeks can still be requested by name. {self._site.check_address}."
            )
        weeks = {week: PublishedFile(week, shown(url)) for week, url in (index.links or {}).items()}
        return Listing(weeks, index.version, index.notes)

    def look(self, week: str, known: str | None = None) -> PublishedFile | None:  # noqa: ARG002
        """Return the server's metadata of a week's file without a download; None if the week is not published."""
        for url in self._addresses(week):
            file = self._site.with_retries(self._describe, week, url)
            if file is not None:
                return file
        self._raise_if_listed(week)
        return None

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        """Write a week's unpacked file to the sink. The sink gets nothing unless the file is complete and valid."""
        with spool() as stored:
            for url in self._addresses(week):
                file = self._site.with_retries(self._download, PublishedFile(week, shown(url)), url, stored)
                if file is not None:
                    return deliver(stored, file, sink, is_sample=self.is_sample)
        self._raise_if_listed(week)
        raise not_published(week, self.location)

    def exports(self) -> Sequence[PublishedExport]:
        """Return the yearly exports that the index page links to, with the server's metadata. Dead links have none."""
        index = self._index_for(f"Index page {self._page}")
        return [
            self._site.with_retries(self._describe_export, name, url) or PublishedExport(name, shown(url))
            for name, url in sorted(index.exports.items())
        ]

    @contextlib.contextmanager
    def open_export(self, export: PublishedExport) -> Iterator[IO[bytes]]:
        """Download an export to a temporary file, and open it."""
        url = self._index_for(export.subject).exports[export.name]
        with tempfile.TemporaryFile() as stored:
            if self._site.with_retries(self._download, export, url, stored) is None:
                raise BadFile(
                    f"{export.subject}: the server says that it does not exist (404 or 410). Have the link or the file "
                    "corrected at the feed."
                )
            yield stored

    @property
    def is_sample(self) -> bool:
        """Whether the index page links to a file SAMPLE.txt, which says that the data are synthetic."""
        return self._index_for(f"Index page {self._page}").is_sample

    def _addresses(self, week: str) -> list[str]:
        index = self._index_for(f"Week {week}, index page {self._page}")
        if index.links and week in index.links:
            return [index.links[week]]
        # A place that lists exports only has no weekly files.
        return [] if index.exports and not index.links else [urljoin(self._page, name) for name in copies(week)]

    def _raise_if_listed(self, week: str) -> None:
        """Fail if the index names the week: a dead link is not a week that was not published."""
        index = self._index_for(f"Week {week}, index page {self._page}")
        if index.links and week in index.links:
            raise BadFile(
                f"{subject_of(week, index.links[week])}: the index page {self._page} links to this file, but the "
                "server says that it does not exist (404 or 410). Have the link or the file corrected at the feed."
            )
        for link in index.not_followed:
            if week_of_file(_name(link.url)) == week:
                raise BadFile(
                    f"{subject_of(week, link.url)}: the index page {self._page} links to this file. The link is not "
                    f"followed, because it leads to {link.leads_to}. Set MTA_FEED to the address of the "
                    "page or directory that has the files."
                )

    def _index_for(self, subject: str) -> _Index:
        """The index as it was read last. It has no links if there is no index or the server refuses it."""
        if self._index is None:
            try:
                self._read_index(subject)
            except FeedRefused:  # many servers refuse to list a directory but serve its files
                self._index = _NO_INDEX
        return self._index or _NO_INDEX

    def _read_index(self, subject: str, unless: str | None = None) -> _Index | None:
        index = self._single or self._site.with_retries(self._request_index, subject, unless)
        if index is None or index.links is not None:  # for an unchanged index, this feed may not have the links
            self._index = index or _NO_INDEX
        return index

    def _request_index(self, subject: str, unless: str | None) -> _Index | None:
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
                    raise _too_large(subject, f"{MAX_INDEX_BYTES:,} bytes")
        return _parsed(page.decode(errors="replace"), response, subject)

    def _describe(self, week: str, url: str) -> PublishedFile | None:
        response = self._site.request("HEAD", url, subject_of(week, url))
        if response is None:
            return None
        with response:
            return PublishedFile(week, shown(url), **_metadata(response))

    def _describe_export(self, name: str, url: str) -> PublishedExport | None:
        response = self._site.request("HEAD", url, f"Export {shown(url)}")
        if response is None:
            return None
        with response:
            return PublishedExport(name, shown(url), **_metadata(response))

    def _download(self, file: Published, url: str, stored: IO[bytes]) -> Published | None:
        """Download a file, and return it with the metadata of the response; None if it does not exist."""
        response = self._site.request("GET", url, file.subject)
        if response is None:
            return None
        with response:
            encoding = response.headers.get("Content-Encoding", "identity").lower()
            if encoding not in ("identity", "gzip", "x-gzip"):
                raise BadFile(
                    f"{file.subject}: the server sent Content-Encoding {one_line(encoding)}, which was not requested. "
                    "The server must be corrected."
                )
            received = replace(file, **_metadata(response))
            receive(self._site.body(response, file.subject, decode=False), received, stored)
            return received


class _Links(HTMLParser):
    """Collects the targets of the links of a page, and the base that it declares for them."""

    def __init__(self) -> None:
        super().__init__()
        self.base: str | None = None
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(reversed(attrs)).get("href")
        if tag == "a" and href:
            self.hrefs.append(href)
        elif tag == "base" and href and self.base is None and len(href) <= MAX_LINK:
            self.base = href.strip()


def _too_large(subject: str, limit: str) -> BadFile:
    return BadFile(f"{subject}: it has more than {limit}, too many for an index page. Check MTA_FEED.")


def _parsed(text: str, response: requests.Response, subject: str) -> _Index:
    page = _Links()
    with contextlib.suppress(AssertionError):  # malformed markup; the links before it count
        page.feed(text)
    if len(page.hrefs) > MAX_LINKS:
        raise _too_large(subject, f"{MAX_LINKS:,} links")
    base = response.url
    with contextlib.suppress(ValueError):  # not a URL
        base = urljoin(response.url, page.base or "")
    targets = [_target(response.url, base, href) for href in page.hrefs]
    addresses = [target for target in targets if isinstance(target, str)]
    not_followed = [target for target in targets if not isinstance(target, str)]
    links = by_week((_name(url), url) for url in addresses)
    exports: dict[str, str] = {}
    for url in addresses:
        if is_export(name := unquote(_name(url))):
            exports.setdefault(name, url)
    unused = {_name(url) for url in addresses} - {_name(url) for url in links.values()}
    reasons = [(name, why_not_used(name)) for name in unused]
    namesakes = {shown(url) for url in addresses if exports.get(unquote(_name(url)), url) != url}
    reasons += [(url, "an export of the same name is used") for url in namesakes]
    for link in not_followed:
        name = _name(link.url)
        reasons.append((name, why_not_used(name) and f"the link leads to {link.leads_to}"))
    notes = notes_on(shown(response.url), reasons)
    no_data = (url for url in addresses if week_of_file(_name(url)) is None and not is_export(unquote(_name(url))))
    not_followed += [_NotFollowed(url, "no weekly file") for url in no_data]
    version = header(response, "ETag") or header(response, "Last-Modified")
    is_sample = any(_name(url) == SAMPLE_NOTE for url in addresses)
    return _Index(links, version, exports, not_followed, notes, is_sample)


def _target(page: str, base: str, href: str) -> str | _NotFollowed:
    """The absolute address of a link, or why it is not followed: it leads to another host, or contains `..`."""
    if len(href) > MAX_LINK:
        return _NotFollowed("", "an address that is too long")
    try:
        source, target = urlsplit(page), urlsplit(urljoin(base, href.strip()))
        same_site = origin(source) == origin(target)
    except ValueError:
        return _NotFollowed("", "no web address")
    url = shown(urlunsplit(target))
    if target.scheme not in ("http", "https") or not url.isprintable():
        return _NotFollowed(url, "no web address")
    if not same_site:
        return _NotFollowed(url, f"another host ({target.scheme}://{target.netloc.rpartition('@')[2]})")
    if ".." in unquote(href).replace("\\", "/").split("/"):
        return _NotFollowed(url, "a parent folder (..)")
    return urlunsplit((source.scheme, source.netloc, target.path, target.query, ""))


def _name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


def _summary(not_followed: Sequence[_NotFollowed]) -> str:
    """How many links of a page are not followed, and why."""
    if not not_followed:
        return "The page has no links at all. "
    reasons = Counter(link.leads_to for link in not_followed).most_common()
    number = len(not_followed)
    return (
        f"{f'{number:,} links are' if number > 1 else '1 link is'} not followed: "
        f"{named([f'{times:,} to {leads_to}' for leads_to, times in reasons])}. "
    )


def _metadata(response: requests.Response) -> dict[str, Any]:
    """Etag, last_modified and size, as far as the server gives them."""
    length = header(response, "Content-Length") or ""
    return {
        "etag": header(response, "ETag"),
        "last_modified": moment(header(response, "Last-Modified")),
        "size": int(length) if length.isdecimal() and len(length) <= _MAX_DIGITS else None,
    }


def _condition(version: str) -> str:
    """The conditional header for a version: an etag is quoted, a date is not."""
    return "If-None-Match" if version.startswith(('"', "W/")) else "If-Modified-Since"
