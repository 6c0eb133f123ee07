"""The places that a command reads and writes: the records, the lake and the feed. They are checked before it starts.

A place that cannot be used ends the command with one message, and nothing is created. What fails later, such as a disk
that fills up, is reported by the command itself.
"""

import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from mta_pipeline.cli.exit_codes import CommandError, ExitCode
from mta_pipeline.settings import Settings, project_folder

_DEADLINE: Final = 10.0
"""Seconds after which a bucket counts as unreachable. Its clients would try for a minute or more."""

_BUCKETS: Final = ("gs://", "gcs://")


def project_home(settings: Settings) -> Path | None:
    """The directory of the records that `make dev` uses for this feed, or None outside of the project's folder."""
    folder = project_folder()
    return folder and folder / "data" / ("sample" if settings.is_sample else "real") / "dagster"


def make_home(home: Path) -> None:
    """Create the directory of the records with the project's `dagster.yaml`, as `make` does, inside the project."""
    folder, config = project_folder(), home / "dagster.yaml"
    if folder and not config.exists():
        home.mkdir(parents=True, exist_ok=True)
        config.unlink(missing_ok=True)  # a link to a project that was moved
        config.symlink_to(folder / config.name)


def require_records(settings: Settings, *, creates: bool) -> None:
    """Check the directory of Dagster's records, if there is one. The project's own may be missing if it is created.

    Raises:
        CommandError: it is missing, is no directory, or cannot be written.
    """
    home = settings.dagster_home
    if home is None:
        return
    is_own = home == project_home(settings)
    writes = (creates or not is_own) and not _has_database(home)
    _require_directory(home, f"DAGSTER_HOME={home}", writes=writes)
    if home.is_dir() or (is_own and creates):
        return
    problem = f"DAGSTER_HOME={home} does not exist. Create the directory (mkdir -p {home}), or correct the path."
    if is_own:
        problem = f"There are no records in {home} yet. `make run` creates them."
    raise CommandError(ExitCode.CONFIGURATION, problem)


def require_lake(lake_root: str, *, subject: str = "", writes: bool = False) -> None:
    """Check that the lake can be read, or also written. A directory that does not exist yet is none of the problems.

    Args:
        lake_root: the location of the lake.
        subject: how messages name it, by default as the setting.
        writes: whether the command writes to it.

    Raises:
        CommandError: it is no directory, cannot be written, or the bucket cannot be reached.
    """
    subject = subject or f"LAKE_ROOT={lake_root}"
    if not lake_root.startswith(_BUCKETS):
        _require_directory(Path(lake_root), subject, writes=writes)
        return

    from mta_pipeline.lake import gcs  # noqa: PLC0415  # slow to import
    from mta_pipeline.lake.storage import location  # noqa: PLC0415

    _require_answer(subject, lambda: gcs.require_access(location(lake_root)))


def require_feed(feed: str) -> None:
    """Check that a feed in a bucket can be reached. Other feeds report this themselves, in time.

    Raises:
        CommandError: it cannot be reached.
    """
    if feed.startswith(_BUCKETS):
        from mta_pipeline.lake import gcs  # noqa: PLC0415

        _require_answer(f"MTA_FEED={feed}", gcs.require_connection)


def _has_database(home: Path) -> bool:
    """Whether the records are in a database that `dagster.yaml` names. The directory can then be read-only."""
    with suppress(OSError):
        return bool(re.search("^storage:", (home / "dagster.yaml").read_text("utf-8"), re.MULTILINE))
    return False


def _require_directory(folder: Path, subject: str, *, writes: bool) -> None:
    there = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), Path("/"))
    try:
        if not there.is_dir():
            what = "is a file, not a directory" if there == folder else f"cannot be a directory: {there} is a file"
            raise CommandError(ExitCode.CONFIGURATION, f"{subject} {what}. Choose another path.")
        if writes:
            # Rights alone do not tell: file systems can be read-only, and root has all rights.
            with tempfile.TemporaryFile(dir=there):
                pass
    except OSError as error:
        advice = "Choose another path, or correct the rights."
        problem = f"{subject} cannot be written: {error.strerror or error} ({there}). {advice}"
        raise CommandError(ExitCode.UNREACHABLE, problem) from error


def _require_answer(subject: str, request: Callable[[], None]) -> None:
    """Send a request that ends with an OSError if the bucket cannot be used, and wait for it until the deadline."""
    problems: list[Exception | None] = []

    def send() -> None:
        try:
            request()
        except Exception as error:
            problems.append(error)
        else:
            problems.append(None)

    # Google's library warns for each of its attempts to find credentials.
    logging.getLogger("google.auth").setLevel(logging.ERROR)
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    thread.join(_DEADLINE)
    problem = problems[0] if problems else TimeoutError(f"no answer within {_DEADLINE:.0f} s. Check the network")
    if isinstance(problem, ImportError):
        raise CommandError(
            ExitCode.CONFIGURATION,
            f"{subject} needs a package that is not installed: {problem}. "
            "Install the extra gcp: .venv/bin/uv pip install -c requirements.lock -e '.[gcp]'",
        ) from problem
    if isinstance(problem, OSError):
        raise CommandError(ExitCode.UNREACHABLE, f"{subject} cannot be used: {problem}.") from problem
    if problem is not None:
        raise problem
