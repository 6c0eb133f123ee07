"""Raw turnstile files: `raw/turnstile_file/week=YYYY-MM-DD/` holds the published file of the week; see `raw`.

If two runs land the same week at once, the run that ends second fetches the file again. Other contents of a landed week
replace it, and the manifest keeps the earlier versions. Contents with far fewer readings stay pending until a person
accepts them, or the feed offers others.
"""

import datetime as dt
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Self, cast

import polars as pl

from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.parquet import row_count
from mta_pipeline.lake.raw import (
    CODEC,
    RAW,
    DamagedRawFile,
    Manifest,
    RawFolders,
    is_damaged,
    line_bytes,
    packed,
    stored_lines,
    unpacked_bytes,
    unpacked_object,
)
from mta_pipeline.lake.storage import folder_lock, part_path, read_bytes
from mta_pipeline.sources.turnstile_files import SAMPLE_NOTE, ExportRows
from mta_pipeline.telemetry.tracing import span
from mta_pipeline.turnstile.anomalies import LEAST_SHARE_OF_READINGS
from mta_pipeline.turnstile.complexes import control_areas
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS
from mta_pipeline.turnstile.parsing import UnreadableFile
from mta_pipeline.turnstile.readings import stage
from mta_pipeline.weeks import file_name

if TYPE_CHECKING:
    from mta_pipeline.sources.turnstile_files import Feed, PublishedFile

RAW_TABLE: Final = (RAW, "turnstile_file")

VERSIONS: Final = 2
"""Number of earlier versions of a week that are kept by default."""


_MANIFESTS_AT_ONCE: Final = 16


class NothingPendingError(LookupError):
    """A week has no pending version."""


class FileVersion(Manifest):
    """One version of a published file. sha256 and size are those of the unpacked bytes."""

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
    doubt: str | None = None
    """Why this version is pending, as the end of a sentence about it."""
    is_sample: bool = False
    """Whether the feed says that the data are synthetic."""

    @property
    def objects(self) -> tuple[str, ...]:
        """The names of the file and of its line numbers."""
        return (self.object,) if self.lines is None else (self.object, self.lines)

    @property
    def signature(self) -> tuple[str | None, dt.datetime | None]:
        """ETag and modification time, which the feed gives without sending the file."""
        return self.etag, self.last_modified

    def with_signature_of(self, file: "PublishedFile") -> Self:
        """Return the version with the feed's current ETag and modification time, for unchanged contents."""
        return self.model_copy(update={"etag": file.etag, "last_modified": file.last_modified})


class FileManifest(FileVersion):
    """The manifest of a week: its current version, and the others that are kept."""

    pending: FileVersion | None = None
    """The version that the feed offered last, if it may not replace the current one by itself."""
    previous: tuple[FileVersion, ...] = ()
    """The versions that were current before, the newest first."""

    @property
    def current(self) -> FileVersion:
        """The current version."""
        return FileVersion(**{name: getattr(self, name) for name in FileVersion.model_fields})

    @property
    def all_objects(self) -> tuple[str, ...]:
        """The names of the objects of all versions."""
        others = (*self.previous, *([self.pending] if self.pending else []))
        return tuple(dict.fromkeys(name for version in (self, *others) for name in version.objects))

    def while_offered(self, sha256: str, file: "PublishedFile") -> "FileManifest | None":
        """Return the manifest to record if the feed offers the current or the pending contents; None for others."""
        if self.pending and self.pending.sha256 == sha256:
            return self.model_copy(update={"pending": self.pending.with_signature_of(file)})
        return self.with_signature_of(file).model_copy(update={"pending": None}) if self.sha256 == sha256 else None


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
    versions: int = VERSIONS
    """Number of earlier versions of a week that a landing keeps."""

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

    def problem(self, week: str | None, *, contents: bool = True) -> str | None:
        """As in `RawFolders`. Contents are compared with the whole sha256 in the manifest."""
        found = super().problem(week, contents=False)
        if found or week is None or not contents:
            return found
        try:
            self.load(week)
        except DamagedRawFile as error:
            return str(error)
        return None

    def sample_weeks(self) -> list[str]:
        """Return the landed weeks whose data are synthetic, in order. Damaged manifests do not count."""
        weeks = sorted(self.weeks())
        with ThreadPoolExecutor(_MANIFESTS_AT_ONCE) as pool:
            manifests = zip(weeks, pool.map(self._readable_manifest, weeks), strict=True)
            return [week for week, manifest in manifests if manifest and _is_of_sample(manifest)]

    def land(self, feed: "Feed", week: str) -> tuple[FileManifest, bool]:
        """Fetch a week and store it. Return its manifest and whether its contents are new.

        If the contents are unchanged, so is the manifest, except for a new ETag or modification time of the feed. New
        contents that cannot be used, or have far fewer readings, become the pending version, and count as unchanged.

        Raises:
            FeedError: the feed cannot deliver the week. Nothing has changed.
        """
        import pyarrow as pa  # noqa: PLC0415

        before = self._before(week)
        buffer = pa.BufferOutputStream()
        with span("fetch") as traced, pa.CompressedOutputStream(buffer, CODEC) as sink:
            fetched = feed.fetch(week, cast(BinaryIO, sink))
            traced.add(bytes_in=fetched.size)
        text = buffer.getvalue().to_pybytes()
        name = file_name(week)
        stem = f"{name.removesuffix('.txt')}.{fetched.sha256[:12]}"
        numbers = None if fetched.lines is None else line_bytes(fetched.lines)
        landed = FileVersion(
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
            is_sample=fetched.is_sample,
        )
        current = before.readable
        is_new = current is None or current.sha256 != landed.sha256
        if current and (doubt := self._doubt(week, current, landed, text)):
            version, is_new = landed.model_copy(update={"doubt": doubt}), False
            manifest = current.model_copy(update={"pending": version})
        else:
            # The same rows in another order have other line numbers. Those that readings were staged with remain.
            remains = before.manifest is not None and not is_new and self._has_lines(week, before.manifest)
            version = before.manifest.current.with_signature_of(fetched.file) if before.manifest and remains else landed
            manifest = FileManifest(**dict(version), previous=self._previous(week, current, version))
        objects: dict[str, memoryview | None] = {version.object: memoryview(text)}
        if version.lines is not None:
            objects[version.lines] = packed(numbers) if numbers and version.lines == landed.lines else None
        try:
            with span("write") as traced:
                traced.add(bytes=len(text))
                self._keep(week, manifest, objects, before)
        except ConcurrentWriteError:
            return self.land(feed, week)
        return manifest, is_new

    def accept(self, week: str) -> FileManifest:
        """Make the pending version of a week the current one, and return its manifest. The other version is kept.

        Raises:
            NothingPendingError: there is no pending version.
            DamagedRawFile: its file is missing or damaged.
            ConcurrentWriteError: another run has landed the week in the meantime.
        """
        before = self._before(week)
        current = before.readable
        if current is None or current.pending is None:
            raise NothingPendingError(f"Week {week}: no version is pending in {self.path(week)}.")
        if not self._is_kept(week, current.pending):
            path = self.path(week) / current.pending.object
            raise DamagedRawFile(f"{path}: the pending version is missing or damaged; {self._remedy(week)}.")
        version = current.pending.model_copy(update={"doubt": None})
        accepted = FileManifest(**dict(version), previous=self._previous(week, current, version))
        self._keep(week, accepted, {}, before)
        return accepted

    def pending_problem(self, week: str) -> str | None:
        """Say which version of a week is pending, why, and what to do; None if there is none."""
        manifest = self._readable_manifest(week)
        if manifest is None or manifest.pending is None:
            return None
        pending = manifest.pending
        return (
            f"week {week}: the feed offers another version of {pending.file}, which is not used because "
            f"{pending.doubt}. The version of {manifest.fetched_at:%Y-%m-%d %H:%M} UTC stays. Check {pending.source}, "
            f"then use the new version with `mta-pipeline accept {week}`, or have it corrected at the feed."
        )

    def _doubt(self, week: str, current: FileManifest, landed: FileVersion, text: bytes) -> str | None:
        """Say why new contents may not replace the current version by themselves; None if they may."""
        if current.sha256 == landed.sha256:
            return None
        if current.pending and current.pending.sha256 == landed.sha256:
            return current.pending.doubt
        readings = self._readings(week)
        if not readings:
            return None
        try:
            offered = stage(unpacked_bytes(text), week, control_areas()).readings.height
        except UnreadableFile as error:
            return f"it cannot be used ({str(error).removesuffix('.')})"
        if offered < LEAST_SHARE_OF_READINGS * readings:
            return f"it has only {offered:,} readings and the current one {readings:,}"
        return None

    def _readings(self, week: str) -> int:
        """The number of readings of the current version; 0 if there are none."""
        with suppress(OSError, ValueError):  # missing, or damaged
            return row_count(part_path(self.lake_root, TURNSTILE_READINGS.layer, TURNSTILE_READINGS.name, week))
        with suppress(DamagedRawFile, UnreadableFile):
            return stage(self.read(week) or b"", week, control_areas()).readings.height
        return 0

    def _previous(self, week: str, manifest: FileManifest | None, new: FileVersion) -> tuple[FileVersion, ...]:
        """The intact versions of a manifest to keep beside a new current version."""
        known = () if manifest is None else (manifest.current, *manifest.previous)
        others = [version for version in known if version.sha256 != new.sha256]
        return tuple([version for version in others if self._is_kept(week, version)][: self.versions])

    def _is_kept(self, week: str, version: FileVersion) -> bool:
        try:
            return not any(is_damaged(name, read_bytes(self.path(week) / name)) for name in version.objects)
        except FileNotFoundError:
            return False

    def _has_lines(self, week: str, manifest: FileManifest) -> bool:
        """Whether the line numbers that the manifest names, if any, are intact."""
        try:
            return manifest.lines is None or not stored_lines(self.path(week) / manifest.lines).is_empty()
        except (OSError, ValueError):
            return False

    def available_version(self, feed: "Feed", week: str) -> str | None:
        """Return the sha256 of the contents that the feed offers now, or None if the week has to land.

        While the feed offers the pending contents, it is the sha256 of the current version. Fetches the file only if
        its ETag and modification time have changed, or the feed gives neither. If the contents are the same, the
        manifest records the new values, so that the next call need not fetch.
        """
        unchanged = self.manifest_if_unchanged(feed, week)
        if unchanged is not None:
            return unchanged.sha256
        manifest = self._intact_manifest(week)
        if manifest is None:
            return None
        with Path(os.devnull).open("wb") as sink:
            fetched = feed.fetch(week, sink)
        offered = manifest.while_offered(fetched.sha256, fetched.file)
        if offered is None:
            return fetched.sha256
        self._record(week, manifest, offered)
        return manifest.sha256

    def manifest_if_unchanged(self, feed: "Feed", week: str) -> FileManifest | None:
        """Return the manifest of a landed week if the feed is known to offer the same as when the week landed.

        It is also returned if the feed no longer offers the week. None if the week has to land, because an object is
        missing that the feed may have.
        """
        manifest = self._readable_manifest(week)
        if manifest is None:
            return None
        last = manifest.pending or manifest
        file = feed.look(week, last.etag)
        if file is None:
            return manifest
        signature = (file.etag, file.last_modified)
        is_same = file.same_as is not None and file.same_as == last.etag
        if not is_same and not (any(signature) and signature == last.signature):
            return None
        if is_same and (offered := manifest.while_offered(last.sha256, file)):
            self._record(week, manifest, offered)
        return manifest if manifest.pending or self._is_intact(week, manifest) else None

    def _record(self, week: str, manifest: FileManifest, updated: FileManifest) -> None:
        """Record what the feed offers now, if possible."""
        # The process may have no right to write, and a run that lands the week at the same time takes precedence.
        with suppress(OSError, ConcurrentWriteError), folder_lock(self.path(week)):
            self._write_manifest(week, updated, lambda: self._readable_manifest(week) == manifest)

    def is_current(self, feed: "Feed", week: str) -> bool:
        """Whether a week has landed with the contents that the feed offers now. Raises errors of the feed."""
        version = self.available_version(feed, week)
        manifest = self._readable_manifest(week)
        return manifest is not None and manifest.sha256 == version


def _is_of_sample(manifest: FileManifest) -> bool:
    # Manifests of earlier versions of the project do not say it, but the feed may still be there.
    return manifest.is_sample or Path(manifest.source).with_name(SAMPLE_NOTE).is_file()
