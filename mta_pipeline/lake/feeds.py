"""Opens the feed of a deployment: weekly files with yearly exports beside them, or the State's open-data portal."""

from pydantic import SecretStr

from mta_pipeline.lake.exports import ExportsFeed, Progress
from mta_pipeline.settings import portal_of
from mta_pipeline.sources.turnstile_files import Feed, open_feed


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
