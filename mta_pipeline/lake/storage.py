"""Where files lie in the lake, and how their bytes get there: all or nothing.

This is the only place that writes to the lake. A lake is a directory or an object store (`gs://bucket/prefix`). What
the bytes mean is not known here.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from upath import UPath

from mta_pipeline.lake import gcs
from mta_pipeline.lake.gcs import ConcurrentWriteError

# Temporaries are hidden and end in this, so that no engine takes one for part of a table.
_TEMPORARY: Final = ".writing"
_TEMPORARIES: Final = f".*{_TEMPORARY}"
_WEEK: Final = "week="
_PART: Final = "part-0.parquet"

_MAX_WRITE_CONFLICTS: Final = 10
"""How many writes by others to one object in a bucket a writer waits for."""


class Found(NamedTuple):
    """A file as it was found in a folder, and in a bucket the generation it had."""

    path: UPath
    generation: int | None


def location(root: str) -> UPath:
    """The place a lake's root names. What a bucket once listed is not believed again: others write to it, too."""
    is_bucket = root.startswith(tuple(f"{protocol}://" for protocol in gcs.PROTOCOLS))
    return UPath(root, use_listings_cache=False) if is_bucket else UPath(root)


def part_path(lake_root: str, layer: str, table: str, week: str | None = None) -> UPath:
    """The one file of a table, or of a week of it: `<root>/<layer>/<table>[/week=YYYY-MM-DD]/part-0.parquet`."""
    folder = location(lake_root) / layer / table
    return (folder / f"{_WEEK}{week}" if week else folder) / _PART


def weeks_there(lake_root: str, layer: str, table: str, file: str = _PART) -> set[str]:
    """The weeks of a table that have their file, by one listing of the table's files."""
    folder = location(lake_root) / layer / table
    return {path.parent.name.removeprefix(_WEEK) for path in folder.glob(f"{_WEEK}*/{file}")}


def report_path(lake_root: str) -> UPath:
    """The report, a page of its own: `<root>/report/index.html`."""
    return location(lake_root) / "report" / "index.html"


def local_path(path: UPath) -> Path | None:
    """The path in this machine's file system, or None if it lies in an object store."""
    return Path(path.path) if path.protocol in ("", "file", "local") else None


def read_bytes(path: UPath) -> bytes:
    """The whole file, as it is at one moment.

    Raises:
        FileNotFoundError: there is no such file.
    """
    local = local_path(path)
    return local.read_bytes() if local else gcs.read(path)


def generation(path: UPath) -> int | None:
    """In a bucket, the number that each write of a file gives it, of the same bytes, too; None in a directory."""
    return None if local_path(path) else gcs.generation(path)


def files_in(folder: UPath) -> list[Found]:
    """The files in a folder, as they are now; none if there is no such folder."""
    local = local_path(folder)
    if local is None:
        return [Found(*found) for found in gcs.objects(folder)]
    return [Found(folder / path.name, None) for path in local.iterdir()] if local.is_dir() else []


def remove(found: Found) -> None:
    """Remove a file, if it is there; in a bucket, if it still is the one that was found."""
    path, generation = found
    if generation is not None:
        gcs.remove(path, generation)
    else:
        Path(path.path).unlink(missing_ok=True)


@contextmanager
def folder_lock(folder: UPath) -> Iterator[None]:
    """Lets one process at a time into the block, where files of a folder must fit together.

    Buckets have no such lock: there, `write_atomically` with `precondition` keeps rivals apart.
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


def remove_stale_temp_files(root: str) -> None:
    """Remove the temporary files that writers left anywhere below a lake's root when they died."""
    if local := local_path(UPath(root)):
        _remove_dead(local.rglob(_TEMPORARIES))


def write_atomically(
    path: UPath, payload: bytes | memoryview, *, precondition: Callable[[], bool] | None = None
) -> None:
    """Put the payload in the file's place, whole or not at all; of two writers at once the last one wins.

    Folders are made as needed. A writer that is killed leaves what was there before and at most a hidden temporary
    file, which the next write to the folder removes.

    Args:
        path: the file.
        payload: all of its contents.
        precondition: evaluated atomically with the write; if it is false, nothing is written. In a bucket, the object
            is replaced only if it is still the one that existed at the evaluation, otherwise the precondition is
            evaluated again. In a directory, call this inside `folder_lock`.

    Raises:
        ConcurrentWriteError: `precondition` is false; the previous file remains.
        OSError: it could not be written (disk full, no access, ...); what was there before still is.
    """
    local = local_path(path)
    try:
        if local is None:
            _replace_object(path, payload, precondition)
        else:
            _must_be(precondition, path)
            _replace(local, payload)
    except ConcurrentWriteError:
        raise
    except Exception as error:
        kept = "Not written, what was there stays"
        if isinstance(error, OSError) and error.errno:
            raise OSError(error.errno, f"{kept}: {error.strerror}", str(path)) from error
        raise OSError(f"{kept}: {path}: {error!r}") from error


def _must_be(precondition: Callable[[], bool] | None, path: UPath) -> None:
    if precondition is not None and not precondition():
        raise ConcurrentWriteError(f"{path}: what was to be written is out of date: another run was faster")


def _replace_object(path: UPath, payload: bytes | memoryview, precondition: Callable[[], bool] | None) -> None:
    if precondition is None:
        gcs.write(path, payload)
        return
    for _ in range(_MAX_WRITE_CONFLICTS):
        seen = gcs.generation(path)
        _must_be(precondition, path)
        # Somebody else's write is no reason to give up: who is right is for `precondition` to say.
        with suppress(ConcurrentWriteError):
            gcs.write(path, payload, seen)
            return
    raise ConcurrentWriteError(
        f"{path}: others wrote it {_MAX_WRITE_CONFLICTS} times in a row, each time before this run could"
    )


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
