"""The feed as a Dagster resource. `mta_pipeline.lake.feeds` opens it."""

from collections.abc import Callable

from dagster import ConfigurableResource
from pydantic import Field, SecretStr

from mta_pipeline.lake.feeds import feed_at
from mta_pipeline.sources.turnstile_files import Feed
from mta_pipeline.telemetry.progress import FileProgress


class TurnstileFeed(ConfigurableResource):  # type: ignore[type-arg]
    """The feed: where the turnstile data are published (MTA_FEED)."""

    location: str = Field(
        description="A portal (https://data.ny.gov, or soda+https://host for any other), an http(s) URL (index page or "
        "directory), a directory, or an fsspec URL such as gs://bucket/prefix.",
    )
    token: str | None = Field(
        default=None,
        description="An app token of the portal. Give it as dagster.EnvVar, so that the UI does not show it.",
    )

    def open(self, lake_root: str, *, fail_fast: bool = False, log: Callable[[str], None] | None = None) -> Feed:
        """Open the feed for one lake. It caches its list: open one per step, and one with `fail_fast` per tick.

        `log` gets lines of progress while an export is read.
        """
        return feed_at(
            self.location,
            lake_root,
            token=SecretStr(self.token) if self.token else None,
            fail_fast=fail_fast,
            progress=FileProgress(log) if log else None,
        )
