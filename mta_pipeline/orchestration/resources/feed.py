"""The feed as a Dagster resource. `mta_pipeline.sources.turnstile_files` implements it."""

from dagster import ConfigurableResource
from pydantic import Field

from mta_pipeline.sources.turnstile_files import Feed, open_feed


class TurnstileFeed(ConfigurableResource):  # type: ignore[type-arg]
    """The location of the weekly turnstile files."""

    location: str = Field(
        description="An http(s) URL (index page or directory), a directory, or an fsspec URL such as gs://bucket/prefix.",
    )

    def open(self, *, fail_fast: bool = False) -> Feed:
        """Open the feed. It caches its index page: open one per step, and one with `fail_fast` per tick."""
        return open_feed(self.location, fail_fast=fail_fast)
