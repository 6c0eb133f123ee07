"""Paths and atomic writes of the lake, which is a directory or a bucket (`gs://bucket/prefix`).

This is the only module that writes to the lake. It handles bytes: `parquet` encodes tables, `raw` keeps published data.
"""

import fcntl
import logging
import math
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple
from urllib.parse import quote

from upath import UPath

from mta_pipeline.addresses import redacted
from mta_pipeline.lake import gcs
from mta_pipeline.lake.gcs import ConcurrentWriteError

# Temporary files are hidden and end in this, so that no engine reads one as part of a table.
_TEMPORARY: Final = ".writing"
_TEMPORARY_FILES: Final = f".*{_TEMPORARY}"
_DAMAGED: Final = ".damaged"
_WEEK: Final = "week="
_PART: Final = "part-0.parquet"

_MAX_WRITE_CONFLICTS: Final = 10
"""Number of concurrent writes to one object in a bucket after which a conditional write gives up."""

_LOCK_TIMEOUT: Final = 60.0
"""Seconds to wait for a folder that another process has locked. Writing the files of a week takes few seconds."""
_LOCK_REPORT: Final = 5.0
"""Seconds of waiting after which a warning names the process."""
_LOCK_POLL: Final = 0.05

_log = logging.getLogger(__name__)


class LockedFolder(TimeoutError):
    """Another process has locked a folder for too long. The message names both and says what to do."""


class Found(NamedTuple):
    """A file in a folder, with its generation in a bucket (None in a directory)."""

    path: UPath
    generation: int | None


class Part(NamedTuple):
    """A week of a table, or a whole table without weeks (`week` is None)."""

    layer: str
    table: str
    week: str | None

    def path(self, lake_root: str) -> UPath:
        """Return its file below a lake's root."""
        return part_path(lake_root, *self)


def location(root: str) -> UPath:
    """Return the path of a lake's root, in which no character has a special meaning.

    Listings of a bucket are not cached, because other processes write to it.
    """
    is_bucket = root.startswith(tuple(f"{protocol}://" for protocol in gcs.PROTOCOLS))
    return UPath(root, use_listings_cache=False) if is_bucket else UPath(root.removeprefix("file://"))


def part_path(lake_root: str, layer: str, table: str, week: str | None = None) -> UPath:
    """Return the file of a table or of a week: `<root>/<layer>/<table>[/week=YYYY-MM-DD]/part-0.parquet`."""
    folder = location(lake_root) / layer / table
    return (folder / f"{_WEEK}{week}" if week else folder) / _PART


def weeks_there(lake_root: str, layer: str, table: str, file: str = _PART) -> set[str]:
    """Return the weeks of a table that have the file `file`, with one listing."""
    folder = location(lake_root) / layer / table
    if local := local_path(folder):
        weeks = {path.parent.name for path in local.glob(f"{_WEEK}*/{file}")}
    else:  # Not a glob, which would read the prefix in the bucket as a pattern.
        found = (path for path, _ in gcs.objects(folder) if path.name == file)
        weeks = {path.parent.name for path in found if path.parent.parent == folder}
    return {name.removeprefix(_WEEK) for name in weeks if name.startswith(_WEEK)}


def parts_to_repair(lake_root: str, layer: str) -> set[Part]:
    """Return the parts of a layer whose damaged files are set aside and were not made again."""
    return parts(lake_root, layer, f".{_PART}{_DAMAGED}").keys() - parts(lake_root, layer).keys()


def parts(lake_root: str, layer: str, file: str = _PART) -> dict[Part, int | None]:
    """Return the parts of all tables of a layer, each with its generation in a bucket (None in a directory).

    In a bucket, this takes one listing. `file` is the name of the file that a part must have.
    """
    folder = location(lake_root) / layer
    found: Iterable[tuple[Sequence[str], int | None]]
    if local := local_path(folder):
        paths = (path for depth in ("*", f"*/{_WEEK}*") for path in local.glob(f"{depth}/{file}"))
        found = ((path.relative_to(local).parts, None) for path in paths)
    else:
        start = f"{folder.path}/"
        found = ((path.path.removeprefix(start).split("/"), number) for path, number in gcs.objects(folder))
    return {
        Part(layer, table, week[0].removeprefix(_WEEK) if week else None): number
        for (table, *week, name), number in found
        if name == file and (not week or (len(week) == 1 and week[0].startswith(_WEEK)))
    }


def report_path(lake_root: str) -> UPath:
    """Return the file of the report: `<root>/report/index.html`."""
    return location(lake_root) / "report" / "index.html"


def local_path(path: UPath) -> Path | None:
    """Return the path in the local file system, or None if it is in a bucket."""
    return Path(path.path) if path.protocol in ("", "file", "local") else None


def uri(path: UPath) -> str:
    """Return the address of a file or folder: `gs://bucket/name`, or `file:///path`."""
    local = local_path(path)
    return f"file://{quote(str(local.absolute()), safe='/=')}" if local else str(path)


def read_bytes(path: UPath) -> bytes:
    """Return the contents of a file, all of one version.

    Raises:
        FileNotFoundError: there is no such file.
    """
    local = local_path(path)
    return local.read_bytes() if local else gcs.read(path)


def generation(path: UPath) -> int | None:
    """Return the generation of a file in a bucket, which changes with each write, or None in a directory."""
    return None if local_path(path) else gcs.generation(path)


def files_in(folder: UPath) -> list[Found]:
    """Return the files that a folder holds now, or an empty list if there is no such folder."""
    local = local_path(folder)
    if local is None:
        return [Found(*found) for found in gcs.objects(folder)]
    return [Found(folder / path.name, None) for path in local.iterdir()] if local.is_dir() else []


def all_files(root: UPath) -> list[UPath]:
    """Return the files below a folder, at any depth, in order."""
    local = local_path(root)
    found = [path for path, _ in gcs.objects(root)] if local is None else map(UPath, local.rglob("*"))
    return sorted((path for path in found if local is None or path.is_file()), key=str)


def remove(found: Found) -> None:
    """Remove a file if it exists. In a bucket, only if it still has the generation that was found."""
    path, generation = found
    if generation is not None:
        gcs.remove(path, generation)
    else:
        Path(path.path).unlink(missing_ok=True)


def is_to_repair(path: UPath) -> bool:
    """Whether a damaged file is set aside and was not made again."""
    return _aside(path).exists() and not path.exists()


def _aside(path: UPath) -> UPath:
    return path.with_name(f".{path.name}{_DAMAGED}")


def set_aside(path: UPath, is_damaged: Callable[[bytes], bool]) -> None:
    """Rename a damaged file to `.NAME.damaged`, so that it counts as missing and the next run makes it again.

    Nothing happens if the file is missing, or another run has replaced it. Call this outside of `folder_lock`.

    Raises:
        OSError: the file cannot be renamed.
    """
    local, aside = local_path(path), _aside(path)
    with suppress(FileNotFoundError), folder_lock(path.parent):
        if local is None:
            found = gcs.generation(path)
            contents = gcs.read(path)
            if is_damaged(contents):
                gcs.write(aside, contents)
                gcs.remove(path, found)
        elif is_damaged(local.read_bytes()):
            local.replace(aside.path)


@contextmanager
def folder_lock(folder: UPath, *, is_held_long: bool = False) -> Iterator[None]:
    """Lock a folder for this process during the block, so that its files stay consistent with each other.

    After a few seconds of waiting, a warning says who holds the lock. Buckets have no such lock. There,
    `write_atomically` with `precondition` detects concurrent writes.

    Args:
        folder: the folder, which is created if it is missing.
        is_held_long: whether holders may take hours, so that there is no limit to the waiting.

    Raises:
        LockedFolder: another process has held the lock for `_LOCK_TIMEOUT`.
    """
    local = local_path(folder)
    if local is None:
        yield
        return
    local.mkdir(parents=True, exist_ok=True)
    handle = os.open(local, os.O_RDONLY)
    try:
        _lock(handle, local, math.inf if is_held_long else _LOCK_TIMEOUT)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path, timeout: float) -> None:
    start, is_reported = time.monotonic(), False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = time.monotonic() - start
        except OSError:  # Some network file systems cannot lock folders.
            return
        else:
            return
        if waited >= timeout:
            raise LockedFolder(
                f"{folder}: locked for more than {timeout:.0f} s by {_holder(handle)}. If that process hangs, end it. "
                "Then launch again; nothing is lost."
            )
        if waited >= _LOCK_REPORT and not is_reported:
            is_reported = True
            _log.warning("%s: waiting for the lock of %s", folder, _holder(handle))
        time.sleep(_LOCK_POLL)


def _holder(handle: int) -> str:
    """The process that has locked an open folder, with its command line if this user may read it."""
    found = os.fstat(handle)
    identity = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with suppress(OSError, ValueError):  # Linux alone has /proc/locks.
        for line in Path("/proc/locks").read_text().splitlines():
            # 1: FLOCK  ADVISORY  WRITE 4711 fe:00:1786192 0 EOF
            _, kind, *_, process, inode, _, _ = line.split()
            # Processes outside of a container have the number 0.
            if kind == "FLOCK" and inode == identity and int(process) > 0:
                return f"process {process}{_command(process)}"
    return "another process"


def _command(process: str) -> str:
    """The command line of a process in parentheses, shortened, or an empty text if this user may not read it."""
    with suppress(OSError):
        command = " ".join(Path(f"/proc/{process}/cmdline").read_text(errors="replace").replace("\0", " ").split())
        return f" ({redacted(command)[:500]})" if command else ""
    return ""


def remove_stale_temp_files(root: str) -> None:
    """Remove temporary files of dead writers, anywhere below a lake's root."""
    if local := local_path(location(root)):
        _remove_leftovers(local.rglob(_TEMPORARY_FILES))


def write_atomically(
    path: UPath, payload: bytes | memoryview, *, precondition: Callable[[], bool] | None = None
) -> None:
    """Replace a file as a whole or not at all. Without a precondition, the last of two concurrent writers wins.

    Creates folders as needed. If the writer is killed, the previous file remains, and at most a hidden temporary file,
    which the next write to the folder removes.

    Args:
        path: the file.
        payload: its whole contents.
        precondition: evaluated atomically with the write; if it is false, nothing is written. In a bucket, the object
            is replaced only if it is still the one that existed at the evaluation, otherwise the precondition is
            evaluated again. In a directory, call this inside `folder_lock`.

    Raises:
        ConcurrentWriteError: `precondition` is false, or other runs keep replacing the object. Their file remains.
        OSError: the file cannot be written (disk full, no access, ...). Any previous file remains.
    """
    local = local_path(path)
    try:
        if local is None:
            _replace_object(path, payload, precondition)
        else:
            _check(precondition, path)
            _replace(local, payload)
    except ConcurrentWriteError:
        raise
    except Exception as error:
        problem = "Not written, any previous file remains"
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, f"{problem}: {error.strerror}", str(path)) from error
        raise OSError(f"{problem}: {path}: {error!r}") from error


def _check(precondition: Callable[[], bool] | None, path: UPath) -> None:
    if precondition is not None and not precondition():
        raise ConcurrentWriteError(f"{path}: not written, because it is out of date: another run was faster")


def _replace_object(path: UPath, payload: bytes | memoryview, precondition: Callable[[], bool] | None) -> None:
    if precondition is None:
        gcs.write(path, payload)
        return
    for _ in range(_MAX_WRITE_CONFLICTS):
        expected = gcs.generation(path)
        _check(precondition, path)
        # After a write by another run, try again: `precondition` decides which of the two is current.
        with suppress(ConcurrentWriteError):
            gcs.write(path, payload, expected)
            return
    raise ConcurrentWriteError(
        f"{path}: not written, because other runs replaced it {_MAX_WRITE_CONFLICTS} times in a row"
    )


def _replace(path: Path, payload: bytes | memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent.glob(_TEMPORARY_FILES))
    with _temporary_beside(path) as temporary:
        temporary.write(payload)
        temporary.flush()
        os.fsync(temporary.fileno())
        Path(temporary.name).replace(path)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that is locked while its writer lives. It is removed after the block unless it was renamed."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
        file = temporary.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            break
        file.close()  # Another writer removed it before it was locked.
    try:
        with file:
            yield file
    finally:
        temporary.unlink(missing_ok=True)


def _remove_leftovers(temporaries: Iterable[Path]) -> None:
    # A file that can be locked belongs to a dead writer: a live one holds the lock on its file.
    for leftover in temporaries:
        with suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
