"""Raw pages of the portal: `raw/<table>[/week=YYYY-MM-DD]/` holds the published pages of a data set; see `raw`.

The name of a page contains a digest of the request and of the portal's row counts. An interrupted landing therefore
continues with the next page.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl
from pydantic import BaseModel, ConfigDict
from upath import UPath

from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.raw import DamagedRawFile, Manifest, RawFolders, packed, unpacked_object
from mta_pipeline.lake.storage import files_in, remove, write_atomically
from mta_pipeline.sources.errors import FeedUnavailable, NotPublished
from mta_pipeline.sources.socrata.client import Snapshot, SodaApi
from mta_pipeline.sources.socrata.dataset import SodaDataSet
from mta_pipeline.sources.socrata.pages import InconsistentPages, rows_of, verified_pages
from mta_pipeline.telemetry.tracing import span

ROUNDS: Final = 3
"""Number of attempts for a week whose rows change, or whose pages do not fit together, during the download."""


class Page(BaseModel):
    """One page: its object beside the manifest, its data set, its number of rows and the sha256 of its bytes."""

    model_config = ConfigDict(frozen=True)

    object: str
    data_set: str
    rows: int
    sha256: str


class Part(BaseModel):
    """The portal's number of rows and time of the last change, for one data set and week."""

    model_config = ConfigDict(frozen=True)

    data_set: str
    rows: int
    updated_at: str | None


class PagesManifest(Manifest):
    """The manifest of the pages of a week: the request, the portal's row counts, and the pages."""

    portal: str
    where: str | None
    fields: tuple[str, ...]
    parts: tuple[Part, ...]
    pages: tuple[Page, ...]
    sha256: str
    """The sha256 over the sha256 of all pages. It identifies the version of the rows."""
    rows: int
    size: int
    """Number of unpacked bytes."""
    fetched_at: dt.datetime

    @property
    def objects(self) -> tuple[str, ...]:
        """The names of the pages."""
        return tuple(page.object for page in self.pages)

    def is_current(self, request: "_Question") -> bool:
        """Whether portal, filter, columns, row counts and times of change are those of `request`."""
        return (self.portal, self.where, self.fields, self.parts) == (
            request.portal,
            request.where,
            request.fields,
            request.parts,
        )


class _Question(NamedTuple):
    """What to request, and the row counts that the portal announces for it."""

    portal: str
    where: str | None
    fields: tuple[str, ...]
    page_rows: int
    parts: tuple[Part, ...]

    @property
    def digest(self) -> str:
        # The names of pages contain this digest. It depends on the name and fields of this class, so keep them.
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class SodaRaw(RawFolders[PagesManifest]):
    """The landed pages of one data set below a lake's root."""

    manifest_type = PagesManifest

    lake_root: str
    data_set: SodaDataSet

    @property
    def table(self) -> str:
        """The name of the data set's table."""
        return self.data_set.table

    def rows(self, manifest: PagesManifest, week: str | None) -> pl.DataFrame:
        """Return all rows of a week as text columns, in the order of the pages.

        Raises:
            DamagedRawFile: a page is missing or does not match the manifest.
        """
        frames = []
        for page in manifest.pages:
            path = self.path(week) / page.object
            contents = self._unpacked(path, page.sha256)
            if contents is None:
                raise DamagedRawFile(
                    f"{path}: the page is missing or does not match the sha256 in the manifest; {self._remedy(week)}."
                )
            frames.append(rows_of(contents, manifest.fields, str(path)))
        return pl.concat(frames)

    def land(self, api: SodaApi, week: str | None) -> tuple[PagesManifest, bool]:
        """Fetch a week's pages and store them. Return the manifest and whether its contents are new.

        Requests the number of rows and the time of the last change first. If they match the manifest, nothing is
        fetched. Intact pages of an interrupted landing are reused. The number of rows is requested again at the end.

        Raises:
            NotPublished: the portal has no row of the week.
            FeedUnavailable: the rows keep changing, or the pages do not fit together.
            FeedError: a request failed; see SodaApi.
        """
        reason: InconsistentPages | None = None
        for _ in range(ROUNDS):
            before = self._before(week)
            request = self._request(api, week)
            if before.manifest is not None and before.manifest.is_current(request):
                return before.manifest, False
            if not sum(part.rows for part in request.parts):
                raise NotPublished(f"{self._subject(week, api)}: the portal has no rows")
            try:
                manifest = self._fetch(api, week, request)
                if self._request(api, week) != request:
                    raise InconsistentPages("the data set changed during the download")
                self._keep(week, manifest, dict.fromkeys(manifest.objects), before)
            except ConcurrentWriteError:
                continue
            except InconsistentPages as error:
                reason = error
                continue
            return manifest, before.manifest is None or before.manifest.sha256 != manifest.sha256
        problem = reason or "another run landed it at the same time"
        raise FeedUnavailable(f"{self._subject(week, api)}: {problem}, {ROUNDS} times. Try again later.")

    def is_due(self, api: SodaApi, week: str) -> bool:
        """Whether the portal announces other rows of a week than have landed, or a page is missing. Fetches none."""
        request = self._request(api, week)
        try:
            manifest = self.manifest(week)
        except DamagedRawFile:
            return True
        if manifest is None:
            return bool(sum(part.rows for part in request.parts))
        return not (manifest.is_current(request) and super()._is_intact(week, manifest))

    def _request(self, api: SodaApi, week: str | None) -> _Question:
        where = self.data_set.where(week)
        snapshots = ((source.id, api.snapshot(source.id, where)) for source in self.data_set.sources_of(week))
        parts = tuple(_part(data_set, snapshot) for data_set, snapshot in snapshots)
        return _Question(api.base_url, where, self.data_set.fields, api.page_rows, parts)

    def _fetch(self, api: SodaApi, week: str | None, request: _Question) -> PagesManifest:
        folder, pages, size = self.path(week), [], 0
        existing = {file.path.name for file in files_in(folder)}
        for part in request.parts:
            stem, fetched = f"{request.digest}-{part.data_set}-", set[int]()

            def load(offset: int, part: Part = part, stem: str = stem, fetched: set[int] = fetched) -> bytes:
                landed = self._landed_page(folder, f"{stem}{offset:08d}.", existing)
                if landed is None:
                    fetched.add(offset)
                with span("fetch") as traced:
                    contents = landed or api.page(part.data_set, request.fields, request.where, offset)
                    traced.add(bytes_in=0 if landed else len(contents))
                return contents

            subject = f"{self._subject(week, api)}, {part.data_set}"
            try:
                for offset, contents, rows in verified_pages(
                    part.rows, request.page_rows, load, request.fields, subject
                ):
                    digest = hashlib.sha256(contents).hexdigest()
                    name = f"{stem}{offset:08d}.{digest[:12]}.csv.zst"
                    if offset in fetched:
                        write_atomically(folder / name, packed(contents))
                    pages.append(Page(object=name, data_set=part.data_set, rows=rows.height, sha256=digest))
                    size += len(contents)
            except InconsistentPages:
                self._remove_pages(folder, stem)
                raise
        return PagesManifest(
            portal=request.portal,
            where=request.where,
            fields=request.fields,
            parts=request.parts,
            pages=tuple(pages),
            sha256=hashlib.sha256("".join(page.sha256 for page in pages).encode()).hexdigest(),
            rows=sum(page.rows for page in pages),
            size=size,
            fetched_at=dt.datetime.now(dt.UTC),
        )

    def _landed_page(self, folder: UPath, stem: str, existing: set[str]) -> bytes | None:
        """Return a page that an interrupted landing left, or None if there is none or it is damaged."""
        name = next((name for name in existing if name.startswith(stem)), None)
        return None if name is None else self._unpacked(folder / name, name.removeprefix(stem).partition(".")[0])

    def _unpacked(self, path: UPath, sha256: str) -> bytes | None:
        """Return the unpacked bytes of a page, or None unless their sha256 starts with `sha256`."""
        try:
            contents = unpacked_object(path)
        except OSError:
            return None
        return contents if hashlib.sha256(contents).hexdigest().startswith(sha256) else None

    def _remove_pages(self, folder: UPath, stem: str) -> None:
        for file in files_in(folder):
            if file.path.name.startswith(stem):
                remove(file)

    def _is_intact(self, week: str | None, manifest: PagesManifest) -> bool:
        """Whether all pages exist and match their sha256."""
        return all(self._unpacked(self.path(week) / page.object, page.sha256) is not None for page in manifest.pages)

    def _subject(self, week: str | None, api: SodaApi) -> str:
        return f"{self.data_set.table}{f', week {week},' if week else ''} at {api.host}"


def _part(data_set: str, snapshot: Snapshot) -> Part:
    return Part(data_set=data_set, rows=snapshot.rows, updated_at=snapshot.updated_at)
