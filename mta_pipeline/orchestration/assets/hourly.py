"""Assets of hourly ridership: published ridership per complex and hour, the OMNY share and the entry factor."""

from collections.abc import Collection
from typing import Final

import dagster as dg
import polars as pl

from mta_pipeline.engines.lake_files import weeks_in_lake
from mta_pipeline.hourly_ridership import entry_factor as factors
from mta_pipeline.hourly_ridership import omny
from mta_pipeline.hourly_ridership.contract import (
    COMPLEX_HOURLY_PUBLISHED,
    ENTRY_FACTOR,
    HOURLY_RIDERSHIP,
    OMNY_SHARE,
)
from mta_pipeline.hourly_ridership.published import complex_hourly_published
from mta_pipeline.lake.storage import weeks_there
from mta_pipeline.orchestration.assets.derived import derived_asset
from mta_pipeline.orchestration.assets.soda import raw_soda_asset, staged_soda_assets
from mta_pipeline.orchestration.conditions import once_its_inputs_are_done
from mta_pipeline.orchestration.io_managers.weekly import WeeklyInputs
from mta_pipeline.orchestration.keys import asset_key
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.specs import described
from mta_pipeline.turnstile.contract import COMPLEX_DAILY
from mta_pipeline.weeks import week_after

GROUP: Final = "hourly"
"""A separate group, because users who materialize the group of a layer may have no portal."""


def hourly_assets(weeks: dg.WeeklyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The weekly assets: raw pages, staged rows with rejects, and the published ridership in the lake."""
    return [
        raw_soda_asset(HOURLY_RIDERSHIP, weeks, GROUP),
        staged_soda_assets(HOURLY_RIDERSHIP, weeks, GROUP),
        derived_asset(
            HOURLY_RIDERSHIP.staged,
            COMPLEX_HOURLY_PUBLISHED,
            complex_hourly_published,
            weeks,
            group=GROUP,
            totals=("ridership", "transfers", "omny_ridership"),
        ),
    ]


def omny_share_asset() -> dg.AssetsDefinition:
    """The OMNY share per complex and month, from all weeks in the lake."""

    @dg.asset(
        **described(OMNY_SHARE, GROUP),
        automation_condition=once_its_inputs_are_done(),
        ins={"published": dg.AssetIn(asset_key(COMPLEX_HOURLY_PUBLISHED))},
    )
    def omny_share(context: dg.AssetExecutionContext, raw_layer: Lake, published: WeeklyInputs) -> pl.DataFrame | None:
        if weeks := _in_lake(published, raw_layer):
            return omny.omny_share(published[week] for week in weeks)
        context.log.info("Skipped: no week of hourly ridership is in the lake")
        return None

    return omny_share


def entry_factor_asset() -> dg.AssetsDefinition:
    """The entry factor per complex and month, from all weeks that have both turnstile data and hourly ridership."""

    @dg.asset(
        **described(ENTRY_FACTOR, GROUP),
        automation_condition=once_its_inputs_are_done(),
        ins={
            "daily": dg.AssetIn(asset_key(COMPLEX_DAILY)),
            "published": dg.AssetIn(asset_key(COMPLEX_HOURLY_PUBLISHED)),
        },
    )
    def entry_factor(
        context: dg.AssetExecutionContext, raw_layer: Lake, daily: WeeklyInputs, published: WeeklyInputs
    ) -> pl.DataFrame | None:
        counted = weeks_in_lake(raw_layer.lake_root)
        both = [week for week in _in_lake(published, raw_layer) if week in counted]
        if not both:
            context.log.info("Skipped: no week of the lake has both turnstile data and hourly ridership")
            return None
        # A Friday's last intervals are in the week after.
        needed = counted & {*both, *map(week_after, both)}
        return factors.entry_factor(
            (daily[week] for week in daily.weeks if week in needed),
            (published[week] for week in both),
            whole_days(counted),
        )

    return entry_factor


def whole_days(weeks: Collection[str]) -> pl.Series:
    """Return the dates whose intervals are all known from these weeks.

    A Friday needs the week after. A Saturday needs the week before, in which its first intervals start.
    """
    from mta_pipeline.marts.star import dim_date  # noqa: PLC0415  # slow to import

    carried_in = pl.col("week").cast(pl.String).is_in([week_after(week) for week in weeks])
    return dim_date(weeks).filter("is_whole_day", carried_in | (pl.col("date") > pl.col("week")))["date"]


def _in_lake(published: WeeklyInputs, lake: Lake) -> list[str]:
    """Return the weeks of complex_hourly_published that are in the lake, in order."""
    # One listing, because in a bucket each week of the calendar would take a request.
    existing = weeks_there(lake.lake_root, COMPLEX_HOURLY_PUBLISHED.layer, COMPLEX_HOURLY_PUBLISHED.name)
    return [week for week in published.weeks if week in existing]
