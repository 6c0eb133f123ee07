"""Opens the feed of a deployment: weekly files with yearly exports beside them."""

from mta_pipeline.lake.exports import ExportsFeed, Progress
from mta_pipeline.sources.turnstile_files import Feed, open_feed


def feed_at(location: str, lake_root: str, *, fail_fast: bool = False, progress: Progress | None = None) -> Feed:
    """Return the feed at a location, for one lake. Sends no request yet.

    Args:
        location: as for `open_feed`.
        lake_root: the lake that keeps exports, split into weeks.
        fail_fast: make one short attempt per request, and read no export.
        progress: is called while an export is read.

    Raises:
        ValueError: this is no location of a feed.
    """
    return ExportsFeed(open_feed(location, fail_fast=fail_fast), lake_root, progress, fail_fast=fail_fast)
