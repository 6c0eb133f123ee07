"""The hourly feed's own tables: published ridership per complex and hour, and the share of OMNY."""

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
"""Not with the layers' own groups: whoever materializes those wants turnstiles, and may have no portal."""


def hourly_assets(weeks: dg.WeeklyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Everything of the feed that comes by weeks."""
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
    """The share of OMNY by complex and month, from all weeks that are in the lake."""

    @dg.asset(
        **described(OMNY_SHARE, GROUP),
        automation_condition=once_its_inputs_are_done(),
        ins={"published": dg.AssetIn(asset_key(COMPLEX_HOURLY_PUBLISHED))},
    )
    def omny_share(raw_layer: Lake, published: WeeklyInputs) -> pl.DataFrame:
        # By one listing: in a bucket, each week of the calendar would be a question.
        there = weeks_there(raw_layer.lake_root, COMPLEX_HOURLY_PUBLISHED.layer, COMPLEX_HOURLY_PUBLISHED.name)
        return omny.omny_share(published[week] for week in published.weeks if week in there)

    return omny_share
