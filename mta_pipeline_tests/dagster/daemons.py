"""Runs iterations of Dagster's own daemons in this process: real ticks of real sensors, real retries of runs."""

import contextlib
import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.events import DagsterEvent
from dagster._core.execution.api import execute_run
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, PartitionBackfill
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import SensorInstigatorData
from dagster._core.test_utils import (
    InProcessTestWorkspaceLoadTarget,
    create_test_daemon_workspace_context,
    freeze_time,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._time import get_current_datetime, get_current_timestamp

from mta_pipeline.build import build_defs
from mta_pipeline.orchestration.run_records import range_tags
from mta_pipeline.settings import read_settings

LOCATION = "mta_pipeline"
CRASH_MESSAGE = "Its process is gone"


@dataclass
class Daemons:
    """The daemons of an instance, over the definitions that the settings in the environment give."""

    instance: dg.DagsterInstance
    workspace: WorkspaceProcessContext
    now: dt.datetime = field(default_factory=get_current_datetime)

    @property
    def repository(self):
        location = self.workspace.create_request_context().get_code_location(LOCATION)
        return next(iter(location.get_repositories().values()))

    def turn_on(self, sensor: str) -> None:
        self.instance.start_sensor(self.repository.get_sensor(sensor))

    def set_cursor(self, sensor: str, cursor: str | None) -> None:
        """Set the cursor of a sensor, as `dagster sensor cursor` does."""
        remote = self.repository.get_sensor(sensor)
        state = self.instance.get_instigator_state(remote.get_remote_origin_id(), remote.selector_id)
        self.instance.update_instigator_state(
            state.with_data(SensorInstigatorData(cursor=cursor, sensor_type=remote.sensor_type))
        )

    def tick(self, times: int = 1) -> None:
        """Tick every sensor that is on; the ticks are far enough apart for each sensor to be due."""
        for _ in range(times):
            self.now += dt.timedelta(minutes=10)
            with freeze_time(self.now):
                list(execute_sensor_iteration(self.workspace, logging.getLogger("daemon"), None, None))

    def retry(self) -> list[dg.DagsterRun]:
        """Let Dagster retry the failed runs that it should retry; return the new runs, which are queued."""
        before = {run.run_id for run in self.instance.get_runs()}
        list(EventLogConsumerDaemon().run_iteration(self.workspace))
        return [run for run in self.instance.get_runs() if run.run_id not in before]

    def launch(self, job: str, *weeks: str) -> dg.DagsterRun:
        """Create a run over these weeks that has started and has executed nothing yet."""
        remote = self.repository.get_full_job(job)
        run = self.instance.create_run_for_job(
            self._job(job),
            tags=range_tags((weeks[0], weeks[-1])),
            remote_job_origin=remote.get_remote_origin(),
            job_code_origin=remote.get_python_origin(),
        )
        self._report(run, dg.DagsterEventType.RUN_START)
        return run

    def report_crash(self, run: dg.DagsterRun) -> None:
        """End a run as run monitoring does when the run's process was killed."""
        self.instance.report_run_failed(run, CRASH_MESSAGE)

    def execute(self, run: dg.DagsterRun) -> bool:
        """Execute a queued run in this process; return whether it succeeded."""
        self._report(run, dg.DagsterEventType.RUN_STARTING)
        starting = self.instance.get_run_by_id(run.run_id)
        job = self._job(run.job_name)
        if run.asset_selection:
            job = job.get_subset(asset_selection=run.asset_selection, asset_check_selection=run.asset_check_selection)
        return execute_run(InMemoryJob(job), starting, self.instance).success

    def from_failure(self, run: dg.DagsterRun) -> dg.DagsterRun:
        """Re-execute a run from its failed steps, as the UI does; return the new run, which is queued."""
        request = self.workspace.create_request_context()
        return self.instance.create_reexecuted_run(
            request_context=request,
            parent_run=self.instance.get_run_by_id(run.run_id),
            code_location=request.get_code_location(LOCATION),
            remote_job=self.repository.get_full_job(run.job_name),
            strategy=ReexecutionStrategy.FROM_FAILURE,
            use_parent_run_tags=True,
        )

    def backfill(self, assets: Sequence[dg.AssetKey], weeks: Sequence[str]) -> list[bool]:
        """Request a backfill and execute its runs until it is done; return whether each run succeeded."""
        graph = self.workspace.create_request_context().asset_graph
        backfill_id = f"backfill{len(self.instance.get_backfills())}"
        self.instance.add_backfill(
            PartitionBackfill.from_asset_partitions(
                backfill_id,
                graph,
                list(weeks),
                list(assets),
                get_current_timestamp(),
                {},
                self.instance,
                all_partitions=False,
                title=None,
                description=None,
                run_config=None,
            )
        )
        succeeded: list[bool] = []
        while self.instance.get_backfill(backfill_id).status not in BULK_ACTION_TERMINAL_STATUSES:
            list(execute_backfill_iteration(self.workspace, logging.getLogger("daemon")))
            queued = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
            succeeded += map(self.execute, queued)
        return succeeded

    def _job(self, name: str) -> dg.JobDefinition:
        return build_defs(read_settings()).resolve_job_def(name)

    def _report(self, run: dg.DagsterRun, event_type: dg.DagsterEventType) -> None:
        self.instance.report_dagster_event(DagsterEvent(event_type.value, run.job_name), run.run_id)


@contextlib.contextmanager
def daemons(instance: dg.DagsterInstance) -> Iterator[Daemons]:
    """Yield the daemons over a freshly loaded `mta_pipeline.definitions`."""
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(module_name="mta_pipeline.definitions"), location_name=LOCATION
    )
    with create_test_daemon_workspace_context(InProcessTestWorkspaceLoadTarget(origin), instance) as workspace:
        yield Daemons(instance, workspace)
