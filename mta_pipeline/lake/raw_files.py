"""The raw layer: the bytes as published, compressed losslessly, with a manifest beside them.

`raw/turnstile_file/week=YYYY-MM-DD/` holds `manifest.json` and the object it names, which bears the first digits of its
contents' sha256. The manifest is written last and in one step: whoever reads it finds the object whole, also when a
writer died or another version of the week is landing. Of two landings at once, the one whose fetch began before the
other ended fetches again. What the bytes mean is not known here.
"""

import datetime as dt
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from upath import UPath

from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.storage import (
    files_in,
    folder_lock,
    generation,
    location,
    read_bytes,
    remove,
    weeks_there,
    write_atomically,
)
from mta_pipeline.telemetry.tracing import span
from mta_pipeline.weeks import file_name

if TYPE_CHECKING:
    from mta_pipeline.sources.turnstile_files import Feed, PublishedFile

RAW_TABLE: Final = ("raw", "turnstile_file")
_CODEC: Final = "zstd"
MANIFEST: Final = "manifest.json"


class FileManifest(BaseModel):
    """What was published: where it came from, its sha256 and size unpacked, and what the feed said of it."""

    model_config = ConfigDict(frozen=True)

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


class DamagedRawFile(ValueError):
    """A landed file that does not hold what its manifest says; fetching the week again heals it."""


@dataclass(frozen=True)
class RawFiles:
    """The landed files below a lake's root."""

    lake_root: str

    def manifest(self, week: str) -> FileManifest | None:
        """The manifest of a week, or None if the week has not landed.

        Raises:
            DamagedRawFile: there is one that cannot be read.
        """
        path = self.path(week) / MANIFEST
        try:
            return FileManifest.model_validate_json(read_bytes(path))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise DamagedRawFile(f"{path}: not a manifest; materialize raw/turnstile_file for {week} again.") from error

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
            published = pa.CompressedInputStream(pa.BufferReader(read_bytes(path)), _CODEC).read(manifest.size + 1)
        except OSError as error:
            if self.manifest(week) != manifest:  # another version has landed meanwhile
                return self.load(week)
            raise DamagedRawFile(f"{path}: {error}; materialize raw/turnstile_file for {week} again.") from error
        if hashlib.sha256(published).hexdigest() != manifest.sha256:
            raise DamagedRawFile(
                f"{path}: {len(published):,} bytes that are not the {manifest.size:,} its manifest names by sha256; "
                f"materialize raw/turnstile_file for {week} again."
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

        folder = self.path(week)
        # In this order: whoever writes the manifest after the first step is noticed.
        seen, before, others = generation(folder / MANIFEST), self._manifest_if_sound(week), files_in(folder)
        packed = pa.BufferOutputStream()
        with span("fetch") as traced, pa.CompressedOutputStream(packed, _CODEC) as sink:
            fetched = feed.fetch(week, cast(BinaryIO, sink))
            traced.add(bytes_in=fetched.size)
        name = file_name(week)
        manifest = FileManifest(
            file=name,
            object=f"{name.removesuffix('.txt')}.{fetched.sha256[:12]}.txt.zst",
            source=fetched.file.url,
            sha256=fetched.sha256,
            size=fetched.size,
            fetched_at=fetched.fetched_at,
            etag=fetched.file.etag,
            last_modified=fetched.file.last_modified,
        )
        same = before is not None and before.sha256 == manifest.sha256
        kept = before.seen_as(fetched.file) if before is not None and same else manifest
        # Not the version before alone: a writer that died may have left others.
        leftovers = [other for other in others if other.path.name not in (MANIFEST, kept.object)]

        def nobody_else_landed() -> bool:
            return generation(folder / MANIFEST) == seen and self._manifest_if_sound(week) == before

        try:
            with span("write") as traced, folder_lock(folder):
                traced.add(bytes=len(packed.getvalue()))
                # Its name says its contents, so whoever else writes it writes the same.
                write_atomically(folder / kept.object, memoryview(packed.getvalue()))
                if leftovers or kept != before:
                    # Written anew before anything goes: a rival between its object and its manifest now fails.
                    self._write(week, kept, precondition=nobody_else_landed)
                elif not nobody_else_landed():
                    raise ConcurrentWriteError(f"{folder}: another version has landed meanwhile")
                for other in leftovers:
                    remove(other)
        except ConcurrentWriteError:
            return self.land(feed, week)
        return kept, not same

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
                self._write(week, noted, precondition=lambda: self._manifest_if_sound(week) == manifest)
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

    def weeks(self) -> set[str]:
        """The weeks that have landed."""
        return weeks_there(self.lake_root, *RAW_TABLE, MANIFEST)

    def path(self, week: str) -> UPath:
        """The folder that holds a week's file and manifest."""
        return location(self.lake_root).joinpath(*RAW_TABLE, f"week={week}")

    def _write(self, week: str, manifest: FileManifest, *, precondition: Callable[[], bool]) -> None:
        write_atomically(
            self.path(week) / MANIFEST, manifest.model_dump_json(indent=2).encode(), precondition=precondition
        )

    def _manifest_if_sound(self, week: str) -> FileManifest | None:
        try:
            return self.manifest(week)
        except DamagedRawFile:
            return None
