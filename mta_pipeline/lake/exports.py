"""Yearly exports as a source of weeks: `raw/turnstile_export/NAME/` holds an export of the feed, split into its weeks.

An export is read once per version, by the first process that needs one of its weeks. The weeks are stored in the lake,
so that other processes find them there. `turnstile.exports` splits the text, and `raw` describes the folder.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, BinaryIO, Final, NamedTuple
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict

from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.raw import (
    RAW,
    DamagedRawFile,
    Manifest,
    RawFolders,
    line_bytes,
    packed,
    stored_lines,
    unpacked_object,
)
from mta_pipeline.lake.storage import files_in, folder_lock, location, write_atomically
from mta_pipeline.sources.errors import BadFile, FeedSlow, FeedUnavailable, NotPublished
from mta_pipeline.sources.turnstile_files import (
    ExportFiles,
    ExportRows,
    Fetched,
    FileFeed,
    Listing,
    PublishedExport,
    PublishedFile,
)
from mta_pipeline.sources.turnstile_files.interface import named, named_days
from mta_pipeline.sources.turnstile_files.unpacking import unpacked
from mta_pipeline.telemetry.tracing import span
from mta_pipeline.turnstile.exports import WeekOfExport, days_missing, join_weeks, split_export
from mta_pipeline.turnstile.parsing import UnreadableFile
from mta_pipeline.weeks import FIRST_WEEK, saturday, weeks_between

EXPORTS: Final = "turnstile_export"

Progress = Callable[[str, int, int], None]
"""Is called while an export is read, with its name and the number of bytes read and in total."""


class StoredWeek(BaseModel):
    """A week of an export: its objects beside the manifest, and the properties of its text."""

    model_config = ConfigDict(frozen=True)

    object: str
    """The name of the compressed text."""
    lines: str
    """The name of the compressed line numbers."""
    sha256: str
    """The sha256 of the text, which does not depend on the order of the rows in the export."""
    size: int
    rows: int
    days: tuple[dt.date, ...]


class ExportManifest(Manifest):
    """The manifest of an export that is split into weeks. sha256 and size are those of the unpacked export."""

    file: str
    source: str
    sha256: str
    size: int
    rows: int
    fetched_at: dt.datetime
    signature: str | None
    """Changes with the file at the feed, as far as the feed's metadata shows."""
    weeks: Mapping[str, StoredWeek]
    undated: StoredWeek | None = None
    """The rows without a readable date."""
    unusable: str | None = None
    """Why no week is read from it. It is read again when it has changed."""

    @property
    def objects(self) -> tuple[str, ...]:
        """The names of the texts and line numbers of all weeks."""
        stored = [*self.weeks.values(), *([self.undated] if self.undated else [])]
        return tuple(name for week in stored for name in (week.object, week.lines))


@dataclass(frozen=True)
class SplitExport(RawFolders[ExportManifest]):
    """An export of the feed, stored by week below a lake's root."""

    manifest_type = ExportManifest

    lake_root: str
    export: PublishedExport

    @property
    def table(self) -> str:
        """The folder of the export below the raw layer."""
        return f"{EXPORTS}/{quote(self.export.name, safe=' ()')}"

    def current(self) -> ExportManifest | None:
        """Return the manifest if this version of the export is split already."""
        manifest = self._intact_manifest(None)
        is_current = manifest and manifest.source == self.export.url and manifest.signature == self.export.signature
        return manifest if is_current and self.export.signature else None

    def split(self, files: ExportFiles, progress: Progress | None, *, again: bool = False) -> ExportManifest:
        """Return the manifest, after reading the export if this version is not split yet, or `again` is set.

        If another process reads an export for a lake in the same directory, wait for it.

        Raises:
            FeedError: the feed cannot deliver the export.
        """
        with folder_lock(self.path(None).parent, is_held_long=True):
            return (None if again else self.current()) or self._split(files, progress)

    def week(self, week: str, stored: StoredWeek) -> WeekOfExport:
        """Return a stored week.

        Raises:
            DamagedRawFile: an object is missing, or does not match the manifest.
        """
        folder = self.path(None)
        try:
            lines = stored_lines(folder / stored.lines, 4 * (stored.rows + 1))
            found = WeekOfExport(week, unpacked_object(folder / stored.object, stored.size), lines, stored.days)
        except (OSError, ValueError) as error:
            raise DamagedRawFile(f"{folder}: {error}.") from error
        if found.sha256 != stored.sha256:
            raise DamagedRawFile(f"{folder / stored.object}: it does not match the sha256 in the manifest.")
        return found

    def _split(self, files: ExportFiles, progress: Progress | None) -> ExportManifest:
        export, before, digest, size = self.export, self._before(None), hashlib.sha256(), 0

        def chunks(stored: IO[bytes]) -> Iterator[bytes]:
            nonlocal size
            total = stored.seek(0, SEEK_END)
            try:
                for chunk in unpacked(stored, export):
                    digest.update(chunk)
                    size += len(chunk)
                    if progress and stored.tell() < total:
                        progress(export.name, stored.tell(), total)
                    yield chunk
            except OSError as error:
                raise FeedUnavailable(f"{export.subject}: reading failed ({error}). Try again later.") from error
            if export.size not in (None, total):
                raise FeedUnavailable(f"{export.subject}: it was replaced in the meantime. Try again.")
            if progress:
                progress(export.name, total, total)

        weeks, unusable = {}, None
        with files.open_export(export) as stored, TemporaryDirectory() as folder, span("split") as traced:
            try:
                for week in split_export(chunks(stored), export.name, Path(folder)):
                    weeks[week.week] = self._store(week)
            except (BadFile, UnreadableFile) as error:
                weeks, unusable = {}, str(error)
            traced.add(bytes_in=size)
        undated = weeks.pop(None, None)
        manifest = ExportManifest(
            file=export.name,
            source=export.url,
            sha256=digest.hexdigest(),
            size=size,
            rows=sum(each.rows for each in weeks.values()),
            fetched_at=dt.datetime.now(dt.UTC),
            signature=export.signature,
            weeks={str(week): stored_week for week, stored_week in weeks.items()},
            undated=undated,
            unusable=unusable,
        )
        with suppress(ConcurrentWriteError):  # Another process has split it, too.
            self._keep(None, manifest, dict.fromkeys(manifest.objects), before)
        return manifest

    def _store(self, week: WeekOfExport) -> StoredWeek:
        lines, stem = line_bytes(week.lines), week.week or "undated"
        names = f"{stem}.{week.sha256[:12]}.txt.zst", f"{stem}.{hashlib.sha256(lines).hexdigest()[:12]}.lines.zst"
        for name, contents in zip(names, (week.text, lines), strict=True):
            write_atomically(self.path(None) / name, packed(contents))
        return StoredWeek(
            object=names[0], lines=names[1], sha256=week.sha256, size=len(week.text), rows=week.rows, days=week.days
        )

    def _is_intact(self, week: str | None, manifest: ExportManifest) -> bool:  # noqa: ARG002
        """True: an object is needed only while its week lands, and a read that fails reads the export again."""
        return True

    def _remedy(self, week: str | None) -> str:  # noqa: ARG002
        return "remove it, and the export will be read again"


def stored_exports(lake_root: str) -> list[SplitExport]:
    """Return the exports that a lake holds, by name in order, with one listing."""
    folder = location(lake_root) / RAW / EXPORTS
    names = {found.path.path.removeprefix(f"{folder.path}/").partition("/")[0] for found in files_in(folder)}
    return [SplitExport(lake_root, PublishedExport(unquote(name), "")) for name in sorted(names)]


class _Part(NamedTuple):
    """The rows of a week that one export has."""

    split: SplitExport
    manifest: ExportManifest
    stored: StoredWeek


class ExportsFeed:
    """A feed whose location can hold yearly exports. The weekly files there take precedence over exports.

    With `fail_fast` no export is read. Its weeks are then those of the year in its name until another process has read
    it, and fetching one of them raises FeedSlow.
    """

    def __init__(
        self, files: FileFeed, lake_root: str, progress: Progress | None = None, *, fail_fast: bool = False
    ) -> None:
        self._files = files
        self._lake_root = lake_root
        self._progress = progress
        self._fail_fast = fail_fast
        self._manifests: dict[str, ExportManifest | BadFile | None] = {}

    @property
    def location(self) -> str:
        """The location of the files."""
        return self._files.location

    def available_weeks(self) -> Mapping[str, PublishedFile]:
        """Return the weeks with a weekly file, and those that the exports hold completely, in order."""
        listing = self.listing_unless(None)
        return {} if listing is None else listing.weeks

    def listing_unless(self, version: str | None) -> Listing | None:
        """Return the available weeks, or None if the list still has this version. With exports, it has no version."""
        listing = self._files.listing_unless(version)
        if listing is None or not self._exports:
            return listing
        notes, weeks, parts = list(listing.notes), dict[str, PublishedFile](), dict[str, dict[str, _Part]]()
        for export in self._exports:
            manifest = self._manifest(export)
            if manifest is None:
                # Without a year in the name, one week is enough: the run that asks for it reads the export.
                weeks |= {week: _unread(week, export) for week in _weeks_of(export)[: None if export.years else 1]}
            elif isinstance(manifest, BadFile):
                notes.append(f"{manifest} It is not used.")
            else:
                notes += _undated(self._split(export), manifest)
                for week, stored in manifest.weeks.items():
                    parts.setdefault(week, {}).setdefault(stored.sha256, self._part(export, manifest, week))
        for week in sorted(parts.keys() - listing.weeks.keys() - weeks.keys()):
            of_week = list(parts[week].values())
            if missing := _days_missing(week, of_week):
                notes.append(f"Week {week} is not available: {_incomplete(of_week, missing)}")
            else:
                weeks[week] = _published(week, of_week)
        weeks |= listing.weeks
        return Listing({week: weeks[week] for week in sorted(weeks)}, None, notes)

    def look(self, week: str, known: str | None = None) -> PublishedFile | None:
        """Return the weekly file, or what the exports hold of the week; None if they have nothing of it."""
        if file := self._files.look(week, known):
            return file
        parts, unread = self._parts(week)
        if unread:
            return _unread(week, unread[0])
        return _published(week, parts) if parts else None

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        """Write the weekly file, or the rows of the exports, to the sink."""
        try:
            return self._files.fetch(week, sink)
        except NotPublished as error:
            parts, unread = self._parts(week)
            if unread:
                raise FeedSlow(f"{unread[0].subject}: it has not been read yet. A run will read it.") from None
            if not parts:
                exports = ", and no export has rows of this week" if self._exports else ""
                raise NotPublished(f"{str(error).removesuffix('.')}{exports}.") from None
        if missing := _days_missing(week, parts):
            raise BadFile(f"Week {week} at {self.location}: {_incomplete(parts, missing)}")
        joined = join_weeks([self._week(week, part) for part in parts])
        sink.write(joined.text)
        return Fetched(
            _published(week, parts),
            joined.sha256,
            len(joined.text),
            dt.datetime.now(dt.UTC),
            joined.lines,
            tuple(ExportRows(part.manifest.file, part.manifest.sha256, part.stored.rows) for part in parts),
            self._files.is_sample,
        )

    @cached_property
    def _exports(self) -> Sequence[PublishedExport]:
        return self._files.exports()

    def _split(self, export: PublishedExport) -> SplitExport:
        return SplitExport(self._lake_root, export)

    def _manifest(self, export: PublishedExport) -> ExportManifest | BadFile | None:
        """The manifest of an export, or why it cannot be used; None if it must be read first, with `fail_fast`."""
        if export.name not in self._manifests:
            found = self._split(export).current()
            try:
                if found is None and not self._fail_fast:
                    found = self._split(export).split(self._files, self._progress)
            except BadFile as error:  # It is not there, or too large.
                self._manifests[export.name] = error
            else:
                self._manifests[export.name] = BadFile(found.unusable) if found and found.unusable else found
        return self._manifests[export.name]

    def _part(self, export: PublishedExport, manifest: ExportManifest, week: str) -> _Part:
        return _Part(self._split(export), manifest, manifest.weeks[week])

    def _parts(self, week: str) -> tuple[list[_Part], list[PublishedExport]]:
        """The parts of a week, without repetitions, and the exports that may have others but are not read yet.

        Raises:
            BadFile: parts are missing, and the export of that year cannot be used.
        """
        parts, unread, bad = dict[str, _Part](), list[PublishedExport](), list[BadFile]()
        likely = [export for export in self._exports if week in _weeks_of(export)]
        others = [export for export in self._exports if export not in likely]
        # An export is read only if it is needed: first those with the year in their name.
        for export in (*likely, *others):
            if export in others and parts and not _days_missing(week, list(parts.values())):
                break
            manifest = self._manifest(export)
            if manifest is None:
                unread += [export] if export in likely else []
            elif isinstance(manifest, BadFile):
                is_meant = export.url == self.location or (export.years and export in likely)
                bad += [manifest] if is_meant else []
            elif week in manifest.weeks:
                parts.setdefault(manifest.weeks[week].sha256, self._part(export, manifest, week))
        found = list(parts.values())
        if bad and _days_missing(week, found):
            raise bad[0]
        return found, unread

    def _week(self, week: str, part: _Part) -> WeekOfExport:
        try:
            return part.split.week(week, part.stored)
        except DamagedRawFile:
            export = part.split.export
            if self._fail_fast:
                raise FeedSlow(f"{export.subject}: it has to be read again. A run will read it.") from None
            manifest = self._manifests[export.name] = part.split.split(self._files, self._progress, again=True)
            if manifest.weeks.get(week) != part.stored:
                raise FeedUnavailable(f"{export.subject}: it was replaced in the meantime. Try again.") from None
            return part.split.week(week, part.stored)


def _weeks_of(export: PublishedExport) -> Sequence[str]:
    """The weeks of the years in the name of an export; all if it names none."""
    first, last = export.years or (2010, 2099)
    return weeks_between(max(FIRST_WEEK, saturday(dt.date(first, 1, 1))), saturday(dt.date(last, 12, 31)))


def _published(week: str, parts: Sequence[_Part]) -> PublishedFile:
    """A week of exports. Its etag depends on the rows alone, and not on the files."""
    versions = sorted(part.stored.sha256 for part in parts)
    etag = versions[0] if len(versions) == 1 else hashlib.sha256("".join(versions).encode()).hexdigest()
    return PublishedFile(week, parts[0].manifest.source, etag)


def _unread(week: str, export: PublishedExport) -> PublishedFile:
    return PublishedFile(week, export.url, f"unread {export.signature}")


def _days_missing(week: str, parts: Sequence[_Part]) -> list[dt.date]:
    return days_missing(week, [day for part in parts for day in part.stored.days])


def _incomplete(parts: Sequence[_Part], missing: Sequence[dt.date]) -> str:
    exports = named([part.manifest.file for part in parts])
    return (
        f"{exports} has no rows of {named_days(missing)}. A week is complete with rows of all its days. Add the export "
        "that has the others, such as that of the next year."
    )


def _undated(split: SplitExport, manifest: ExportManifest) -> list[str]:
    if manifest.undated is None:
        return []
    rows = f"{manifest.undated.rows:,} {'row' if manifest.undated.rows == 1 else 'rows'}"
    path = split.path(None) / manifest.undated.object
    return [f"{rows} of {manifest.file} have no readable date and belong to no week. They are kept in {path}"]
