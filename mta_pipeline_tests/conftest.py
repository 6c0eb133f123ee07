"""What all tests share: the tiers and the real data.

A test is fast unless it is marked `slow`, `docker` or `long`. The fixtures that a test uses decide its tier: see
SLOW_FIXTURES. A test in the wrong tier fails in its setup. A fast test that starts a process fails.
"""

import gc
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

REPOSITORY = Path(__file__).parents[1]

SLOW_TIERS = ("slow", "docker", "long")

SLOW_FIXTURES = {
    "processes": "starts processes",
    "many_runs": "executes many runs",
    "chromium": "opens a browser",
    "gcs_server": "starts an emulator of Google Cloud Storage",
    "bigquery_server": "starts an emulator of BigQuery",
    "spark": "starts Spark",
    "real_weeks": "reads full-size real weeks",
    "real_hours": "reads full-size real hours",
    "engine": "needs a Docker engine",
}
"""Fixtures that a fast test must not use, and why."""

LONGEST_FILES = (
    "integration/test_bigquery_warehouse",
    "integration/test_parity",
    "fault_injection/test_live",
    "fault_injection/test_faults",
    "dagster/test_automation",
    "integration/test_lake_on_gcs",
    "dagster/test_faults",
    "dagster/test_marts",
    "acceptance/test_real_sources",
    "integration/test_documented_commands",
)
"""These files start first: a file's tests stay in one process, so a late long file would delay the end."""

# The duration of an example depends on the machine, not on the code.
hypothesis_settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("ci", hypothesis_settings.get_profile("here"), derandomize=True, print_blob=True)
hypothesis_settings.register_profile(
    "long", hypothesis_settings.get_profile("here"), max_examples=int(os.environ.get("EXAMPLES", "2000"))
)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "here")


# The feeds of tests are small. A test of this limit sets it.
os.environ["MTA_LEAST_READINGS"] = "0"


# Tests do not need Dagster's records to survive a power cut.
@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _do_not_sync(connection: object, _: object) -> None:
    if type(connection).__module__.startswith("sqlite3"):
        connection.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]


# Each Dagster instance reads about a hundred migrations again. Once per process is enough.
_read_migrations = ScriptDirectory.from_config
_scripts: dict[str, ScriptDirectory] = {}


def _migrations(config: Config) -> ScriptDirectory:
    location = config.get_main_option("script_location") or ""
    if location not in _scripts:
        _scripts[location] = _read_migrations(config)
    return _scripts[location]


ScriptDirectory.from_config = staticmethod(_migrations)  # type: ignore[method-assign]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make tests in the wrong tier fail during setup. (An error raised here would crash xdist.)"""
    for item in items:
        if fault := misplaced(item):
            item.setup = partial(pytest.fail, fault, pytrace=False)  # type: ignore[method-assign]
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    name = item.path.relative_to(Path(__file__).parent).with_suffix("").as_posix()
    return LONGEST_FILES.index(name) if name in LONGEST_FILES else len(LONGEST_FILES)


def misplaced(item: pytest.Item) -> str | None:
    """Return why a test is in the wrong tier, or None if the tier is right."""
    tiers = [tier for tier in SLOW_TIERS if item.get_closest_marker(tier)]
    # A test can request a fixture while it runs. Its mark then names the fixture.
    requested = [name for tier in tiers for mark in item.iter_markers(tier) for name in mark.args]
    reasons = [
        SLOW_FIXTURES[name] for name in (*getattr(item, "fixturenames", ()), *requested) if name in SLOW_FIXTURES
    ]
    if len(tiers) > 1:
        return f"In the wrong tier: it is marked {' and '.join(tiers)}. Choose one."
    if reasons and not tiers:
        return f"In the wrong tier: it {reasons[0]}. Mark it slow."
    if tiers and not reasons:
        return f"In the wrong tier: it is marked {tiers[0]} and uses none of {', '.join(SLOW_FIXTURES)}. Unmark it."
    return None


class _Guard:
    """Refuses to start processes while a fast test runs."""

    running: str | None = None

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.running and event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec"):
            raise RuntimeError(
                f"{self.running} is a fast test and starts a process: use the fixture `processes` and mark it slow."
            )


# With the default thresholds the garbage collector would traverse all of Dagster again and again.
gc.set_threshold(100_000, 50, 100)

# The first call starts the process `uname`, and the standard library keeps the answer: call it before any test.
platform.uname().processor  # noqa: B018

_guard = _Guard()
sys.addaudithook(_guard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Prevent fast tests from starting a process."""
    _guard.running = None if any(item.get_closest_marker(tier) for tier in SLOW_TIERS) else item.nodeid
    try:
        return (yield)
    finally:
        _guard.running = None


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> None:
    """Prevent fast tests from requesting a slow fixture while they run."""
    if _guard.running and fixturedef.argname in SLOW_FIXTURES:
        pytest.fail(f"{_guard.running} is a fast test and {SLOW_FIXTURES[fixturedef.argname]}.", pytrace=False)


@pytest.fixture(scope="session")
def processes() -> None:
    """Declares that a test starts processes."""


@pytest.fixture(scope="session")
def many_runs() -> None:
    """Declares that a test executes so many runs that it takes seconds."""


def skip_or_fail_in_ci(reason: str) -> NoReturn:
    """End a test whose requirements are not installed: it fails in CI and is skipped elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a browser's executable."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or skip_or_fail_in_ci("No chromium on the PATH. Install the Debian package chromium.")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of real data: $MTA_SHARED_DATA, or shared/data beside the repository."""
    directory = Path(os.environ.get("MTA_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    if not directory.is_dir():
        skip_or_fail_in_ci(f"No real data in {directory}. Set MTA_SHARED_DATA to its directory.")
    return directory


@pytest.fixture(scope="session")
def real_weeks(shared_data: Path) -> Path:
    """The directory of five full-size weekly files."""
    return shared_data / "turnstile"


@pytest.fixture(scope="session")
def real_hours(shared_data: Path) -> Path:
    """A Parquet file of three full-size days of hourly ridership."""
    return shared_data / "hourly" / "hourly_ridership_20240915_17.parquet"
