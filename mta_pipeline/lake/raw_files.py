"""Raw turnstile files: `raw/turnstile_file/week=YYYY-MM-DD/` holds the published file of the week; see `raw`.

If two runs land the same week at once, the run that ends second fetches the file again.
"""

import datetime as dt
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, cast

import polars as pl

from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.raw import (
    CODEC,
    RAW,
    DamagedRawFile,
    Manifest,
    RawFolders,
    line_bytes,
    packed,
    stored_lines,
    unpacked_object,
)
from mta_pipeline.lake.storage import folder_lock
from mta_pipeline.sources.turnstile_files import ExportRows
from mta_pipeline.telemetry.tracing import span
from mta_pipeline.weeks import file_name

if TYPE_CHECKING:
    from mta_pipeline.sources.turnstile_files import Feed, PublishedFile

RAW_TABLE: Final = (RAW, "turnstile_file")


class FileManifest(Manifest):
    """The manifest of a published file. sha256 and size are those of the unpacked bytes."""

    file: str
    """The name of the weekly file, turnstile_YYMMDD.txt, without .gz or .zip."""
    object: str
    """The name of the compressed file beside the manifest."""
    source: str
    """The URL or path from which it was fetched."""
    sha256: str
    size: int
    """Number of unpacked bytes."""
    fetched_at: dt.datetime
    etag: str | None = None
    last_modified: dt.datetime | None = None
    lines: str | None = None
    """The name of the compressed line numbers beside the manifest, for rows of exports."""
    exports: tuple[ExportRows, ...] = ()
    """The exports that the rows come from. Without any, the file itself was published."""

    @property
    def signature(self) -> tuple[str | None, dt.datetime | None]:
        """ETag and modification time, which the feed gives without sending the file."""
        return self.etag, self.last_modified

    def with_signature_of(self, file: "PublishedFile") -> "FileManifest":
        """Return the manifest with the feed's current ETag and modification time, for unchanged contents."""
        return self.model_copy(update={"etag": file.etag, "last_modified": file.last_modified})


class Landed(NamedTuple):
    """The published bytes of a landed week, unpacked, and their sha256."""

    published: bytes
    sha256: str
    lines: pl.Series | None = None
    """The number of each line in its export; None if the file itself was published."""


@dataclass(frozen=True)
class RawFiles(RawFolders[FileManifest]):
    """The landed turnstile files below a lake's root."""

    manifest_type = FileManifest

    lake_root: str

    @property
    def table(self) -> str:
        """The name of the table, turnstile_file."""
        return RAW_TABLE[1]

    def read(self, week: str) -> bytes | None:
        """Return the unpacked bytes of a week, or None if it has not landed. Raises the same as `load`."""
        landed = self.load(week)
        return landed and landed.published

    def load(self, week: str) -> Landed | None:
        """Return the unpacked bytes of a week and their sha256, or None if the week has not landed.

        Raises:
            DamagedRawFile: the object is missing, cannot be unpacked, or does not match the manifest.
        """
        manifest = self.manifest(week)
        if manifest is None:
            return None
        path = self.path(week) / manifest.object
        try:
            published = unpacked_object(path, manifest.size)
            lines = None if manifest.lines is None else stored_lines(self.path(week) / manifest.lines)
        except (OSError, ValueError) as error:
            if self.manifest(week) != manifest:  # another version has landed in the meantime
                return self.load(week)
            raise DamagedRawFile(f"{path}: {error}; {self._remedy(week)}.") from error
        if hashlib.sha256(published).hexdigest() != manifest.sha256:
            raise DamagedRawFile(
                f"{path}: its contents ({len(published):,} bytes) do not match the sha256 in the manifest "
                f"({manifest.size:,} bytes); {self._remedy(week)}."
            )
        return Landed(published, manifest.sha256, lines)

    def land(self, feed: "Feed", week: str) -> tuple[FileManifest, bool]:
        """Fetch a week and store it. Return its manifest and whether its contents are new.

        If the contents are unchanged, so is the manifest, except for a new ETag or modification time of the feed.

        Raises:
            FeedError: the feed cannot deliver the week. Nothing has changed.
        """
        import pyarrow as pa  # noqa: PLC0415

        before = self._before(week)
        text = pa.BufferOutputStream()
        with span("fetch") as traced, pa.CompressedOutputStream(text, CODEC) as sink:
            fetched = feed.fetch(week, cast(BinaryIO, sink))
            traced.add(bytes_in=fetched.size)
        name = file_name(week)
        stem = f"{name.removesuffix('.txt')}.{fetched.sha256[:12]}"
        numbers = None if fetched.lines is None else line_bytes(fetched.lines)
        landed = FileManifest(
            file=name,
            object=f"{stem}.txt.zst",
            source=fetched.file.url,
            sha256=fetched.sha256,
            size=fetched.size,
            fetched_at=fetched.fetched_at,
            etag=fetched.file.etag,
            last_modified=fetched.file.last_modified,
            lines=None if numbers is None else f"{stem}.{hashlib.sha256(numbers).hexdigest()[:12]}.lines.zst",
            exports=fetched.exports,
        )
        is_new = before.manifest is None or before.manifest.sha256 != landed.sha256
        # The same rows in another order have other line numbers. Those that readings have been staged with remain.
        remains = before.manifest is not None and not is_new and self._has_lines(week, before.manifest)
        manifest = before.manifest.with_signature_of(fetched.file) if before.manifest and remains else landed
        objects: dict[str, memoryview | None] = {manifest.object: memoryview(text.getvalue())}
        if manifest.lines is not None:
            objects[manifest.lines] = packed(numbers) if numbers and manifest.lines == landed.lines else None
        try:
            with span("write") as traced:
                traced.add(bytes=len(text.getvalue()))
                self._keep(week, manifest, objects, before)
        except ConcurrentWriteError:
            return self.land(feed, week)
        return manifest, is_new

    def _has_lines(self, week: str, manifest: FileManifest) -> bool:
        """Whether the line numbers that the manifest names, if any, are intact."""
        try:
            return manifest.lines is None or not stored_lines(self.path(week) / manifest.lines).is_empty()
        except (OSError, ValueError):
            return False

    def available_version(self, feed: "Feed", week: str) -> str | None:
        """Return the sha256 of the contents that the feed offers now, or None if the week has not landed.

        Fetches the file only if its ETag and modification time have changed, or the feed gives neither. If the contents
        are the same, the manifest records the new values, so that the next call need not fetch.
        """
        unchanged = self.manifest_if_unchanged(feed, week)
        if unchanged is not None:
            return unchanged.sha256
        manifest = self._intact_manifest(week)
        if manifest is None:
            return None
        with Path(os.devnull).open("wb") as sink:
            fetched = feed.fetch(week, sink)
        if fetched.sha256 == manifest.sha256:
            self._record_signature(week, manifest, fetched.file)
        return fetched.sha256

    def manifest_if_unchanged(self, feed: "Feed", week: str) -> FileManifest | None:
        """Return the manifest of a landed week if its contents are known to be unchanged, or no longer at the feed."""
        manifest = self._intact_manifest(week)
        if manifest is None:
            return None
        file = feed.look(week, manifest.etag)
        if file is None:
            return manifest
        if file.same_as is not None and file.same_as == manifest.etag:
            self._record_signature(week, manifest, file)
            return manifest
        signature = (file.etag, file.last_modified)
        return manifest if any(signature) and signature == manifest.signature else None

    def _record_signature(self, week: str, manifest: FileManifest, file: "PublishedFile") -> None:
        """Record the feed's current ETag and modification time of unchanged contents, if possible."""
        # The process may have no right to write, and a run that lands the week at the same time takes precedence.
        with suppress(OSError, ConcurrentWriteError), folder_lock(self.path(week)):
            updated = manifest.with_signature_of(file)
            self._write_manifest(week, updated, lambda: self._intact_manifest(week) == manifest)

    def is_current(self, feed: "Feed", week: str) -> bool:
        """Whether a week has landed with the contents that the feed offers now. Raises errors of the feed."""
        version = self.available_version(feed, week)
        manifest = self._intact_manifest(week)
        return manifest is not None and manifest.sha256 == version
