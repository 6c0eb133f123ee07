"""The feed as a Dagster resource. `mta_pipeline.lake.feeds` opens it."""

from collections.abc import Callable

from dagster import ConfigurableResource, ResourceDependency
from pydantic import Field

from mta_pipeline.lake.feeds import feed_at
from mta_pipeline.orchestration.resources.soda import SodaPortal
from mta_pipeline.sources.turnstile_files import Feed
from mta_pipeline.telemetry.progress import FileProgress


class TurnstileFeed(ConfigurableResource):  # type: ignore[type-arg]
    """The location of the weekly turnstile files."""

    location: str = Field(
        description="An http(s) URL (index page or directory), a directory, or an fsspec URL such as gs://bucket/prefix.",
    )

    soda: ResourceDependency[SodaPortal] = SodaPortal(None)  # type: ignore[assignment]
    """The portal whose app token the feed uses. It is a resource, because the UI would show a token."""

    def open(self, lake_root: str, *, fail_fast: bool = False, log: Callable[[str], None] | None = None) -> Feed:
        """Open the feed for one lake. It caches its list: open one per step, and one with `fail_fast` per tick.

        `log` gets lines of progress while an export is read.
        """
        return feed_at(
            self.location,
            lake_root,
            token=self.soda.token,
            fail_fast=fail_fast,
            progress=FileProgress(log) if log else None,
        )
