"""Turnstile files as published: `raw/turnstile_file/week=YYYY-MM-DD/` holds the file of the week; see `raw`.

Of two landings of the same week at once, the one whose fetch began before the other ended fetches again.
"""

import datetime as dt
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, cast

from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.raw import CODEC, RAW, DamagedRawFile, Manifest, RawFolders
from mta_pipeline.lake.storage import folder_lock, read_bytes
from mta_pipeline.telemetry.tracing import span
from mta_pipeline.weeks import file_name

if TYPE_CHECKING:
    from mta_pipeline.sources.turnstile_files import Feed, PublishedFile

RAW_TABLE: Final = (RAW, "turnstile_file")


class FileManifest(Manifest):
    """What was published: where it came from, its sha256 and size unpacked, and what the feed said of it."""

    file: str
    """The name as published, turnstile_YYMMDD.txt."""
    object: str
    """The name of the compressed file beside the manifest."""
    source: str
    sha256: str
    size: int
    """Bytes as published, unpacked."""
    fetched_at: dt.datetime
    etag: str | None = None
    last_modified: dt.datetime | None = None

    @property
    def signature(self) -> tuple[str | None, dt.datetime | None]:
        """What the feed says of the file without sending it."""
        return self.etag, self.last_modified

    def seen_as(self, file: "PublishedFile") -> "FileManifest":
        """The manifest of the same contents, of which the feed now says something else."""
        return self.model_copy(update={"etag": file.etag, "last_modified": file.last_modified})


class Landed(NamedTuple):
    """The published bytes of a landed week, unpacked, and their sha256."""

    published: bytes
    sha256: str


@dataclass(frozen=True)
class RawFiles(RawFolders[FileManifest]):
    """The landed turnstile files below a lake's root."""

    manifest_type = FileManifest

    lake_root: str

    @property
    def table(self) -> str:
        """turnstile_file."""
        return RAW_TABLE[1]

    def read(self, week: str) -> bytes | None:
        """The published bytes of a week, unpacked, or None if the week has not landed. Raises as `load` does."""
        landed = self.load(week)
        return landed and landed.published

    def load(self, week: str) -> Landed | None:
        """The published bytes of a week and their sha256, or None if the week has not landed.

        Raises:
            DamagedRawFile: the object is missing, cannot be unpacked or has other contents than its manifest says.
        """
        import pyarrow as pa  # noqa: PLC0415  # slow to import; to know what has landed goes without

        manifest = self.manifest(week)
        if manifest is None:
            return None
        path = self.path(week) / manifest.object
        try:
            # Not much more than the manifest says is unpacked, whatever the object holds.
            published = pa.CompressedInputStream(pa.BufferReader(read_bytes(path)), CODEC).read(manifest.size + 1)
        except OSError as error:
            if self.manifest(week) != manifest:  # another version has landed meanwhile
                return self.load(week)
            raise DamagedRawFile(f"{path}: {error}; {self._remedy(week)}.") from error
        if hashlib.sha256(published).hexdigest() != manifest.sha256:
            raise DamagedRawFile(
                f"{path}: {len(published):,} bytes that are not the {manifest.size:,} its manifest names by sha256; "
                f"{self._remedy(week)}."
            )
        return Landed(published, manifest.sha256)

    def land(self, feed: "Feed", week: str) -> tuple[FileManifest, bool]:
        """Fetch a week and keep it; returns its manifest and whether its contents are new.

        The same contents leave the manifest as it was, so that a repeat changes nothing; only if the feed has another
        etag or time for them, that is noted.

        Raises:
            whatever the feed raises; then nothing has changed.
        """
        import pyarrow as pa  # noqa: PLC0415

        before = self._before(week)
        packed = pa.BufferOutputStream()
        with span("fetch") as traced, pa.CompressedOutputStream(packed, CODEC) as sink:
            fetched = feed.fetch(week, cast(BinaryIO, sink))
            traced.add(bytes_in=fetched.size)
        name = file_name(week)
        landed = FileManifest(
            file=name,
            object=f"{name.removesuffix('.txt')}.{fetched.sha256[:12]}.txt.zst",
            source=fetched.file.url,
            sha256=fetched.sha256,
            size=fetched.size,
            fetched_at=fetched.fetched_at,
            etag=fetched.file.etag,
            last_modified=fetched.file.last_modified,
        )
        is_new = before.manifest is None or before.manifest.sha256 != landed.sha256
        manifest = landed if before.manifest is None or is_new else before.manifest.seen_as(fetched.file)
        try:
            with span("write") as traced:
                traced.add(bytes=len(packed.getvalue()))
                self._keep(week, manifest, {manifest.object: memoryview(packed.getvalue())}, before)
        except ConcurrentWriteError:
            return self.land(feed, week)
        return manifest, is_new

    def available_version(self, feed: "Feed", week: str) -> str | None:
        """The sha256 of a landed week's contents as the feed offers them now; None if the week has not landed.

        The contents are only fetched if etag and modification time do not already say that nothing changed. If they
        turn out to be the same after all, the manifest takes note, so that the next look is cheap.
        """
        unchanged = self.manifest_if_unchanged(feed, week)
        if unchanged is not None:
            return unchanged.sha256
        manifest = self._manifest_if_sound(week)
        if manifest is None:
            return None
        with Path(os.devnull).open("wb") as nowhere:
            fetched = feed.fetch(week, nowhere)
        if fetched.sha256 == manifest.sha256:
            # Who looks may not be allowed to write, and who lands the week knows better.
            with suppress(OSError, ConcurrentWriteError), folder_lock(self.path(week)):
                noted = manifest.seen_as(fetched.file)
                self._write_manifest(week, noted, lambda: self._manifest_if_sound(week) == manifest)
        return fetched.sha256

    def manifest_if_unchanged(self, feed: "Feed", week: str) -> FileManifest | None:
        """The manifest of a landed week of which the feed says what it said then, or that it no longer has."""
        manifest = self._manifest_if_sound(week)
        if manifest is None:
            return None
        offered = feed.look(week)
        if offered is None:
            return manifest
        signature = (offered.etag, offered.last_modified)
        return manifest if any(signature) and signature == manifest.signature else None

    def is_current(self, feed: "Feed", week: str) -> bool:
        """Whether a week has landed with the contents that the feed offers now. Raises as `available_version` does."""
        version = self.available_version(feed, week)
        manifest = self._manifest_if_sound(week)
        return manifest is not None and manifest.sha256 == version
