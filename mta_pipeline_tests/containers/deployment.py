"""A deployment from compose.yaml on a real engine, separate from other deployments on the machine."""

import base64
import functools
import hashlib
import io
import json
import os
import secrets
import socket
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import docker
import pytest
import requests
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from docker.models.containers import Container

from mta_pipeline.orchestration.keys import COMPLETE_WEEKS, REDO, WEEKLY_KEYS
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.fault_injection import sandbox
from mta_pipeline_tests.fault_injection.lake_comparison import contents
from mta_pipeline_tests.support.collector import Trace, parse_spans
from mta_pipeline_tests.support.webserver import RefusedError, Run, Webserver

IMAGE = "mta-pipeline:test"
POSTGRES = "postgres:17"
HERE = Path(__file__).parent
WEEKS = ("2014-09-27", "2014-10-04", "2014-10-11", "2014-10-18")
"""The weeks of the sample feed that compose.yaml serves."""

wait_until = functools.partial(sandbox.wait_until, timeout=900)
"""The parts of the deployment and the runs may share a small machine, so the timeout is long."""

_RUN_LABEL = "dagster/run_id"
_OVER = ("SUCCESS", "FAILURE", "CANCELED")


def skip_or_fail_in_ci(reason: str) -> NoReturn:
    """End a test whose requirements are not installed: it fails in CI and is skipped elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def compose_command() -> list[str]:
    """The Compose command of this machine: Docker's plugin, or the older separate program."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def build(*arguments: str | Path) -> None:
    """Run `docker build` with access to the machine's network."""
    buildx = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False)
    environment = {**os.environ, **({} if buildx.returncode == 0 else {"DOCKER_BUILDKIT": "0"})}
    command = ["docker", "build", "--quiet", "--network", "host", *map(str, arguments)]
    built = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass
class Deployment:
    """PostgreSQL, code server, webserver, daemon, caretaker and the sample feed, each in its own container."""

    folder: Path
    engine: docker.DockerClient
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    _undisturbed: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        product = (REPOSITORY / "deploy" / "docker" / "dagster.yaml").read_text()
        settings = product.replace("mta-lake:", "mta-test-lake:").replace("mta-logs:", "mta-test-logs:")
        self.usual_settings = settings.replace("poll_interval_seconds: 30", "poll_interval_seconds: 2")
        self._settings = self.folder / "dagster.yaml"
        self._settings.write_text(self.usual_settings)
        self._no_variables = self.folder / "empty.env"
        self._no_variables.touch()
        web, feed, collector, health = (free_port() for _ in range(4))
        self.web = Webserver(f"http://127.0.0.1:{web}")
        self.feed = f"http://127.0.0.1:{feed}/"
        self.health = f"http://127.0.0.1:{health}"
        self._collector = f"http://127.0.0.1:{collector}/"
        self._environment = {
            "PATH": os.environ["PATH"],
            "COMPOSE_PROJECT_NAME": "mta-test",
            "COMPOSE_PROFILES": "sample",
            "POSTGRES_PASSWORD": self.password,
            "MTA_IMAGE": IMAGE,
            "MTA_NETWORK": "mta-test",
            "MTA_WEB": f"127.0.0.1:{web}",
            "DOCKER_GROUP": str(Path("/var/run/docker.sock").stat().st_gid),
            "TEST_SETTINGS": str(self._settings),
            "TEST_DAEMON": str(REPOSITORY / "mta_pipeline_tests" / "fault_injection" / "impatient_daemon.py"),
            "TEST_FEED_PORT": str(feed),
            "TEST_SPOOL": str(HERE / "spool.py"),
            "TEST_COLLECTOR_PORT": str(collector),
            "MTA_HEALTH": f"127.0.0.1:{health}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        }

    def compose(self, *arguments: str) -> str:
        """Run Compose with the product's file and the overrides for tests."""
        files = [
            "--env-file",
            str(self._no_variables),
            "-f",
            str(REPOSITORY / "compose.yaml"),
            "-f",
            str(HERE / "compose.yaml"),
        ]
        done = subprocess.run(
            [*compose_command(), *files, *arguments],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self) -> None:
        """Start all parts and wait until the webserver responds."""
        self.compose("up", "--detach")
        wait_until(self.web.is_up, "the webserver", every=0.3)

    def down(self) -> None:
        """Remove everything, including run containers and volumes."""
        self.compose("rm", "--stop", "--force", "daemon")
        for container in self.run_containers():
            container.remove(force=True)
        self.compose("down", "--volumes", "--timeout", "5")

    def part(self, name: str) -> Container:
        """The container of a service."""
        (found,) = self.engine.containers.list(
            all=True, filters={"label": ["com.docker.compose.project=mta-test", f"com.docker.compose.service={name}"]}
        )
        return found

    @property
    def parts(self) -> list[Container]:
        """The containers of all services."""
        return list(self.engine.containers.list(all=True, filters={"label": "com.docker.compose.project=mta-test"}))

    def healthy(self, name: str) -> bool:
        """Whether the engine calls a service's container healthy."""
        return bool(self.part(name).attrs["State"]["Health"]["Status"] == "healthy")

    def restart_database(self) -> None:
        """Restart PostgreSQL and wait until the webserver has dropped its old connections. Each gives an error."""
        self.part("postgres").restart(timeout=5)
        wait_until(lambda: self.healthy("postgres"), "the database")
        wait_until(lambda: all(self._database_responds() for _ in range(20)), "the webserver to reconnect")

    def _database_responds(self) -> bool:
        try:
            return bool(self.web.log(self.web.runs()[0].id))
        except RefusedError:
            return False

    def run_containers(self) -> list[Container]:
        """The containers of runs, running or not."""
        filters = {"label": _RUN_LABEL, "network": "mta-test"}
        return list(self.engine.containers.list(all=True, filters=filters, ignore_removed=True))

    @contextmanager
    def record_containers(self) -> Iterator[list[str]]:
        """Record the run ids for which containers are created until the block ends, one entry per container."""
        events = self.engine.events(filters={"event": "create", "label": _RUN_LABEL}, decode=True)
        created: list[str] = []

        def record() -> None:
            created.extend(event["Actor"]["Attributes"][_RUN_LABEL] for event in events)

        recorder = threading.Thread(target=record, daemon=True)
        recorder.start()
        try:
            yield created
        finally:
            events.close()

    def container_of(self, run_id: str) -> Container:
        """The container of a run; waits until it is running."""
        found: list[Container] = []

        def is_running() -> bool:
            filters = {"label": f"{_RUN_LABEL}={run_id}", "status": "running"}
            found.extend(self.engine.containers.list(filters=filters, ignore_removed=True))
            return bool(found)

        wait_until(is_running, f"the container of run {run_id}", every=0.1)
        return found[0]

    def traces(self) -> Trace:
        """The spans that the collector has received so far."""
        bodies = json.loads(requests.get(self._collector, timeout=30).text)
        return Trace([span for body in bodies for span in parse_spans(base64.b64decode(body))])

    def launch(self, job: str, week: str | None = None, **tags: str) -> str:
        """Launch a run of a job through the webserver and return its id. It rebuilds its week even if complete."""
        return self.web.launch(job, **({"dagster/partition": week, COMPLETE_WEEKS: REDO} if week else {}), **tags)

    def launch_range(self, job: str) -> str:
        """Launch one run of a job over all weeks."""
        tags = {ASSET_PARTITION_RANGE_START_TAG: WEEKS[0], ASSET_PARTITION_RANGE_END_TAG: WEEKS[-1]}
        return self.web.launch(job, **tags)

    def backfill(self, weeks: Sequence[str] = WEEKS) -> str:
        """Launch a backfill of all weekly assets through the webserver."""
        return self.web.backfill(WEEKLY_KEYS, weeks)

    def run(self, run_id: str) -> Run:
        (found,) = self.web.runs(runIds=[run_id])
        return found

    def started_run_of(self, backfill: str) -> Run:
        """The run of a backfill that is in progress; waits for it."""
        found: list[Run] = []

        def is_started() -> bool:
            found.extend(self.web.runs(tags=[{"key": "dagster/backfill", "value": backfill}], statuses=["STARTED"]))
            return bool(found)

        wait_until(is_started, "a run of the backfill to start", every=0.1)
        return found[0]

    def wait_for_run(self, run_id: str) -> Run:
        """Wait until a run has ended and return it."""
        wait_until(lambda: self.run(run_id).status in _OVER, f"run {run_id}", every=0.3)
        return self.run(run_id)

    def wait_for_retry(self, run_id: str) -> Run:
        """Wait until the retry of a failed run has ended and return it."""
        found: list[Run] = []

        def is_over() -> bool:
            found[:] = self.web.runs(tags=[{"key": "dagster/parent_run_id", "value": run_id}])
            return bool(found) and found[0].status in _OVER

        wait_until(is_over, f"run {run_id} to be retried", every=0.3)
        return found[0]

    def runs_of(self, backfill: str) -> list[tuple[str, str]]:
        """The status and the log of each run of a backfill, to say why it failed."""
        return [
            (run.status, self.web.log(run.id))
            for run in self.web.runs(tags=[{"key": "dagster/backfill", "value": backfill}])
        ]

    def wait_for_backfill(self, backfill: str) -> str:
        """Wait until a backfill has ended and return its status."""
        wait_until(
            lambda: self.web.backfill_status(backfill).startswith(("COMPLETED", "FAILED", "CANCELED")),
            "the backfill",
            every=0.3,
        )
        return self.web.backfill_status(backfill)

    def wait_for_containers_to_go(self, *run_ids: str) -> None:
        """Wait until the containers of runs are removed."""
        wait_until(lambda: not {c.labels[_RUN_LABEL] for c in self.run_containers()} & set(run_ids), "containers to go")

    @contextmanager
    def settings(self, change: Callable[[str], str]) -> Iterator[None]:
        """Change the daemon's settings until the block ends."""
        changed = change(self.usual_settings)
        assert changed != self.usual_settings
        self._settings.write_text(changed)
        self.part("daemon").restart(timeout=2)
        try:
            yield
        finally:
            self._settings.write_text(self.usual_settings)
            self.part("daemon").restart(timeout=2)

    def lake(self) -> dict[str, object]:
        """The sha256 of every file of the lake but the marts, by path; manifests without source and fetch time."""
        chunks, _ = self.part("code-server").get_archive("/lake")
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
                archive.extractall(folder, filter="data")
            return _contents(Path(folder) / "lake")

    def undisturbed(self) -> dict[str, object]:
        """The lake of a run without Docker over the same feed."""
        if not self._undisturbed:
            lake = self.folder / "undisturbed"
            environment = {"PATH": os.environ["PATH"], "MTA_FEED": self.feed, "LAKE_ROOT": str(lake)}
            command = [REPOSITORY / ".venv" / "bin" / "mta-pipeline", "run", "--weeks", f"{WEEKS[0]}...{WEEKS[-1]}"]
            subprocess.run(command, env=environment, cwd=self.folder, check=True, capture_output=True)
            self._undisturbed = _contents(lake)
        return self._undisturbed


def _contents(lake: Path) -> dict[str, object]:
    """Replace contents by their sha256, so that a difference is readable. Leaves out what the job `marts` makes."""
    return {
        # The feed's address differs inside and outside of the deployment.
        path: {key: value for key, value in content.items() if key != "source"}
        if isinstance(content, dict)
        else hashlib.sha256(content).hexdigest()
        for path, content in contents(lake).items()
        if not path.startswith(("marts/", "warehouse/", "lake/omny_share/", "lake/entry_factor/"))
    }
