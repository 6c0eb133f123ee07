"""Pages of the portal as published: `raw/<table>[/week=YYYY-MM-DD]/` holds the pages of a data set; see `raw`.

The name of a page also says which answer of the portal it is part of, so that a landing that was interrupted continues
with the next page.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict
from upath import UPath

from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.raw import CODEC, DamagedRawFile, Manifest, RawFolders
from mta_pipeline.lake.storage import files_in, read_bytes, remove, write_atomically
from mta_pipeline.sources.errors import FeedUnavailable, NotPublished
from mta_pipeline.sources.socrata.client import Snapshot, SodaApi
from mta_pipeline.sources.socrata.dataset import ROW_ID, SodaDataSet
from mta_pipeline.sources.socrata.pages import rows_of
from mta_pipeline.telemetry.tracing import span

ROUNDS: Final = 3
"""How often a week is asked for anew that changes, or does not fit together, while it is read."""


class Page(BaseModel):
    """One page: the object beside the manifest, the data set it is of, its rows and the sha256 of its bytes."""

    model_config = ConfigDict(frozen=True)

    object: str
    data_set: str
    rows: int
    sha256: str


class Part(BaseModel):
    """What one data set held of the week when it was read."""

    model_config = ConfigDict(frozen=True)

    data_set: str
    rows: int
    updated_at: str | None


class PagesManifest(Manifest):
    """What came: from where, which rows, in which pages."""

    portal: str
    where: str | None
    fields: tuple[str, ...]
    parts: tuple[Part, ...]
    pages: tuple[Page, ...]
    sha256: str
    """Of all pages: the version of the rows."""
    rows: int
    size: int
    """Bytes as published, unpacked."""
    fetched_at: dt.datetime

    def answers(self, asked: "_Question") -> bool:
        """Whether it is what the portal holds now, in the columns that are wanted now."""
        return (self.portal, self.where, self.fields, self.parts) == (
            asked.portal,
            asked.where,
            asked.fields,
            asked.parts,
        )


class _Question(NamedTuple):
    """What is asked for, and what the portal said beforehand of the answer."""

    portal: str
    where: str | None
    fields: tuple[str, ...]
    page_rows: int
    parts: tuple[Part, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


class _Misfit(Exception):
    """Pages that do not fit what the portal said of them: it changed meanwhile, or is not to be trusted this time."""


@dataclass(frozen=True)
class SodaRaw(RawFolders[PagesManifest]):
    """The landed pages of one data set below a lake's root."""

    manifest_type = PagesManifest

    lake_root: str
    data_set: SodaDataSet

    @property
    def table(self) -> str:
        """The data set's table."""
        return self.data_set.table

    def rows(self, manifest: PagesManifest, week: str | None) -> pl.DataFrame:
        """All rows of a week as text, in the order of the pages.

        Raises:
            DamagedRawFile: a page is missing or does not hold what the manifest says.
        """
        frames = []
        for page in manifest.pages:
            path = self.path(week) / page.object
            contents = self._unpacked(path, page.sha256)
            if contents is None:
                raise DamagedRawFile(f"{path}: not the page its manifest names by sha256; {self._remedy(week)}.")
            frames.append(rows_of(contents, manifest.fields, str(path)))
        return pl.concat(frames)

    def land(self, api: SodaApi, week: str | None) -> tuple[PagesManifest, bool]:
        """Fetch a week's pages and keep them; returns the manifest and whether its contents are new.

        The portal is asked first how many rows there are and when they last changed. If that is what the manifest says,
        nothing is fetched. Pages of the same answer that are here already, from a landing that was broken off, are not
        fetched again. The portal is asked again at the end.

        Raises:
            NotPublished: the portal has no row of the week.
            FeedUnavailable: it keeps changing, or its pages do not fit together; and as SodaApi does.
        """
        misfit: _Misfit | None = None
        for _ in range(ROUNDS):
            before = self._before(week)
            asked = self._ask(api, week)
            if before.manifest is not None and before.manifest.answers(asked):
                return before.manifest, False
            if not sum(part.rows for part in asked.parts):
                raise NotPublished(f"{self._subject(week, api)}: the portal has no rows")
            try:
                made = self._fetch(api, week, asked)
                if self._ask(api, week) != asked:
                    raise _Misfit("it changed while it was read")
                self._keep(week, made, {page.object: None for page in made.pages}, before)
            except ConcurrentWriteError:
                continue
            except _Misfit as error:
                misfit = error
                continue
            return made, before.manifest is None or before.manifest.sha256 != made.sha256
        raise FeedUnavailable(f"{self._subject(week, api)}: {misfit or 'another run lands it, too'}, {ROUNDS} times.")

    def is_due(self, api: SodaApi, week: str) -> bool:
        """Whether the portal holds other rows of a week than have landed, by its own word: no page is looked at."""
        asked = self._ask(api, week)
        try:
            manifest = self.manifest(week)
        except DamagedRawFile:
            return True
        return bool(sum(part.rows for part in asked.parts)) if manifest is None else not manifest.answers(asked)

    def _ask(self, api: SodaApi, week: str | None) -> _Question:
        where = self.data_set.where(week)
        snapshots = ((source.id, api.snapshot(source.id, where)) for source in self.data_set.sources_of(week))
        parts = tuple(_part(data_set, snapshot) for data_set, snapshot in snapshots)
        return _Question(api.base_url, where, self.data_set.fields, api.page_rows, parts)

    def _fetch(self, api: SodaApi, week: str | None, asked: _Question) -> PagesManifest:
        folder, pages, size = self.path(week), [], 0
        there = {file.path.name for file in files_in(folder)}
        for part in asked.parts:
            ids = []
            for offset in range(0, part.rows, asked.page_rows):
                stem = f"{asked.digest}-{part.data_set}-{offset:08d}."
                expected = min(asked.page_rows, part.rows - offset)
                landed = self._landed_page(folder, stem, there)
                with span("fetch") as traced:
                    contents = landed or api.page(part.data_set, asked.fields, asked.where, offset)
                    traced.add(bytes_in=0 if landed else len(contents))
                rows = rows_of(contents, asked.fields, f"{self._subject(week, api)}, {part.data_set} row {offset + 1}")
                if rows.height != expected:
                    raise _Misfit(f"{rows.height:,} rows came where {expected:,} should be")
                digest = hashlib.sha256(contents).hexdigest()
                name = f"{stem}{digest[:12]}.csv.zst"
                if landed is None:
                    write_atomically(folder / name, memoryview(pa.compress(contents, codec=CODEC)))
                ids.append(rows[ROW_ID])
                pages.append(Page(object=name, data_set=part.data_set, rows=rows.height, sha256=digest))
                size += len(contents)
            if ids and (repeated := pl.concat(ids).is_duplicated().sum()):
                self._forget(folder, f"{asked.digest}-{part.data_set}-")
                raise _Misfit(f"{repeated:,} rows came more than once, and so others did not come")
        return PagesManifest(
            portal=asked.portal,
            where=asked.where,
            fields=asked.fields,
            parts=asked.parts,
            pages=tuple(pages),
            sha256=hashlib.sha256("".join(page.sha256 for page in pages).encode()).hexdigest(),
            rows=sum(page.rows for page in pages),
            size=size,
            fetched_at=dt.datetime.now(dt.UTC),
        )

    def _landed_page(self, folder: UPath, stem: str, there: set[str]) -> bytes | None:
        """A page that a landing which was broken off left, if it is whole."""
        name = next((name for name in there if name.startswith(stem)), None)
        return None if name is None else self._unpacked(folder / name, name.removeprefix(stem).partition(".")[0])

    def _unpacked(self, path: UPath, sha256: str) -> bytes | None:
        """The bytes of a page, or None unless they have a sha256 that begins so."""
        try:
            contents = pa.CompressedInputStream(pa.BufferReader(read_bytes(path)), CODEC).read()
        except OSError:
            return None
        return contents if hashlib.sha256(contents).hexdigest().startswith(sha256) else None

    def _forget(self, folder: UPath, stem: str) -> None:
        for file in files_in(folder):
            if file.path.name.startswith(stem):
                remove(file)

    def _is_whole(self, week: str | None, manifest: PagesManifest) -> bool:
        """Whether all pages are whole."""
        return all(self._unpacked(self.path(week) / page.object, page.sha256) is not None for page in manifest.pages)

    def _subject(self, week: str | None, api: SodaApi) -> str:
        return f"{self.data_set.table}{f', week {week},' if week else ''} at {api.host}"


def _part(data_set: str, snapshot: Snapshot) -> Part:
    return Part(data_set=data_set, rows=snapshot.rows, updated_at=snapshot.updated_at)
