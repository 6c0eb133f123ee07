"""Dagster's daemon and webserver over a site, and backfills launched as in the UI."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.events import DagsterEventType
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
)
from dagster._core.scheduler.instigation import InstigatorTick
from dagster._core.storage.tags import PARTITION_NAME_TAG

from mta_pipeline.lake.completeness import weeks_complete
from mta_pipeline.orchestration.automation.sensors import AUTOMATION_SENSOR, SENSOR
from mta_pipeline.orchestration.keys import RIDERSHIP_JOB
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.fault_injection.sandbox import (
    IN_PROGRESS,
    WEEKLY_KEYS,
    Sandbox,
    ScenarioError,
    Site,
    end,
    kill_all,
    wait_until,
)
from mta_pipeline_tests.support.webserver import Webserver

WORKSPACE = REPOSITORY / "workspace.yaml"

_PID = re.compile(r"\(pid: (\d+)\)")


@dataclass
class Deployment:
    """A site with a running daemon and webserver."""

    site: Site
    _processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _ended: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _sensors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        home = self.site.home / "dagster.yaml"
        home.write_text(home.read_text().replace("poll_interval_seconds: 30", "poll_interval_seconds: 2"))
        self.site.environment["DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS"] = "1"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._webserver = Webserver(f"http://127.0.0.1:{self._port}")

    def start_daemon(self) -> None:
        daemon = ("-m", "mta_pipeline_tests.fault_injection.impatient_daemon", "run", "-w", WORKSPACE)
        self._processes["daemon"] = self.site.start(sys.executable, *daemon, log="daemon.txt")

    def start_webserver(self) -> None:
        """Start the webserver and wait until it responds."""
        address = ("-h", "127.0.0.1", "-p", str(self._port))
        self._processes["webserver"] = self.site.start(
            "dagster-webserver", "-w", WORKSPACE, *address, log="webserver.txt"
        )
        wait_until(self._webserver_is_up, "the webserver")

    def start_dev(self) -> None:
        """Start `dagster dev`, whose daemon polls at its default intervals, and wait until it responds."""
        self._processes["webserver"] = self.site.start(
            "dagster", "dev", "-w", WORKSPACE, "-h", "127.0.0.1", "-p", str(self._port), log="webserver.txt"
        )
        wait_until(self._webserver_is_up, "dagster dev")

    def turn_on_automation(self) -> None:
        """Turn on the sensor of the feed and the automation condition sensor."""
        for name in (SENSOR, AUTOMATION_SENSOR):
            self._sensors.append(self._webserver.start_sensor(name))

    def turn_off_automation(self) -> None:
        """Turn the sensors off and wait for the runs that they requested."""
        while self._sensors:
            self._webserver.stop_sensor(self._sensors.pop())
        self.wait_for_runs()

    def ticks(self) -> list[InstigatorTick]:
        """The ticks of the feed's sensor, newest first."""
        with self.site.instance() as instance:
            states = {state.name: state for state in instance.all_instigator_state()}
            state = states.get(SENSOR)
            return list(instance.get_ticks(state.instigator_origin_id, state.selector_id)) if state else []

    def wait_for_weeks(self, *weeks: str) -> None:
        """Wait until every table has these weeks."""
        wait_until(lambda: set(weeks) <= weeks_complete(str(self.site.lake)), f"{', '.join(weeks)}", every=0.3)

    def kill(self, name: str) -> None:
        """Kill the daemon or the webserver with SIGKILL, but no process that it started."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._ended.append(process)

    def power_cut(self) -> None:
        """Kill everything with SIGKILL at once, including run workers and code servers."""
        kill_all(*self._processes.values())
        self._processes.clear()

    def stop(self) -> None:
        """Stop every process that this deployment started."""
        end(*self._processes.values(), *self._ended)

    def backfill(self, weeks: Sequence[str] | None = None) -> str:
        """Launch a backfill of all weekly assets, raw to lake; one run covers a range of weeks."""
        return self._webserver.backfill(WEEKLY_KEYS, weeks or self.site.weeks)

    def run_per_week(self) -> None:
        """Queue one run of the job per week."""
        for week in self.site.weeks:
            self._webserver.launch(RIDERSHIP_JOB, **{PARTITION_NAME_TAG: week})

    def wait_for_runs(self) -> None:
        """Wait until no run is queued or in progress and no backfill will launch another."""

        def idle() -> bool:
            with self.site.instance() as instance:
                backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED]))
                return not backfills and not instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS), limit=1)

        wait_until(idle, "the queue to be empty", every=0.3)

    def wait_for_worker(self, backfill_id: str) -> int | None:
        """The process id of the first run in progress, or None if the backfill ends first."""
        found: list[int] = []

        def found_or_over() -> bool:
            found.extend(self._workers())
            return bool(found) or self._status(backfill_id) in BULK_ACTION_TERMINAL_STATUSES

        wait_until(found_or_over, "a run to start", every=0.03)
        return found[0] if found else None

    def _workers(self) -> Iterator[int]:
        with self.site.instance() as instance:
            for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
                for entry in reversed(instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)):
                    if entry.dagster_event and (match := _PID.search(entry.dagster_event.message or "")):
                        yield int(match[1])
                        break

    def wait_for_backfills(self, *ids: str) -> None:
        """Wait until backfills have ended.

        Raises:
            ScenarioError: a backfill did not succeed.
        """
        for backfill_id in ids:
            wait_until(lambda: self._status(backfill_id) in BULK_ACTION_TERMINAL_STATUSES, "a backfill", every=0.3)  # noqa: B023
            if self._status(backfill_id) is not BulkActionStatus.COMPLETED_SUCCESS:
                raise ScenarioError(f"the backfill ended as {self._status(backfill_id)}\n{self.failures()}")

    def failures(self) -> str:
        """The messages of failed runs."""
        with self.site.instance() as instance:
            runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
            events = [event for run in runs for event in instance.all_logs(run.run_id) if event.dagster_event]
        return "\n".join(str(e.dagster_event.message) for e in events if "FAILURE" in e.dagster_event.event_type_value)

    def runs(self) -> list[dg.DagsterRun]:
        """All runs, newest first."""
        with self.site.instance() as instance:
            return list(instance.get_runs())

    def _status(self, backfill_id: str) -> BulkActionStatus:
        with self.site.instance() as instance:
            backfill = instance.get_backfill(backfill_id)
        if backfill is None:
            raise ScenarioError(f"backfill {backfill_id} does not exist")
        return backfill.status

    def _webserver_is_up(self) -> bool:
        if self._webserver.is_up():
            return True
        if self._processes["webserver"].poll() is not None:
            raise ScenarioError(f"the webserver did not start:\n{self.site.log('webserver.txt')[-2000:]}")
        return False


@contextmanager
def deployment(sandbox: Sandbox, *, feed: str | None = None, poll_interval: int = 300) -> Iterator[Deployment]:
    """A site with a running daemon and webserver, and with the reference tables in its lake."""
    deployed = Deployment(sandbox.site_with_reference_tables(feed=feed))
    deployed.site.environment["MTA_LOOK_EVERY"] = str(poll_interval)
    try:
        deployed.start_daemon()
        deployed.start_webserver()
        yield deployed
    except ScenarioError as error:
        raise ScenarioError(f"{error}\n{deployed.site.log('daemon.txt')[-3000:]}") from error
    finally:
        deployed.stop()
