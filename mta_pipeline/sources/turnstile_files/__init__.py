"""Sources of weekly turnstile files: a web site, a directory or a bucket, chosen by the location string.

A feed lists the available weeks. It delivers the published bytes, unpacked and complete, or raises an error that says
why not. It does not interpret or store the bytes, and does not depend on Dagster.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from mta_pipeline.sources.errors import FeedError
from mta_pipeline.sources.turnstile_files.filesystem import FilesystemFeed
from mta_pipeline.sources.turnstile_files.interface import (
    SAMPLE_NOTE,
    ExportFiles,
    ExportRows,
    Feed,
    Fetched,
    FileFeed,
    Listing,
    PublishedExport,
    PublishedFile,
)

__all__ = [
    "SAMPLE_NOTE",
    "ExportFiles",
    "ExportRows",
    "Feed",
    "Fetched",
    "FileFeed",
    "FilesystemFeed",
    "Listing",
    "PublishedExport",
    "PublishedFile",
    "open_feed",
    "unused_files",
]


def open_feed(location: str, *, fail_fast: bool = False) -> FileFeed:
    """Return the feed at a location: an http(s) URL, a directory, or an fsspec URL such as gs://bucket/prefix.

    Sends no request yet. With `fail_fast`, each request gets one short attempt, for callers that try again later.

    Raises:
        ValueError: the location is none of these.
    """
    if urlsplit(location).scheme.lower() in ("http", "https"):
        from mta_pipeline.sources.turnstile_files.web import WebFeed  # noqa: PLC0415  # requests is slow to import

        return WebFeed(location, fail_fast=fail_fast)
    return FilesystemFeed(location)


def unused_files(feed: Feed) -> Sequence[str]:
    """Return sentences that name files of the feed that look like data but are not used. Empty if it gives no list."""
    try:
        listing = feed.listing_unless(None)
    except FeedError:  # The run that fetches weeks reports the error.
        return ()
    return () if listing is None else listing.notes
