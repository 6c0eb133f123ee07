"""Detects local runs whose process has died, and marks them as failed.

A killed process cannot report its own end, and Dagster's default launcher does not check it. Without this module, such
a run would keep its place in the queue, and its weeks would count as in progress forever. Dagster's run retries or the
user launch the run again.
"""

from typing import Final

import dagster as dg

from mta_pipeline.orchestration.dagster_internals import (
    CheckRunHealthResult,
    EngineEventData,
    WorkerStatus,
    process_is_alive,
)
from mta_pipeline.orchestration.keys import PROCESS_ID, SHOWN_PROCESS_ID
from mta_pipeline.telemetry.run_traces import tell_of_dead_run

_GONE: Final = "Its process is gone: killed, or the machine stopped. Finished weeks are kept. Launch the run again."


class MonitoredRunLauncher(dg.DefaultRunLauncher):
    """Dagster's launcher for runs on this machine, with support for run monitoring to detect dead processes."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Tell run monitoring that it can check the health of a run."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Check whether the run's process is alive, whichever process started it."""
        if _is_gone(self._instance, run):
            tell_of_dead_run(self._instance, run, _GONE)
            return CheckRunHealthResult(WorkerStatus.FAILED, _GONE)
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs in progress whose process has died as failed. Returns the ids of these runs."""
    # If the disk of the records is full, a run is created, but the log of the run cannot say that it starts.
    statuses = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED]
    running = instance.get_runs(dg.RunsFilter(statuses=statuses))
    dead = [run for run in running if _is_gone(instance, run)]
    for run in dead:
        tell_of_dead_run(instance, run, _GONE)
        instance.report_run_failed(run, _GONE)
    return [run.run_id for run in dead]


def _is_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the process that the run's log or its tag names has ended. Without a process id, it counts as alive."""
    pids = [
        int(str(event.dagster_event.event_specific_data.metadata["pid"].value))
        for event in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        if event.dagster_event
        and isinstance(event.dagster_event.event_specific_data, EngineEventData)
        and "pid" in event.dagster_event.event_specific_data.metadata
    ]
    tagged, _, process = (run.tags.get(PROCESS_ID) or run.tags.get(SHOWN_PROCESS_ID, "")).partition("/")
    if not pids and tagged == run.run_id:
        pids = [int(process)]
    return bool(pids) and not process_is_alive(pids[-1])
