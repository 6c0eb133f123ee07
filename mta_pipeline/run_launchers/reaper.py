"""The reaper of run containers: `python -m mta_pipeline.run_launchers.reaper`, one next to each daemon.

It is the service `caretaker` in compose.yaml. Dagster launches the containers and checks those of started runs. The
reaper does the rest:

- If a container exits before its run has started, the run fails with the last log lines of the container.
- A container whose run is canceled or finished is stopped.
- An exited container is removed; after a failed run, only when its log has been kept long enough.

Dagster decides whether a failed run is retried.
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
"""Dagster's label on the containers that it launches."""

_STOP_TIMEOUT: Final = dt.timedelta(seconds=60)
"""Time for a container to exit on its own after its run has ended, or after it was asked to stop."""

_log = logging.getLogger(__name__)


def reconcile(instance: dg.DagsterInstance, engine: docker.DockerClient, keep_failed: dt.timedelta) -> None:
    """Check every run container of this deployment once, and stop or remove it if due. Others are ignored."""
    for container in engine.containers.list(all=True, filters={"label": RUN_LABEL}, ignore_removed=True):
        record = instance.get_run_record_by_id(container.labels[RUN_LABEL])
        if record is None:
            continue
        run = record.dagster_run
        ended_for = dt.timedelta(seconds=time.time() - record.end_time) if run.is_finished and record.end_time else None
        if container.status == "running":
            if run.status is dg.DagsterRunStatus.CANCELING or (ended_for is not None and ended_for > _STOP_TIMEOUT):
                _log.info("Stopping container %s: its run %s is %s", container.short_id, run.run_id, run.status.value)
                container.stop(timeout=int(_STOP_TIMEOUT.total_seconds()))
        elif run.status is dg.DagsterRunStatus.STARTING and container.status == "exited":
            instance.report_run_failed(run, f"The container exited before the run started. {why_it_ended(container)}")
        elif ended_for is not None and (run.status is not dg.DagsterRunStatus.FAILURE or ended_for > keep_failed):
            _remove(container)


def _remove(container: Container) -> None:
    try:
        container.remove()
    except NotFound:
        return
    except APIError as error:
        _log.warning("Could not remove container %s: %s", container.short_id, error.explanation)
        return
    _log.info("Removed container %s of run %s", container.short_id, container.labels[RUN_LABEL])


@click.command()
@click.option("--keep-failed-days", default=14, show_default=True, help="Days to keep the container of a failed run.")
@click.option("--every", default=5.0, show_default=True, help="Seconds between two checks.")
@click.option("--alive", type=click.Path(path_type=Path), help="A file to touch after each successful check.")
def main(keep_failed_days: int, every: float, alive: Path | None) -> None:
    """Stop and remove the run containers of this deployment when due, until interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    engine = docker.from_env()
    with dg.DagsterInstance.get() as instance:
        while True:
            try:
                reconcile(instance, engine, dt.timedelta(days=keep_failed_days))
                if alive:
                    alive.touch()
            except Exception:
                # Docker or the database may be unavailable for a while. The reaper must survive that.
                _log.exception("Could not check the containers; retrying in %s s", every)
            time.sleep(every)


if __name__ == "__main__":
    main()
