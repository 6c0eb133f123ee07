"""Compares the lake after a scenario with the lake of an undisturbed run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mta_pipeline.lake.raw import MANIFEST
from mta_pipeline.lake.raw_files import RAW_TABLE
from mta_pipeline.tables import RIDERSHIP, STAGED

TABLES = (*STAGED, *RIDERSHIP)
LAYERS = ("raw", "staged", "lake")
WEEKLY = (RAW_TABLE, *((table.layer, table.name) for table in TABLES))


@dataclass(frozen=True)
class LakeComparison:
    """Counts that are all zero if a scenario went well.

    They are weeks lost or doubled, files different or left over, and damaged files that no check has reported.
    """

    weeks: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    leftovers: int = 0
    undetected: int = 0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.different or self.leftovers or self.undetected)

    def __add__(self, other: "LakeComparison") -> "LakeComparison":
        left, right = vars(self).values(), vars(other).values()
        return LakeComparison(*(a + b for a, b in zip(left, right, strict=True)))


def contents(lake: Path) -> dict[str, object]:
    """The contents of every file of the weekly layers, by path.

    Manifests are compared without `fetched_at` and their digest. Earlier versions of raw files are left out.
    """
    paths = {path for layer in LAYERS for path in (lake / layer).rglob("*") if path.is_file()}
    earlier = {path for manifest in lake.glob(f"{'/'.join(RAW_TABLE)}/*/{MANIFEST}") for path in _earlier(manifest)}
    return {str(path.relative_to(lake)): _content(path) for path in paths - earlier}


def compare(lake: Path, undisturbed: Path, weeks: Sequence[str]) -> LakeComparison:
    """Compare a lake with an undisturbed one of the same weeks."""
    actual, expected = contents(lake), contents(undisturbed)
    return LakeComparison(
        weeks=len(weeks),
        lost=sum(any(not _files(lake, *table, week) for table in WEEKLY) for week in weeks),
        doubled=sum(_is_doubled(lake, week) for week in weeks),
        different=sum(actual[path] != expected[path] for path in actual.keys() & expected.keys()),
        leftovers=len(actual.keys() - expected.keys()),
    )


def half_written(lake: Path, undisturbed: Path) -> int:
    """Count the files that differ from the undisturbed ones: a killed run must leave only whole files."""
    actual, expected = contents(lake), contents(undisturbed)
    return sum(actual[path] != expected[path] for path in actual.keys() & expected.keys())


def different_marts(lake: Path, undisturbed: Path) -> int:
    """Count the marts that are missing or different."""
    expected = [path.relative_to(undisturbed) for path in undisturbed.glob("marts/*/*.parquet")]
    return sum(
        not (lake / path).exists() or (lake / path).read_bytes() != (undisturbed / path).read_bytes()
        for path in expected
    )


def _files(lake: Path, layer: str, table: str, week: str) -> list[Path]:
    return sorted((lake / layer / table / f"week={week}").glob("[!.]*"))


def _is_doubled(lake: Path, week: str) -> bool:
    files = _files(lake, *RAW_TABLE, week)
    if len({*files}.difference(*(_earlier(file) for file in files if file.name == MANIFEST))) > 2:
        return True
    for table in TABLES:
        files = _files(lake, table.layer, table.name, week)
        rows = pl.concat(pl.read_parquet(file) for file in files) if files else pl.DataFrame(schema=table.schema)
        if rows.select(pl.struct(table.key or tuple(table.schema)).is_duplicated().any()).item():
            return True
    return False


def _content(path: Path) -> object:
    if path.name != MANIFEST:
        return path.read_bytes()
    manifest = json.loads(path.read_bytes())
    return {
        name: value for name, value in manifest.items() if name not in ("fetched_at", "previous", "manifest_sha256")
    }


def _earlier(manifest: Path) -> set[Path]:
    """The files of the earlier versions that a manifest names."""
    versions = json.loads(manifest.read_bytes()).get("previous", [])
    return {manifest.parent / version["object"] for version in versions}
