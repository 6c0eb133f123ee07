"""Opens the feed of a deployment: weekly files with yearly exports beside them, or the State's open-data portal."""

import datetime as dt
from collections.abc import Collection, Iterable

from pydantic import SecretStr

from mta_pipeline.lake.exports import ExportsFeed, Progress
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.settings import portal_of
from mta_pipeline.sources.errors import FeedError
from mta_pipeline.sources.turnstile_files import Feed, open_feed
from mta_pipeline.weeks import saturday


def feed_at(
    location: str,
    lake_root: str,
    *,
    token: SecretStr | None = None,
    fail_fast: bool = False,
    progress: Progress | None = None,
) -> Feed:
    """Return the feed at a location, for one lake. Sends no request yet.

    Args:
        location: a portal, or as for `open_feed`.
        lake_root: the lake that keeps exports, split into weeks.
        token: an app token of the portal.
        fail_fast: make one short attempt per request, and read neither exports nor pages.
        progress: is called while an export is read.

    Raises:
        ValueError: this is no location of a feed.
    """
    if portal := portal_of(location):
        from mta_pipeline.lake.portal import PortalFeed, usage_data_sets  # noqa: PLC0415  # requests is slow to import
        from mta_pipeline.sources.socrata.client import SodaApi  # noqa: PLC0415

        api = SodaApi(portal, token.get_secret_value() if token else None, setting="MTA_FEED", fail_fast=fail_fast)
        return PortalFeed(api, usage_data_sets(), fail_fast=fail_fast)
    return ExportsFeed(open_feed(location, fail_fast=fail_fast), lake_root, progress, fail_fast=fail_fast)


def last_week_at(location: str, lake_root: str) -> str | None:
    """Return the last week of the feed at a location, or None if only a request could tell. Sends no request.

    The portal's data sets have a last day. In a directory, the newest week counts. A week that has landed counts, too:
    a file that was moved away must not end the calendar before its week.

    Args:
        location: as for `feed_at`.
        lake_root: the lake of the feed.
    """
    weeks = _weeks_known(location)
    landed = RawFiles(lake_root).weeks() if weeks and "://" not in lake_root else ()
    return max((*weeks, *landed), default=None)


def _weeks_known(location: str) -> Collection[str]:
    """Weeks of a feed, the last one included. Empty if the last one is not known."""
    weeks: Iterable[str] = ()
    if portal_of(location):
        from mta_pipeline.lake.portal import usage_data_sets  # noqa: PLC0415  # requests is slow to import

        days = [source.last for source in usage_data_sets()]
    elif "://" in location:
        return ()
    else:
        files = open_feed(location)
        try:
            weeks, exports = files.available_weeks(), files.exports()
        except FeedError:  # Ticks and runs report it.
            return ()
        days = [export.years and dt.date(export.years[1], 12, 31) for export in exports]
    # A week counts if it ends by that day. Without a day or a year, a source can hold any week.
    ends = [saturday(day - dt.timedelta(6)) for day in days if day]
    return (*weeks, *ends) if len(ends) == len(days) else ()
