"""Closes a gap in Dagster's run retries, in which a backfill takes a run for lost that will be retried."""

import dagster as dg

from mta_pipeline.orchestration.dagster_internals import WILL_RETRY_TAG


def expect_retry(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Note on a run, before it starts, that a failure will be retried.

    Dagster sets this tag shortly after it has marked a run as failed. A backfill that looks in between finds neither a
    run in progress nor one that will be retried, and ends as failed. A restart of the database makes that likely,
    because all processes wait for it. Dagster corrects the tag after each failure.
    """
    if instance.run_retries_enabled:
        instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: "true"})
