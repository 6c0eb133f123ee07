"""Which files a mart, the report or the warehouse is made from. Each records them, so that it is known to be outdated.

The time at which a file was written does not count: clocks may be wrong, and copies of files have other times.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from upath import UPath

from mta_pipeline.lake.digests import DamagedFile
from mta_pipeline.lake.parquet import digest, metadata, read, set_damaged_aside
from mta_pipeline.lake.storage import Part, local_path, location, part_path, parts, read_bytes
from mta_pipeline.schema import Table

_INPUTS: Final = "inputs"
"""The key in a file's own metadata. Its value is a JSON object: versions of files by week, by table."""

_DIGITS: Final = 16
"""How many digits of a digest distinguish the versions of a file."""

VERIFIED_AGAIN: Final = 64 << 20
"""How many bytes of known files are verified again whenever marts are made. The day decides which files."""


@dataclass(frozen=True)
class Inputs:
    """Versions of files by part: the first digits of a file's digest, or the generation of an object in a bucket."""

    versions: Mapping[Part, str]

    @property
    def fingerprint(self) -> str:
        """A digest of all versions."""
        return hashlib.sha256(self._json().encode()).hexdigest()

    def changed_since(self, before: "Inputs | None") -> set[Part]:
        """Return the files that another record lacks, or has in another version."""
        return {part for part, version in self.versions.items() if not before or before.versions.get(part) != version}

    def of(self, tables: Collection[str]) -> "Inputs":
        """Return the files of the tables with these names."""
        return Inputs({part: version for part, version in self.versions.items() if part.table in tables})

    def to_metadata(self) -> dict[str, str]:
        """The entries of the metadata of a file."""
        return {_INPUTS: self._json()}

    def _json(self) -> str:
        tables: dict[str, dict[str, str]] = {}
        for part in sorted(self.versions, key=lambda part: (part.layer, part.table, part.week or "")):
            tables.setdefault(f"{part.layer}/{part.table}", {})[part.week or ""] = self.versions[part]
        return json.dumps(tables, separators=(",", ":"))

    @classmethod
    def recorded_in(cls, lake_root: str, of: Table) -> "Inputs | None":
        """Return what the file of a table is made from. None if it lacks that, does not exist, or cannot be read."""
        try:
            found = metadata(part_path(lake_root, of.layer, of.name)).get(_INPUTS.encode())
            tables = None if found is None else json.loads(found)
        except (FileNotFoundError, ValueError):
            return None
        return tables and cls(
            {
                Part(layer, table, week or None): version
                for name, versions in tables.items()
                for layer, table in [name.split("/")]
                for week, version in versions.items()
            }
        )


def current_inputs(lake_root: str, tables: Collection[Table]) -> Inputs:
    """Return the files of these tables that are in the lake now. Reads the end of each file; only lists a bucket."""
    is_local = local_path(location(lake_root)) is not None
    names = {(table.layer, table.name) for table in tables}
    found = {
        part: generation
        for layer in sorted({layer for layer, _ in names})
        for part, generation in parts(lake_root, layer).items()
        if part[:2] in names
    }
    return Inputs({part: _version(part.path(lake_root)) if is_local else str(found[part]) for part in found})


def _version(path: UPath) -> str:
    # Files that earlier versions of the project wrote hold no digest.
    return (digest(path) or hashlib.sha256(read_bytes(path)).hexdigest())[:_DIGITS]


def verify_inputs(lake_root: str, current: Inputs, new: Collection[Part], day: str) -> None:
    """Verify files before they are read: all new ones, and some of the others in turn. Damaged files are set aside.

    Args:
        lake_root: the lake's location.
        current: the files that will be read.
        new: those that were not verified before.
        day: today. It decides which of the others are verified.

    Raises:
        DamagedFile: files are damaged. The message names all of them.
    """
    others = current.versions.keys() - set(new)
    in_turn = sorted(others, key=lambda part: hashlib.sha256(f"{day} {part}".encode()).digest())
    problems, verified = [], 0
    for part in (*sorted(new, key=str), *in_turn):
        if part in others and verified > VERIFIED_AGAIN:
            break
        try:
            size = len(read(part.path(lake_root)))
        except DamagedFile as error:
            problems.append(str(error))
            set_damaged_aside(part.path(lake_root))
        else:
            verified += size if part in others else 0
    if problems:
        raise DamagedFile("\n".join(problems))
