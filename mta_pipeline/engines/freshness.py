"""Whether marts and warehouse are made from the files that are in the lake now, and verification of these files."""

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from upath import UPath

from mta_pipeline.lake.digests import JSON, JSON_KEYS, DamagedFile
from mta_pipeline.lake.inputs import Inputs, current_inputs, verify_inputs
from mta_pipeline.lake.parquet import read
from mta_pipeline.lake.storage import part_path, parts_to_repair, write_atomically
from mta_pipeline.marts import lake_tables
from mta_pipeline.schema import Table
from mta_pipeline.tables import TABLES

_HEADER: Final = 64
"""Bytes at the beginning of a DuckDB file that hold its format and the version that has written it."""


def verified_inputs(lake_root: str, marts: Collection[Table], day: str) -> Mapping[str, Inputs]:
    """Return the files that each mart will be made from, by name, after verifying those that are new to the marts.

    Raises:
        DamagedFile: files are damaged and set aside, now or earlier, and not made again. The message names them.
    """
    needed = {mart.name: lake_tables(mart.name) for mart in marts}
    if aside := [
        part
        for layer in ("staged", "lake")
        for part in parts_to_repair(lake_root, layer)
        if any(part.table in tables for tables in needed.values())
    ]:
        paths = ", ".join(sorted(str(part.path(lake_root)) for part in aside))
        raise DamagedFile(f"Damaged, set aside and not made again yet: {paths}. Launch a run over these weeks first.")
    current = current_inputs(lake_root, TABLES)
    found = {mart: current.of(tables) for mart, tables in needed.items()}
    new = {part for mart in marts for part in found[mart.name].changed_since(Inputs.recorded_in(lake_root, mart))}
    read = {part: version for inputs in found.values() for part, version in inputs.versions.items()}
    verify_inputs(lake_root, Inputs(read), new, day)
    return found


def mart_problem(lake_root: str, mart: Table, current: Inputs) -> str | None:
    """Say why the file of a mart must be made again; None if it is intact and made from the current files.

    Args:
        lake_root: the lake's location.
        mart: the mart.
        current: the files of all tables in the lake.
    """
    try:
        read(part_path(lake_root, mart.layer, mart.name))
    except (FileNotFoundError, ValueError) as error:
        return str(error)
    is_current = Inputs.recorded_in(lake_root, mart) == current.of(lake_tables(mart.name))
    return None if is_current else f"{mart.layer}/{mart.name} is made from other files than those in the lake now"


def warehouse_problem(file: Path, current: Inputs | None = None) -> str | None:
    """Say why a warehouse file must be written again; None if it is intact and, if given, made from these files."""
    try:
        if damage := JSON.problem(_manifest(file).read_bytes()):
            return f"{_manifest(file)} is damaged: {damage}"
        written = json.loads(_manifest(file).read_text())
        if hashlib.sha256(file.read_bytes()).hexdigest() != written["sha256"]:
            return f"{file} does not match the sha256 in {_manifest(file).name}"
    except FileNotFoundError as error:
        return f"{error.filename} does not exist"
    except (ValueError, KeyError, TypeError):
        return f"{_manifest(file)} cannot be read"
    is_current = current is None or written.get("made_from") == current.fingerprint
    return None if is_current else f"{file} is made from other files than those in the lake now"


def begins_as_recorded(file: Path) -> bool:
    """Whether a warehouse file begins as the one that the pipeline has written, whatever follows."""
    with suppress(OSError, ValueError, KeyError):
        return bytes.fromhex(json.loads(_manifest(file).read_text())["begins"]).startswith(file.read_bytes()[:_HEADER])
    return False


def record_warehouse(file: Path, contents: bytes, made_from: Inputs) -> None:
    """Write the manifest of a warehouse file, `<file>.json`: its sha256, its header, and what it is made from."""
    manifest = {
        "sha256": hashlib.sha256(contents).hexdigest(),
        "begins": contents[:_HEADER].hex(),
        "made_from": made_from.fingerprint,
    }
    entries = json.dumps(manifest, indent=2).removesuffix("\n}")
    write_atomically(UPath(_manifest(file)), JSON.sealed(f"{entries},\n  {JSON_KEYS}\n}}"))


def _manifest(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")
