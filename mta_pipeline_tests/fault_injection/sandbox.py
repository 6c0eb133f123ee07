"""The sandbox in which scenarios run: a sample feed, lakes, homes and processes in a temporary directory."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import dagster as dg

from mta_pipeline.cli.exit_codes import ExitCode
from mta_pipeline.lake.completeness import weeks_due
from mta_pipeline.sample import SampleFeed
from mta_pipeline.sources.turnstile_files import open_feed
from mta_pipeline.turnstile.contract import CONTROL_AREAS, STATION_COMPLEXES
from mta_pipeline.weeks import weeks_between
from mta_pipeline_tests.conftest import REPOSITORY
from mta_pipeline_tests.fault_injection.lake_comparison import WEEKLY, LakeComparison, compare, contents

WEEKLY_KEYS = [dg.AssetKey(table) for table in WEEKLY]
IN_PROGRESS = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

TIMEOUT = 240.0
"""Seconds after which waiting fails."""

BIN = Path(sys.executable).parent
TURNSTILES = 12
FILES_PER_WEEK = len(WEEKLY) + 1


class ScenarioError(AssertionError):
    """A scenario could not run, or it ended in an unexpected way."""


@dataclass
class Sandbox:
    """The place in which scenarios run. Its weeks include a change of layout and the end of daylight-saving time."""

    root: Path
    rng: random.Random
    weeks: Sequence[str]
    note: Callable[[str], None] = print
    _made: int = 0

    @property
    def feed(self) -> Path:
        return self.root / "feed"

    def sample(
        self, directory: Path | None = None, *, weeks: Sequence[str] | None = None, republished: str | None = None
    ) -> Path:
        """Write weeks of the sample to a directory, one of them with other contents if `republished` is set."""
        directory, weeks = directory or self.feed, weeks or self.weeks
        feed = SampleFeed(seed=1, turnstiles=TURNSTILES, first_week=weeks[0])
        if republished:
            feed = feed.after_republishing(republished)
        feed.write(directory, weeks)
        return directory

    @cached_property
    def undisturbed(self) -> Path:
        """The lake of one undisturbed run over the sample."""
        return self.undisturbed_of(str(self.sample()), self.weeks)

    @cached_property
    def disk_of_a_run(self) -> int:
        """Bytes that an undisturbed run needs on disk, including Dagster's records."""
        return sum(path.stat().st_blocks * 512 for path in self.undisturbed.parent.rglob("*"))

    def undisturbed_of(self, feed: str, weeks: Sequence[str]) -> Path:
        """The lake of one undisturbed run over weeks of a feed."""
        site = self.site(feed=feed, weeks=weeks)
        site.run()
        return site.lake

    def site(self, *, feed: str | None = None, weeks: Sequence[str] | None = None) -> "Site":
        """A new deployment with an empty lake."""
        self._made += 1
        root = self.root / f"site-{self._made}"
        root.mkdir()
        return Site(root, feed or str(self.sample()), weeks or self.weeks)

    def site_with_reference_tables(self, *, feed: str | None = None) -> "Site":
        """A new deployment whose lake has the tables without weeks."""
        site = self.site(feed=feed)
        for table in (CONTROL_AREAS, STATION_COMPLEXES):
            place = Path(table.layer) / table.name
            shutil.copytree(self.undisturbed / place, site.lake / place)
        return site


@contextmanager
def sandbox(weeks: int, seed: int, note: Callable[[str], None] = print) -> Iterator[Sandbox]:
    """Yield a sandbox for scenarios over that number of weeks, and remove it afterwards.

    It is in memory if possible. A killed process loses nothing that it wrote to a file system, so a real disk would
    only make scenarios slower.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="mta-faults-", dir=memory if os.access(memory, os.W_OK) else None) as root:
        keys = weeks_between("2014-08-30", "2015-01-10")
        assert len(keys) == 20
        middle = 7  # the first week in the modern layout is always included
        selected = keys[max(0, middle - weeks // 2) :][:weeks]
        yield Sandbox(Path(root), random.Random(seed), selected, note)


@dataclass
class Site:
    """A deployment over one lake, as on a laptop."""

    root: Path
    feed: str
    weeks: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.disk = self.root / "disk"
        self.lake = self.disk / "lake"
        self.home = self.disk / "home"
        self.make_folders()
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        self.environment = {
            **kept,
            "MTA_FEED": self.feed,
            "MTA_LEAST_READINGS": "0",
            "LAKE_ROOT": str(self.lake),
            "DAGSTER_HOME": str(self.home),
            "TMPDIR": str(self.root),
            **self.environment,
        }

    def make_folders(self) -> None:
        """Create an empty lake, and a home for Dagster's records with the repository's settings."""
        self.lake.mkdir(parents=True)
        self.home.mkdir()
        shutil.copy(REPOSITORY / "dagster.yaml", self.home)

    @property
    def span(self) -> str:
        return f"{self.weeks[0]}...{self.weeks[-1]}"

    def start(
        self, *command: str | Path, preexec: Callable[[], None] | None = None, log: str = "log.txt"
    ) -> subprocess.Popen[bytes]:
        """Start a command of the project's environment in its own process group."""
        with (self.root / log).open("ab") as output:
            return subprocess.Popen(
                [str(BIN / command[0]), *map(str, command[1:])],
                env=self.environment,
                # Inside the project, a run without DAGSTER_HOME would use the project's records.
                cwd=REPOSITORY if "DAGSTER_HOME" in self.environment else self.root,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=preexec,  # noqa: PLW1509  # sets a limit and takes no lock
            )

    def start_impatient_run(self) -> subprocess.Popen[bytes]:
        """Start `mta-pipeline run` over the weeks with short timeouts."""
        command = ("-m", "mta_pipeline_tests.fault_injection.impatient_run", "run", "--weeks", self.span)
        return self.start(sys.executable, *command)

    def start_run(self, *options: str, preexec: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
        """Start `mta-pipeline run` over the weeks."""
        return self.start("mta-pipeline", "run", "--weeks", self.span, *options, preexec=preexec)

    def run(self, *options: str, expect: int = 0) -> None:
        """Run `mta-pipeline run` over the weeks and wait until it ends.

        Raises:
            ScenarioError: the exit code is not the expected one.
        """
        self.expect_exit(self.start_run(*options), expect)

    def expect_exit(self, process: subprocess.Popen[bytes], *expect: int) -> None:
        """Wait for a process and check its exit code: one of `expect`, by default 0."""
        try:
            code = process.wait(TIMEOUT)
        finally:
            end(process)
        if code not in (expect or (0,)):
            raise ScenarioError(
                f"exit code {code} instead of {' or '.join(map(str, expect or (0,)))}:\n{self.log()[-3000:]}"
            )

    def verify(self) -> list[tuple[str, str]]:
        """Run `mta-pipeline verify`. Returns the path and the text of each problem.

        Raises:
            ScenarioError: the exit code does not fit the problems.
        """
        command = [str(BIN / "mta-pipeline"), "verify", "--json"]
        ended = subprocess.run(command, env=self.environment, cwd=REPOSITORY, capture_output=True, check=False)
        if ended.returncode not in (ExitCode.SUCCESS, ExitCode.PROBLEMS):
            raise ScenarioError(f"exit code {ended.returncode} of verify:\n{ended.stderr.decode()[-3000:]}")
        problems = [(found["path"], found["problem"]) for found in json.loads(ended.stdout)["problems"]]
        if bool(problems) != (ended.returncode == ExitCode.PROBLEMS):
            raise ScenarioError(f"verify ends with {ended.returncode} and finds {len(problems)} problems")
        return problems

    def log(self, name: str = "log.txt") -> str:
        """The output of the processes."""
        return (self.root / name).read_text(errors="replace")

    @property
    def expected_files(self) -> int:
        """The number of weekly files of a complete lake."""
        return FILES_PER_WEEK * len(self.weeks)

    def files(self) -> int:
        """The number of complete weekly files in the lake."""
        return sum(1 for _ in self.lake.glob("*/*/week=*/[!.]*"))

    def wait_for_files(self, count: int, process: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until the lake has that number of files, or the process has ended."""
        wait_until(
            lambda: self.files() >= count or (process is not None and process.poll() is not None),
            f"{count} files in {self.lake}",
            every=0.005,
        )

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Dagster's records of this deployment."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            yield instance

    def due(self) -> list[str]:
        """The weeks whose tables are missing or not made from what the feed offers now."""
        return list(weeks_due(self.weeks, str(self.lake), open_feed(self.feed)))

    def compare(self, undisturbed: Path) -> LakeComparison:
        """Compare the lake with an undisturbed one.

        A week also counts as lost if Dagster has no materialization of it or if it would be rebuilt. A run that is
        still in progress counts as left over.
        """
        comparison = compare(self.lake, undisturbed, self.weeks)
        with self.instance() as instance:
            unknown = {
                week for key in WEEKLY_KEYS for week in set(self.weeks) - set(instance.get_materialized_partitions(key))
            }
            running = instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))
        return comparison + LakeComparison(lost=len(unknown | set(self.due())), leftovers=len(running))

    def describe_differences(self, undisturbed: Path) -> str:
        """List the files that are different, missing or left over."""
        actual, expected = contents(self.lake), contents(undisturbed)
        return "\n".join(
            [f"  missing {path}" for path in sorted(expected.keys() - actual.keys())]
            + [f"  left over {path}" for path in sorted(actual.keys() - expected.keys())]
            + [
                f"  different {path}"
                for path in sorted(actual.keys() & expected.keys())
                if actual[path] != expected[path]
            ]
        )


def end(*processes: subprocess.Popen[bytes]) -> None:
    """Terminate processes that `start` started, and their descendants."""
    _signal(signal.SIGTERM, *processes)  # gives processes with shared memory a moment to release it
    until = time.monotonic() + 5
    while any(_signal(0, process) for process in processes) and time.monotonic() < until:
        for process in processes:
            process.poll()  # an unreaped child counts as running
        time.sleep(0.02)
    kill_all(*processes)


def kill_all(*processes: subprocess.Popen[bytes]) -> None:
    """Kill processes and their descendants at once, without notice."""
    _signal(signal.SIGKILL, *processes)
    for process in processes:
        process.wait()


def _signal(number: int, *processes: subprocess.Popen[bytes]) -> bool:
    reached = False
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
            reached = True
    return reached


def wait_until(condition: Callable[[], bool], what: str, *, timeout: float = TIMEOUT, every: float = 0.1) -> None:
    """Wait until a condition holds.

    Raises:
        ScenarioError: it does not hold within the timeout.
    """
    until = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > until:
            raise ScenarioError(f"gave up waiting for {what} after {timeout:.0f} s")
        time.sleep(every)
