"""The caretaker of run containers: `python -m mta_pipeline.run_launchers.reaper`, one beside each daemon.

Dagster launches containers and asks after those of started runs. What it leaves undone is done here: a container that
dies before its run has begun fails the run, with what it said last; one whose run is cancelled or over is stopped; one
that has ended is removed, after a failure only once there was time to look at its log. Whether a failed run is tried
again is Dagster's.
"""

import datetime as dt
import logging
import time
from pathlib import Path
from typing import Final

import click
import dagster as dg
import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from mta_pipeline.run_launchers.docker import why_it_ended

RUN_LABEL: Final = "dagster/run_id"
"""Dagster's own label on the containers it launches."""

_TIME_TO_END: Final = dt.timedelta(seconds=60)
"""What a container has to end by itself once its run is over, or once it is told to."""

_log = logging.getLogger(__name__)


def reconcile(instance: dg.DagsterInstance, engine: docker.DockerClient, keep_failed: dt.timedelta) -> None:
    """Look at every run container of this deployment once, and do what is due. Those of others are left alone."""
    for container in engine.containers.list(all=True, filters={"label": RUN_LABEL}, ignore_removed=True):
        record = instance.get_run_record_by_id(container.labels[RUN_LABEL])
        if record is None:
            continue
        run = record.dagster_run
        over_for = dt.timedelta(seconds=time.time() - record.end_time) if run.is_finished and record.end_time else None
        if container.status == "running":
            if run.status is dg.DagsterRunStatus.CANCELING or (over_for is not None and over_for > _TIME_TO_END):
                _log.info("Stopping container %s: its run %s is %s", container.short_id, run.run_id, run.status.value)
                container.stop(timeout=int(_TIME_TO_END.total_seconds()))
        elif run.status is dg.DagsterRunStatus.STARTING and container.status == "exited":
            instance.report_run_failed(run, f"Ended before it began. {why_it_ended(container)}")
        elif over_for is not None and (run.status is not dg.DagsterRunStatus.FAILURE or over_for > keep_failed):
            _remove(container)


def _remove(container: Container) -> None:
    try:
        container.remove()
    except NotFound:
        return
    except APIError as error:
        _log.warning("Container %s cannot be removed: %s", container.short_id, error.explanation)
        return
    _log.info("Removed container %s of run %s", container.short_id, container.labels[RUN_LABEL])


@click.command()
@click.option("--keep-failed-days", default=14, show_default=True, help="How long a failed run's container stays.")
@click.option("--every", default=5.0, show_default=True, help="Seconds between two looks.")
@click.option("--alive", type=click.Path(path_type=Path), help="A file to touch after each look that went well.")
def main(keep_failed_days: int, every: float, alive: Path | None) -> None:
    """Look after the run containers of this deployment, until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    engine = docker.from_env()
    with dg.DagsterInstance.get() as instance:
        while True:
            try:
                reconcile(instance, engine, dt.timedelta(days=keep_failed_days))
                if alive:
                    alive.touch()
            except Exception:
                # The engine or the database may be away for a while; the caretaker must not go with them.
                _log.exception("Could not look after the containers; trying again in %s s", every)
            time.sleep(every)


if __name__ == "__main__":
    main()
