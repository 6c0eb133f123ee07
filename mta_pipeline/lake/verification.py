"""Verifies a whole lake: raw data by the digests in the names of their objects, all other files by their own digests.

Also finds what is missing: a week that is in one table of a family must be in all of them.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from upath import UPath

from mta_pipeline.lake.digests import HTML
from mta_pipeline.lake.exports import stored_exports
from mta_pipeline.lake.parquet import problem
from mta_pipeline.lake.raw import RawFolders
from mta_pipeline.lake.storage import (
    Part,
    all_files,
    location,
    parts,
    read_bytes,
    report_path,
    set_aside,
    write_atomically,
)
from mta_pipeline.schema import Table

SUMS: Final = "SHA256SUMS"
"""The name of the file with the sha256 of every file of a lake, in the format of the program sha256sum."""

_LAYERS: Final = ("staged", "lake", "marts")


class Family(NamedTuple):
    """Raw data and the tables that are made from each of its weeks. Without weeks, the data are one whole."""

    raw: RawFolders[Any]
    tables: tuple[Table, ...]


class Verified(NamedTuple):
    """A file, or the raw data of a week, after its verification."""

    path: UPath
    week: str | None
    size: int
    """Number of bytes that were verified, after unpacking."""
    problem: str | None
    """What is wrong, naming the file; None if nothing is."""
    set_aside: Callable[[], None] | None = None
    """Renames the damaged file, so that the next run makes it again; None for a missing file."""


Due: TypeAlias = Callable[[str | None], bool]
"""Whether to verify the files of a week, or with None those without weeks."""


def raw_verifications(families: Iterable[Family], lake_root: str, due: Due) -> list[Callable[[], Verified]]:
    """Return the verifications of raw data: of the weeks of each family, and of exports."""
    of_weeks = [
        partial(_raw, family.raw, week)
        for family in families
        for week in sorted(_weeks(family, _parts(lake_root)))
        if due(week)
    ]
    return [*of_weeks, *(partial(_raw, export, None) for export in stored_exports(lake_root) if due(None))]


def table_verifications(
    families: Iterable[Family], whole: Collection[Table], lake_root: str, due: Due
) -> list[Callable[[], Verified]]:
    """Return the verifications of all files of tables and marts that a lake has or lacks, and of the report.

    Args:
        families: the families of tables with weeks.
        whole: the tables without weeks that a lake with any week must have, as it must have a report.
        lake_root: the lake's location.
        due: which files to verify.
    """
    there = _parts(lake_root)
    expected = {
        Part(table.layer, table.name, week)
        for family in families
        for week in _weeks(family, there)
        for table in family.tables
    }
    expected |= {Part(table.layer, table.name, None) for table in whole if expected}
    listed = sorted(expected | there, key=lambda part: (_LAYERS.index(part.layer), part.table, part.week or ""))
    of_parts = [partial(_part, lake_root, part) for part in listed if due(part.week)]
    must_have_report = bool(expected and whole) or report_path(lake_root).exists()
    return [*of_parts, *([partial(_report, lake_root)] if must_have_report and due(None) else [])]


def _parts(lake_root: str) -> set[Part]:
    return {part for layer in _LAYERS for part in parts(lake_root, layer)}


def _weeks(family: Family, there: Collection[Part]) -> set[str]:
    """The weeks that are in the raw data or in any table of a family, and so must be in all of them."""
    names = {(table.layer, table.name) for table in family.tables}
    return family.raw.weeks() | {part.week for part in there if part.week and part[:2] in names}


def _raw(raw: RawFolders[Any], week: str | None) -> Verified:
    found = raw.problem(week)
    manifest = None if found else raw.manifest(week)
    size = manifest.size if manifest else 0
    return Verified(raw.path(week), week, size, found, partial(raw.set_damaged_aside, week) if found else None)


def _part(lake_root: str, part: Part) -> Verified:
    return _file(part.path(lake_root), part.week, problem)


def _report(lake_root: str) -> Verified:
    return _file(report_path(lake_root), None, HTML.problem)


def _file(path: UPath, week: str | None, problem_in: Callable[[bytes], str | None]) -> Verified:
    try:
        contents = read_bytes(path)
    except FileNotFoundError:
        return Verified(path, week, 0, f"{path} is missing")
    if found := problem_in(contents):
        aside = partial(set_aside, path, lambda read: problem_in(read) is not None)
        return Verified(path, week, len(contents), f"{path} is damaged: {found}", aside)
    return Verified(path, week, len(contents), None)


def write_sums(lake_root: str) -> UPath:
    """Write the sha256 of every file of a lake to `<root>/SHA256SUMS`, and return its path.

    Whoever has copied the lake can check it with `sha256sum --check SHA256SUMS` in its folder.
    """
    root = location(lake_root)
    lines = (f"{hashlib.sha256(read_bytes(path)).hexdigest()}  {name}\n" for name, path in _shown(root))
    write_atomically(root / SUMS, "".join(lines).encode())
    return root / SUMS


def _shown(root: UPath) -> Iterator[tuple[str, UPath]]:
    """The files of a lake by their path in it, without hidden ones."""
    for path in all_files(root):
        name = path.path.removeprefix(f"{root.path}/")
        if name != SUMS and not any(piece.startswith(".") for piece in name.split("/")):
            yield name, path
