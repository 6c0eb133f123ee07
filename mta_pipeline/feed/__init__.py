"""Where weekly turnstile files come from: a web site, a directory or a bucket, chosen by one string.

A feed says which weeks are on offer and hands over the published bytes, unpacked and whole, or one clear outcome of
why not. What the bytes mean, and where they are kept, does not belong here; neither does Dagster.
"""

from urllib.parse import urlsplit

from mta_pipeline.feed.filesystem import FilesystemFeed
from mta_pipeline.feed.interface import (
    BadFile,
    Feed,
    FeedError,
    FeedRefused,
    FeedUnavailable,
    Fetched,
    NotPublished,
    PublishedFile,
)
from mta_pipeline.feed.web import WebFeed

__all__ = [
    "BadFile",
    "Feed",
    "FeedError",
    "FeedRefused",
    "FeedUnavailable",
    "Fetched",
    "FilesystemFeed",
    "NotPublished",
    "PublishedFile",
    "WebFeed",
    "open_feed",
]


def open_feed(location: str) -> Feed:
    """The feed at a location: an http(s) URL, a directory, or an fsspec URL such as gs://bucket/prefix.

    Nothing is asked of the feed yet.

    Raises:
        ValueError: the location is none of these.
    """
    return WebFeed(location) if urlsplit(location).scheme.lower() in ("http", "https") else FilesystemFeed(location)
