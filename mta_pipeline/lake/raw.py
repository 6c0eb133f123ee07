"""The raw layer: data as published, compressed losslessly, with a manifest.

`raw/<table>[/week=YYYY-MM-DD]/` holds `manifest.json` and the objects that it names. The name of an object contains the
first digits of the sha256 of its contents. The manifest is written last and atomically. A reader therefore always finds
all objects of a version, even if a writer died or another version is landing. `raw_files` fetches turnstile files,
`raw_pages` pages of the portal. `turnstile` and `sources.socrata` parse the contents.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final, Generic, NamedTuple, TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError
from upath import UPath

from mta_pipeline.lake.digests import JSON, JSON_KEYS
from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.storage import (
    Found,
    files_in,
    folder_lock,
    generation,
    location,
    read_bytes,
    remove,
    set_aside,
    weeks_there,
    write_atomically,
)

RAW: Final = "raw"
MANIFEST: Final = "manifest.json"
CODEC: Final = "zstd"


class DamagedRawFile(ValueError):
    """Raw data do not match their manifest, or the manifest cannot be read. Landing the week again repairs it."""


def packed(contents: bytes) -> memoryview:
    """Compress the contents of an object."""
    import pyarrow as pa  # noqa: PLC0415  # slow to import, and not needed to list landed weeks

    return memoryview(pa.compress(contents, codec=CODEC))


def unpacked_object(path: UPath, size: int | None = None) -> bytes:
    """Return the unpacked contents of an object, at most one byte more than `size`, which limits memory.

    Raises:
        OSError: the object is missing, or cannot be unpacked.
    """
    return unpacked_bytes(read_bytes(path), size)


def unpacked_bytes(stored: bytes | memoryview, size: int | None = None) -> bytes:
    """Return the unpacked contents of the bytes of an object, as `unpacked_object`. Raises OSError if it cannot."""
    import pyarrow as pa  # noqa: PLC0415

    stream = pa.CompressedInputStream(pa.BufferReader(stored), CODEC)
    return bytes(stream.read() if size is None else stream.read(size + 1))


def is_damaged(name: str, stored: bytes) -> bool:
    """Whether the bytes of an object cannot be unpacked, or do not match the sha256 in its name."""
    try:
        return hashlib.sha256(unpacked_bytes(stored)).hexdigest()[:12] not in name
    except (OSError, ValueError):
        return True


def line_bytes(lines: pl.Series) -> bytes:
    """Encode line numbers as little-endian 32-bit integers."""
    return lines.to_numpy().astype("<i4").tobytes()


def line_numbers(contents: bytes) -> pl.Series:
    """Decode line numbers, Int32. Raises ValueError if the contents are no line numbers."""
    import numpy as np  # noqa: PLC0415

    return pl.Series("line", np.frombuffer(contents, "<i4"), pl.Int32)


def stored_lines(path: UPath, size: int | None = None) -> pl.Series:
    """Return the line numbers in an object, whose name contains their sha256.

    Raises:
        OSError, ValueError: the object is missing or damaged.
    """
    contents = unpacked_object(path, size)
    if hashlib.sha256(contents).hexdigest()[:12] not in path.name:
        raise ValueError(f"{path.name} does not match the sha256 in its name")
    return line_numbers(contents)


class Manifest(BaseModel):
    """Base of `FileManifest` and `PagesManifest`. Each declares all its fields: their order is that of the JSON."""

    model_config = ConfigDict(frozen=True)

    if TYPE_CHECKING:
        sha256: str
        size: int

    @property
    @abstractmethod
    def objects(self) -> tuple[str, ...]:
        """The names of the objects of the landed contents."""

    @property
    def all_objects(self) -> tuple[str, ...]:
        """The names of all objects that stay beside the manifest."""
        return self.objects


_Manifest = TypeVar("_Manifest", bound=Manifest)


class Before(NamedTuple, Generic[_Manifest]):
    """The contents of a folder when a landing began."""

    manifest: _Manifest | None
    """The manifest, if it can be read and the new landing may reuse its objects."""
    readable: _Manifest | None
    """The manifest, if it can be read."""
    generation: int | None
    files: Collection[Found]


class RawFolders(ABC, Generic[_Manifest]):
    """The raw data of one table below a lake's root: one folder per week, or one folder for all data."""

    manifest_type: ClassVar[type[Manifest]]
    lake_root: str

    @property
    @abstractmethod
    def table(self) -> str:
        """The name of the table."""

    def path(self, week: str | None) -> UPath:
        """Return the folder of a week, or the folder of all data if `week` is None."""
        folder = location(self.lake_root) / RAW / self.table
        return folder / f"week={week}" if week else folder

    def weeks(self) -> set[str]:
        """Return the weeks that have landed, that is, have a manifest."""
        return weeks_there(self.lake_root, RAW, self.table, MANIFEST)

    def manifest(self, week: str | None) -> _Manifest | None:
        """Return the manifest of a week, or None if the week has not landed.

        Raises:
            DamagedRawFile: the manifest cannot be read.
        """
        path = self.path(week) / MANIFEST
        try:
            contents = read_bytes(path)
            if found := JSON.problem(contents):
                raise DamagedRawFile(f"{path}: the manifest is damaged: {found}; {self._remedy(week)}.")
            return self.manifest_type.model_validate_json(contents)  # type: ignore[return-value]
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise DamagedRawFile(f"{path}: this is not a valid manifest; {self._remedy(week)}.") from error

    def version(self, week: str | None) -> str | None:
        """Return the sha256 of the landed contents, or None without any. Raises the same as `manifest`."""
        manifest = self.manifest(week)
        return None if manifest is None else manifest.sha256

    def problem(self, week: str | None, *, contents: bool = True) -> str | None:
        """Say what is wrong with the landed data of a week, and where; None if nothing is.

        Without `contents`, no object is read: a manifest that cannot be read and a missing object are found.
        """
        try:
            manifest = self.manifest(week)
        except DamagedRawFile as error:
            return str(error)
        folder = self.path(week)
        if manifest is None:
            return f"{folder}: there is no manifest; {self._remedy(week)}."
        for name in sorted(set(manifest.objects) - _names_in(folder)):
            return self._unless_replaced(week, manifest, f"{folder / name}: the object is missing", contents=contents)
        for name in manifest.objects if contents else ():
            with suppress(FileNotFoundError):  # another version has landed in the meantime
                if is_damaged(name, read_bytes(folder / name)):
                    what = f"{folder / name}: the object does not match the sha256 in its name"
                    return self._unless_replaced(week, manifest, what, contents=contents)
        return None

    def _unless_replaced(self, week: str | None, manifest: _Manifest, what: str, *, contents: bool) -> str | None:
        if self._readable_manifest(week) != manifest:
            return self.problem(week, contents=contents)
        return f"{what}; {self._remedy(week)}."

    def set_damaged_aside(self, week: str | None) -> None:
        """Rename the damaged objects of a week, so that they count as missing and land again.

        Raises:
            OSError: an object cannot be read or renamed.
        """
        manifest = self._readable_manifest(week)
        for name in manifest.objects if manifest else ():
            set_aside(self.path(week) / name, partial(is_damaged, name))

    def _readable_manifest(self, week: str | None) -> _Manifest | None:
        try:
            return self.manifest(week)
        except DamagedRawFile:
            return None

    def _intact_manifest(self, week: str | None) -> _Manifest | None:
        manifest = self._readable_manifest(week)
        return manifest if manifest and self._is_intact(week, manifest) else None

    def _is_intact(self, week: str | None, manifest: _Manifest) -> bool:
        """Whether the objects that the manifest names exist, so that the week need not land again."""
        return _names_in(self.path(week)).issuperset(manifest.objects)

    def _before(self, week: str | None) -> Before[_Manifest]:
        """Return the contents of the folder, to compare with at the end of the landing."""
        folder = self.path(week)
        # The generation comes first, so that a manifest written after it is noticed.
        written = generation(folder / MANIFEST)
        readable = self._readable_manifest(week)
        intact = readable if readable and self._is_intact(week, readable) else None
        return Before(intact, readable, written, files_in(folder))

    def _keep(
        self,
        week: str | None,
        manifest: _Manifest,
        objects: Mapping[str, bytes | memoryview | None],
        before: Before[_Manifest],
    ) -> None:
        """End a landing: write the objects and the manifest, and remove all files that the manifest does not name.

        Args:
            week: the week that landed.
            manifest: the new manifest. It is not written if it equals the previous one and no file has to be removed.
            objects: new objects that the manifest names, with their contents, or None for those already written.
            before: the result of `_before` when the landing began.

        Raises:
            ConcurrentWriteError: another run has landed the week in the meantime. Its version remains.
        """
        folder = self.path(week)
        # A writer that died may have left other versions. Week folders inside a table's folder are not leftovers.
        leftovers = [
            found
            for found in before.files
            if found.path.name not in (MANIFEST, *manifest.all_objects) and not found.path.name.startswith("week=")
        ]

        def is_unchanged() -> bool:
            return (
                generation(folder / MANIFEST) == before.generation and self._readable_manifest(week) == before.readable
            )

        with folder_lock(folder):
            for name, payload in objects.items():
                if payload is not None:
                    # A run that writes the same name writes the same contents, because the name contains their sha256.
                    write_atomically(folder / name, payload)
            if leftovers or manifest != before.readable:
                # Before the removals, so that a run that is between its objects and its manifest fails.
                self._write_manifest(week, manifest, is_unchanged)
            elif not is_unchanged():
                raise ConcurrentWriteError(f"{folder}: another run has landed another version in the meantime")
            for found in leftovers:
                remove(found)

    def _write_manifest(self, week: str | None, manifest: _Manifest, precondition: Callable[[], bool]) -> None:
        entries = manifest.model_dump_json(indent=2).removesuffix("\n}")
        sealed = JSON.sealed(f"{entries},\n  {JSON_KEYS}\n}}")
        write_atomically(self.path(week) / MANIFEST, sealed, precondition=precondition)

    def _remedy(self, week: str | None) -> str:
        return f"materialize {RAW}/{self.table}{f' for {week}' if week else ''} again"


def _names_in(folder: UPath) -> set[str]:
    return {found.path.name for found in files_in(folder)}
