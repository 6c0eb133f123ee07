"""Where files lie in the lake, and how their bytes get there: all or nothing.

This is the only place that writes to the lake. A lake is a directory or an object store (`gs://bucket/prefix`). What
the bytes mean is not known here.
"""

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from upath import UPath

# Temporaries are hidden and end in this, so that no engine takes one for part of a table.
_TEMPORARY: Final = ".writing"
_TEMPORARIES: Final = f".*{_TEMPORARY}"
_WEEK: Final = "week="
_PART: Final = "part-0.parquet"


def part_path(lake_root: str, layer: str, table: str, week: str | None = None) -> UPath:
    """The one file of a table, or of a week of it: `<root>/<layer>/<table>[/week=YYYY-MM-DD]/part-0.parquet`."""
    folder = UPath(lake_root) / layer / table
    return (folder / f"{_WEEK}{week}" if week else folder) / _PART


def weeks_there(lake_root: str, layer: str, table: str, file: str = _PART) -> set[str]:
    """The weeks of a table that have their file, by one listing of the table's files."""
    folder = UPath(lake_root) / layer / table
    folder.fs.invalidate_cache(folder.path)  # A bucket's file system would not see what other processes write.
    return {path.parent.name.removeprefix(_WEEK) for path in folder.glob(f"{_WEEK}*/{file}")}


def report_path(lake_root: str) -> UPath:
    """The report, a page of its own: `<root>/report/index.html`."""
    return UPath(lake_root) / "report" / "index.html"


def local_path(path: UPath) -> Path | None:
    """The path in this machine's file system, or None if it lies in an object store."""
    return Path(path.path) if path.protocol in ("", "file", "local") else None


def read_bytes(path: UPath) -> bytes:
    """The whole file, as it is at one moment.

    Raises:
        FileNotFoundError: there is no such file.
    """
    local = local_path(path)
    return local.read_bytes() if local else bytes(path.fs.cat_file(path.path))


def remove(path: UPath) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        path.fs.rm_file(path.path)


@contextmanager
def one_at_a_time(folder: UPath) -> Iterator[None]:
    """Lets one process at a time into the block, where files of a folder must fit together.

    Object stores have no such lock: there, whoever starts runs sees to it that one at a time writes to a folder.
    """
    local = local_path(folder)
    if local is None:
        yield
        return
    local.mkdir(parents=True, exist_ok=True)
    handle = os.open(local, os.O_RDONLY)
    try:
        with suppress(OSError):  # Some network file systems do not lock folders.
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sweep(root: str) -> None:
    """Remove the temporary files that writers left anywhere below a lake's root when they died."""
    if local := local_path(UPath(root)):
        _remove_dead(local.rglob(_TEMPORARIES))


def write_atomically(path: UPath, payload: bytes | memoryview) -> None:
    """Put the payload in the file's place, whole or not at all; of two writers at once the last one wins.

    Folders are made as needed. A writer that is killed leaves what was there before and at most a hidden temporary
    file, which the next write to the folder removes.

    Raises:
        OSError: it could not be written (disk full, no access, ...); what was there before still is.
    """
    local = local_path(path)
    try:
        if local:
            _replace(local, payload)
        else:
            path.fs.pipe_file(path.path, bytes(payload))
    except Exception as error:
        kept = "Not written, what was there stays"
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, f"{kept}: {error.strerror}", str(path)) from error
        raise OSError(f"{kept}: {path}: {error!r}") from error


def _replace(path: Path, payload: bytes | memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_dead(path.parent.glob(_TEMPORARIES))
    with _temporary_beside(path) as temporary:
        temporary.write(payload)
        temporary.flush()
        os.fsync(temporary.fileno())
        Path(temporary.name).replace(path)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[BinaryIO]:
    """A new file that stays locked while its writer lives, and goes when the block ends, unless it was renamed."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
        file = temporary.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            break
        file.close()  # Swept in the instant between its making and its locking.
    try:
        with file:
            yield file
    finally:
        temporary.unlink(missing_ok=True)


def _remove_dead(temporaries: Iterable[Path]) -> None:
    # Only dead writers' files can be locked: a living one holds the lock on its own.
    for leftover in temporaries:
        with suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
