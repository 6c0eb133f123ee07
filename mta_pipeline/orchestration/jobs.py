"""The jobs: which assets a person or a schedule launches together. Their names are in `keys`."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from mta_pipeline.orchestration.keys import (
    COMPLETE_WEEKS,
    HOURLY_JOB,
    LANDING_JOB,
    MARTS_JOB,
    REFERENCE_JOB,
    RIDERSHIP_JOB,
    SKIP,
)

Assets = Sequence[dg.AssetsDefinition]


def jobs(
    *,
    raw: dg.AssetsDefinition,
    weekly: Assets,
    reference: Assets,
    hourly: Assets,
    answers: Assets,
    standing: Sequence[dg.AssetChecksDefinition],
) -> list[Any]:
    """All jobs.

    Args:
        raw: the published files.
        weekly: the weekly turnstile tables, `raw` included.
        reference: the tables without weeks.
        hourly: the weekly tables of hourly ridership.
        answers: the warehouse, the marts and the report.
        standing: checks of raw files and tables that no job evaluates, because they examine all weeks.
    """
    others = dg.AssetSelection.checks(*standing)
    return [
        dg.define_asset_job(
            RIDERSHIP_JOB,
            selection=dg.AssetSelection.assets(*weekly) - others,
            description="Processes weeks from the feed to the lake: one week, or a range in a single run. Weeks that "
            "are complete in the lake and unchanged in the feed are skipped; to rebuild them, materialize the assets.",
            tags={COMPLETE_WEEKS: SKIP},
        ),
        dg.define_asset_job(
            LANDING_JOB,
            selection=dg.AssetSelection.assets(raw) - others,
            description="Lands weeks from the feed in the raw layer. Automation materializes everything downstream.",
        ),
        dg.define_asset_job(
            REFERENCE_JOB,
            selection=dg.AssetSelection.assets(*reference),
            description="Materializes the tables without weeks, which weekly tables use to look up control areas.",
        ),
        dg.define_asset_job(
            HOURLY_JOB,
            selection=dg.AssetSelection.assets(*hourly) - others,
            description="Processes weeks of hourly ridership from the portal (MTA_SODA) to the lake: one week, or a "
            "range in a single run. Weeks that the portal has not changed are skipped.",
            tags={COMPLETE_WEEKS: SKIP},
        ),
        dg.define_asset_job(
            MARTS_JOB,
            selection=dg.AssetSelection.assets(*answers),
            description="Materializes the warehouse, the marts and the report from all weeks in the lake.",
        ),
    ]
