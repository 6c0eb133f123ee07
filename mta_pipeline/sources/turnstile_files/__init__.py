"""Where weekly turnstile files come from: a web site, a directory or a bucket, chosen by one string.

A feed says which weeks are on offer and hands over the published bytes, unpacked and whole, or one clear outcome of
why not. What the bytes mean, and where they are kept, does not belong here; neither does Dagster.
"""

from urllib.parse import urlsplit

from mta_pipeline.sources.turnstile_files.filesystem import FilesystemFeed
from mta_pipeline.sources.turnstile_files.interface import Feed, Fetched, Listing, PublishedFile

__all__ = [
    "Feed",
    "Fetched",
    "FilesystemFeed",
    "Listing",
    "PublishedFile",
    "open_feed",
]


def open_feed(location: str, *, fail_fast: bool = False) -> Feed:
    """The feed at a location: an http(s) URL, a directory, or an fsspec URL such as gs://bucket/prefix.

    Nothing is asked of the feed yet. A fail_fast one gives up soon and does not try again: for those who come back.

    Raises:
        ValueError: the location is none of these.
    """
    if urlsplit(location).scheme.lower() in ("http", "https"):
        from mta_pipeline.sources.turnstile_files.web import WebFeed  # noqa: PLC0415  # what it needs of the web is slow to import

        return WebFeed(location, fail_fast=fail_fast)
    return FilesystemFeed(location)
