"""Loads weeks of a sample's hourly feed into a lake with the real assets."""

from collections.abc import Sequence

import dagster as dg

from mta_pipeline.build import build_defs
from mta_pipeline.hourly_ridership.contract import ENTRY_FACTOR, OMNY_SHARE
from mta_pipeline.orchestration.keys import HOURLY_JOB, asset_key
from mta_pipeline.orchestration.resources.soda import SodaPortal
from mta_pipeline.orchestration.run_records import range_tags
from mta_pipeline.sample import SampleFeed
from mta_pipeline.sample.hourly import data_sets
from mta_pipeline.sample.portal import Portal, serve
from mta_pipeline.settings import Settings


def load_hourly_weeks(settings: Settings, feed: SampleFeed, weeks: Sequence[str], instance: dg.DagsterInstance) -> None:
    """Load consecutive weeks of the hourly feed, and the shares and factors from them, into the settings' lake."""
    with serve(Portal(data_sets(feed.hourly(weeks)))) as portal:
        defs = build_defs(settings, soda=SodaPortal(portal.url))
        job = defs.resolve_job_def(HOURLY_JOB)
        assert job.execute_in_process(instance=instance, tags=range_tags((weeks[0], weeks[-1]))).success
    computed = defs.resolve_implicit_global_asset_job_def()
    selection = [asset_key(OMNY_SHARE), asset_key(ENTRY_FACTOR)]
    assert computed.execute_in_process(instance=instance, asset_selection=selection).success
