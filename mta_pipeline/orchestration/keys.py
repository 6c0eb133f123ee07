"""Names of assets, checks, jobs, tags and pools.

They are stored in Dagster's records and in users' configuration, so they must not change.
"""

from typing import TYPE_CHECKING, Final

import dagster as dg

from mta_pipeline.lake.raw import RAW
from mta_pipeline.lake.raw_files import RAW_TABLE
from mta_pipeline.schema import Table
from mta_pipeline.tables import RIDERSHIP, STAGED

if TYPE_CHECKING:
    from mta_pipeline.sources.socrata.dataset import SodaDataSet


def asset_key(table: Table) -> dg.AssetKey:
    """The asset key of a table: its layer and name."""
    return dg.AssetKey([table.layer, table.name])


def raw_key(data_set: "SodaDataSet") -> dg.AssetKey:
    """The asset key of the pages of a data set."""
    return dg.AssetKey([RAW, data_set.table])


FEED_KEY: Final = dg.AssetKey(["feed", "turnstile_file"])
RAW_KEY: Final = dg.AssetKey(RAW_TABLE)
REPORT_KEY: Final = dg.AssetKey(["report", "ridership_report"])
WEEKLY_KEYS: Final = (RAW_KEY, *map(asset_key, (*STAGED, *RIDERSHIP)))
"""The assets that one weekly file becomes."""

# --- jobs ---

REFERENCE_JOB: Final = "reference_tables"
RIDERSHIP_JOB: Final = "weekly_ridership"
LANDING_JOB: Final = "land_weeks"
HOURLY_JOB: Final = "hourly_ridership"
MARTS_JOB: Final = "marts"

CODE_LOCATION: Final = "mta_pipeline"
"""The name of the code location in workspace.yaml and pyproject.toml."""

# --- checks ---

REACHABLE: Final = "reachable"
NO_WEEK_LEFT_OUT: Final = "no_week_left_out"
NEWEST_WEEK_LANDED: Final = "newest_week_landed"
CARRY_IN_PRESENT: Final = "carry_in_present"
"""It also fails in the first week of every lake, so there are no notifications. NO_WEEK_LEFT_OUT reports gaps."""
RAW_INTACT: Final = "raw_intact"
LAKE_INTACT: Final = "lake_intact"
NO_VERSION_PENDING: Final = "no_version_pending"
ENOUGH_READINGS: Final = "enough_readings"
REJECT_SHARE_AT_MOST: Final = "reject_share_at_most"
SUBWAY_TURNSTILES_PRESENT: Final = "subway_turnstiles_present"
RIDERS_FOUND: Final = "riders_found"
WEEK_AS_USUAL: Final = "week_as_usual"
COMPLEXES_AS_USUAL: Final = "complexes_as_usual"
COMPLEXES_READ_IN_TIME: Final = "complexes_read_in_time"

# --- tags, pools and metadata ---

COMPLETE_WEEKS: Final = "mta_pipeline/complete_weeks"
"""Run tag that selects how to treat complete weeks: SKIP them, or REDO them (the default)."""
SKIP: Final = "leave"
REDO: Final = "redo"
PROCESS_ID: Final = ".dagster/mta_pipeline/process_id"
"""Run tag of the terminal command: RUN/PROCESS, the ids of the run and of its process. Another run may copy the tag.
The UI hides tags that start with `.dagster/`."""
SHOWN_PROCESS_ID: Final = "mta_pipeline/process_id"
"""The name of PROCESS_ID in runs of version 0.1.0."""
FAILED_WEEKS: Final = "failed_weeks"
"""Metadata of a failed step: the failed weeks with reasons. The terminal command continues without these weeks."""
BLOCKED_BY: Final = "mta_pipeline/blocked_by"
"""Metadata of a weekly asset: the blocking checks upstream of it. It leaves out the weeks that fail one of them."""
WEEKS_POOL: Final = "weeks"
"""Only one run at a time processes weeks, because one of two runs over the same weeks could be refused halfway. See
dagster.yaml."""
WAREHOUSE_POOL: Final = "warehouse"
"""Only one run at a time updates the warehouse, because two could load the same week twice, in any order."""
MEMORY_TAG: Final = "run-container/memory"
"""Memory limit of a run's container, above which it is killed: a number and m or g, as in 1500m or 2g."""
CPUS_TAG: Final = "run-container/cpus"
"""CPU limit of a run's container, as in 2 or 0.5."""
