"""Assets of hourly ridership: published ridership per complex and hour, and the OMNY share (rule 8)."""

from typing import Final

import dagster as dg
import polars as pl

from mta_pipeline.hourly_ridership import omny
from mta_pipeline.hourly_ridership.contract import COMPLEX_HOURLY_PUBLISHED, HOURLY_RIDERSHIP, OMNY_SHARE
from mta_pipeline.hourly_ridership.published import complex_hourly_published
from mta_pipeline.lake.storage import weeks_there
from mta_pipeline.orchestration.assets.derived import derived_asset
from mta_pipeline.orchestration.assets.soda import raw_soda_asset, staged_soda_assets
from mta_pipeline.orchestration.conditions import once_its_inputs_are_done
from mta_pipeline.orchestration.io_managers.weekly import WeeklyInputs
from mta_pipeline.orchestration.keys import asset_key
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.specs import described

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
    def omny_share(raw_layer: Lake, published: WeeklyInputs) -> pl.DataFrame:
        # One listing, because in a bucket each week of the calendar would take a request.
        existing = weeks_there(raw_layer.lake_root, COMPLEX_HOURLY_PUBLISHED.layer, COMPLEX_HOURLY_PUBLISHED.name)
        return omny.omny_share(published[week] for week in published.weeks if week in existing)

    return omny_share
