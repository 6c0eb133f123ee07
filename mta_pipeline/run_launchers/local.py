"""Whether the process that does a run still lives, and the end of runs whose process does not.

A killed process cannot say so, and Dagster's own launcher does not look: after a power cut such a run would hold its
place in the queue, and its weeks would count as in progress, for good. What is done about an ended run (it is tried
again, or launched again) does not belong here.
"""

from typing import Final

import dagster as dg

from mta_pipeline.orchestration.dagster_internals import (
    CheckRunHealthResult,
    EngineEventData,
    WorkerStatus,
    process_is_alive,
)
from mta_pipeline.telemetry.run_traces import tell_of_dead_run

_GONE: Final = "Its process is gone: killed, or the machine went down. Weeks that were done stay; launch it again."


class MonitoredRunLauncher(dg.DefaultRunLauncher):
    """Dagster's launcher for runs on this machine, whose run monitoring sees when a run's process has died."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring may ask for the health of a run."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process lives; who started it does not matter."""
        if _is_gone(self._instance, run):
            tell_of_dead_run(self._instance, run, _GONE)
            return CheckRunHealthResult(WorkerStatus.FAILED, _GONE)
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Record as failed what still counts as running and has no process any more; returns the ids of those runs."""
    running = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    dead = [run for run in running if _is_gone(instance, run)]
    for run in dead:
        tell_of_dead_run(instance, run, _GONE)
        instance.report_run_failed(run, _GONE)
    return [run.run_id for run in dead]


def _is_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the process that the run's log names is no more; a run that names none counts as alive."""
    pids = [
        int(str(event.dagster_event.event_specific_data.metadata["pid"].value))
        for event in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        if event.dagster_event
        and isinstance(event.dagster_event.event_specific_data, EngineEventData)
        and "pid" in event.dagster_event.event_specific_data.metadata
    ]
    return bool(pids) and not process_is_alive(pids[-1])
