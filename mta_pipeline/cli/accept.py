"""Accepts pending versions of raw files. `lake.raw_files` says when a version is pending."""

import dagster as dg

from mta_pipeline.cli.run import open_records
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.orchestration.keys import RAW_KEY
from mta_pipeline.settings import Settings


def accept_pending(settings: Settings, week: str) -> str:
    """Make the pending version of a week the current one, and say so. Raises the same as `RawFiles.accept`.

    If there are records, the landing is reported to Dagster, so that automation makes the tables from it.
    """
    accepted = RawFiles(settings.lake_root, settings.raw_versions).accept(week)
    if settings.dagster_home is not None:
        facts = {"outcome": "accepted", "sha256": accepted.sha256, "source": accepted.source}
        with open_records(settings.dagster_home) as instance:
            instance.report_runless_asset_event(dg.AssetMaterialization(RAW_KEY, partition=week, metadata=facts))
    return f"Week {week}: {accepted.file} from {accepted.source} is current now. The next run makes its tables again."
