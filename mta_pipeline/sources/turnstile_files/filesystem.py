"""The feed in a directory or a bucket: any location that fsspec can list and open.

`unpacking` processes the bytes.
"""

import contextlib
import datetime as dt
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Final, NamedTuple
from urllib.parse import urlsplit

import fsspec

from mta_pipeline.addresses import redacted, shown, without_credentials
from mta_pipeline.sources.errors import BadFile, FeedError, FeedNeedsExtra, FeedRefused, FeedUnavailable
from mta_pipeline.sources.http import CHUNK_BYTES
from mta_pipeline.sources.turnstile_files.interface import (
    SAMPLE_NOTE,
    Fetched,
    Listing,
    PublishedExport,
    PublishedFile,
    by_week,
    copies,
    is_export,
    not_published,
    notes_on,
    subject_of,
    why_not_used,
)
from mta_pipeline.sources.turnstile_files.unpacking import deliver, receive, spool
from mta_pipeline.weeks import week_of_file

_ADVICE: Final = "For real files, set MTA_FEED to their location; `make run` without MTA_FEED makes a sample"


class _Directory(NamedTuple):
    """A directory of a file system, and the name of the only file in it that counts, if the feed is a single file."""

    filesystem: fsspec.AbstractFileSystem
    root: str
    only: str | None


class FilesystemFeed:
    """Weekly files in one directory (a path) or under one prefix (an fsspec URL such as gs://bucket/prefix).

    Of several copies of a week, .txt is preferred, then .txt.gz, then .txt.zip. Subdirectories are not searched. The
    location can also be that of a single file.
    """

    def __init__(self, location: str) -> None:
        if location != without_credentials(location):
            raise ValueError(f"{shown(location)} cannot be a feed: its URL must not contain a user or password")
        self._url = location.rstrip("/") or "/"
        self._protocol = urlsplit(location).scheme if "://" in location else "file"
        if self._protocol not in fsspec.available_protocols():
            raise ValueError(
                f"{shown(location)} cannot be a feed: the protocol {self._protocol}:// is not known. "
                "Give an http(s) URL, a directory, or an fsspec URL such as gs://bucket/prefix"
            )

    def __repr__(self) -> str:
        return f"FilesystemFeed({self.location!r})"

    @property
    def location(self) -> str:
        """The directory or URL, without credentials."""
        return shown(self._url)

    def exports(self) -> Sequence[PublishedExport]:
        """Return the yearly exports in the directory. A single file counts as one whatever its name is."""
        files = self._list(f"Feed {self.location}")
        is_single = self._directory.only is not None
        names = [name for name in files if is_export(name) or (is_single and week_of_file(name) is None)]
        return [self._export(name, files[name]) for name in sorted(names)]

    @contextlib.contextmanager
    def open_export(self, export: PublishedExport) -> Iterator[IO[bytes]]:
        """Open the stored bytes of an export. A local file is read in place, any other is copied first."""
        path = f"{self._directory.root}/{export.name}"
        with contextlib.ExitStack() as open_files:
            with self._file_outcomes(export.subject):
                if self._is_local:
                    self._metadata(export.subject, {"name": path})  # a pipe would block
                    stored: IO[bytes] = open_files.enter_context(Path(path).open("rb"))
                else:
                    stored = open_files.enter_context(tempfile.TemporaryFile())
                    source = open_files.enter_context(self._directory.filesystem.open(path, "rb"))
                    receive(iter(partial(source.read, CHUNK_BYTES), b""), export, stored)
            yield stored

    def available_weeks(self) -> Mapping[str, PublishedFile]:
        """Return the weeks that have a file in the directory, in order."""
        return self.listing_unless(None).weeks

    def listing_unless(self, version: str | None) -> Listing:  # noqa: ARG002  # directories have no version
        """Return the weeks that have a file in the directory. File systems do not tell whether the list has changed."""
        files = self._list(f"Feed {self.location}")
        weeks = {week: self._offered(week, entry) for week, entry in by_week(files.items()).items()}
        used = {PurePosixPath(file.url).name for file in weeks.values()}
        reasons = [(name, why_not_used(name)) for name in files.keys() - used]
        return Listing(weeks, None, notes_on(self.location, reasons))

    def look(self, week: str, known: str | None = None) -> PublishedFile | None:  # noqa: ARG002
        """Return the metadata of a week's file without reading it; None if the week is not published."""
        found = self._find(week)
        return None if found is None else self._published(week, found)

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        """Write a week's unpacked file to the sink. The sink gets nothing unless the file is complete and valid."""
        found = self._find(week)
        if found is None:
            raise not_published(week, self.location)
        file = self._published(week, found)
        with spool() as stored:
            receive(self._chunks(found["name"], file), file, stored)
            return deliver(stored, file, sink, is_sample=self.is_sample)

    @property
    def is_sample(self) -> bool:
        """Whether there is a file SAMPLE.txt, which says that the data are synthetic."""
        filesystem, root, _ = self._directory
        with self._outcomes(f"Feed {self.location}"):
            return bool(filesystem.isfile(f"{root}/{SAMPLE_NOTE}"))

    @property
    def _is_local(self) -> bool:
        return self._protocol in ("file", "local")

    @cached_property
    def _directory(self) -> _Directory:
        # A feed can change at any time, so do not cache listings.
        with self._outcomes(f"Feed {self.location}"):
            if self._protocol == "file":  # Not by `url_to_fs`, which splits a path at "::".
                filesystem, path = fsspec.filesystem("file"), str(Path(self._url.removeprefix("file://")).absolute())
            else:
                filesystem, path = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
            is_file = filesystem.isfile(path)
        root, _, name = path.rpartition("/")
        return _Directory(filesystem, root, name) if is_file else _Directory(filesystem, path, None)

    def _list(self, subject: str) -> dict[str, Mapping[str, Any]]:
        """The files in the directory, by name. If the location is a single file, only that file."""
        filesystem, root, only = self._directory
        with self._outcomes(subject):
            entries = [entry for entry in filesystem.ls(root, detail=True) if entry["type"] != "directory"]
        names = {PurePosixPath(entry["name"]).name: entry for entry in entries}
        return names if only is None else {name: entry for name, entry in names.items() if name == only}

    def _find(self, week: str) -> Mapping[str, Any] | None:
        filesystem, root, only = self._directory
        for name in copies(week):
            if only not in (None, name):
                continue
            with self._outcomes(subject_of(week, f"{self.location}/{name}")), contextlib.suppress(FileNotFoundError):
                found: Mapping[str, Any] = filesystem.info(f"{root}/{name}")
                if found["type"] != "directory":
                    return found
        # List the directory: a missing or unmounted directory, or a broken link, must not count as "not published".
        return by_week(self._list(f"Week {week}, feed {self.location}").items()).get(week)

    def _offered(self, week: str, entry: Mapping[str, Any]) -> PublishedFile:
        """A listed week. If its file is not usable, it has no metadata: one file must not hide the others."""
        try:
            return self._published(week, entry)
        except FeedError:
            return PublishedFile(week, self._address(entry))

    def _published(self, week: str, entry: Mapping[str, Any]) -> PublishedFile:
        url = self._address(entry)
        return PublishedFile(week, url, **self._metadata(subject_of(week, url), entry))

    def _export(self, name: str, entry: Mapping[str, Any]) -> PublishedExport:
        """A listed export, without metadata if it is not usable, as `_offered`."""
        url = self._address(entry)
        try:
            return PublishedExport(name, url, **self._metadata(f"Export {url}", entry))
        except FeedError:
            return PublishedExport(name, url)

    def _metadata(self, subject: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Etag, last_modified and size of a listed file."""
        if self._is_local:
            with self._file_outcomes(subject):  # stat, because fsspec describes a link and not its target
                status = Path(entry["name"]).stat()
            if not stat.S_ISREG(status.st_mode):
                raise BadFile(f"{subject}: this is not a regular file. Remove it, or replace it with the file.")
            return {"last_modified": _moment(status.st_mtime), "size": status.st_size}
        return {
            "etag": entry.get("etag") or entry.get("ETag"),
            "last_modified": _moment(entry.get("mtime") or entry.get("LastModified") or entry.get("created")),
            "size": entry.get("size"),
        }

    def _address(self, entry: Mapping[str, Any]) -> str:
        name = PurePosixPath(entry["name"]).name
        return self.location if self._directory.only == name else f"{self.location}/{name}"

    def _chunks(self, path: str, file: PublishedFile) -> Iterator[bytes]:
        with self._file_outcomes(file.subject), self._directory.filesystem.open(path, "rb") as stored:
            while chunk := stored.read(CHUNK_BYTES):
                yield chunk

    @contextlib.contextmanager
    def _file_outcomes(self, subject: str) -> Iterator[None]:
        """As `_outcomes`, for a listed file. If only this file is missing, its week fails and no other."""
        with self._outcomes(subject):
            try:
                yield
            except FileNotFoundError:
                self._list(subject)  # raises if the whole directory is missing
                raise BadFile(
                    f"{subject}: the file is listed, but it cannot be opened: it was removed, or it is a broken link. "
                    "Put the file there, or remove the link."
                ) from None

    @contextlib.contextmanager
    def _outcomes(self, subject: str) -> Iterator[None]:
        """Convert the different errors of file systems to the errors of feeds."""
        try:
            yield
        except FeedError:
            raise
        except FileNotFoundError:
            raise FeedUnavailable(f"{subject}: there is no such directory or file. {_ADVICE}.") from None
        except ImportError as error:
            raise FeedNeedsExtra(
                f"{subject}: {self._protocol}:// needs a package that is not installed ({redacted(str(error))}). "
                "For gs:// install the extra: pip install 'mta-pipeline[gcp]'."
            ) from None
        except Exception as error:
            reason = redacted(f"{type(error).__name__}: {error}".replace(self._url, self.location))
            if _is_refusal(error):
                raise FeedRefused(
                    f"{subject}: access is denied ({reason}). Check permissions and credentials."
                ) from None
            raise FeedUnavailable(f"{subject}: reading failed ({reason}). Try again later.") from None


def _is_refusal(error: Exception) -> bool:
    # gcsfs raises an OSError that begins with "Forbidden" for 403, and an error with a code for 401.
    return (
        isinstance(error, PermissionError)
        or getattr(error, "code", None) in (401, 403)
        or str(error).startswith("Forbidden")
    )


def _moment(value: object) -> dt.datetime | None:
    """A file's time in UTC: from seconds since 1970, or from a datetime, which is UTC if it has no zone.

    None if there is no time, or it is outside the years 1 to 9999. Some file systems can store such times.
    """
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if isinstance(value, int | float):
            return dt.datetime.fromtimestamp(value, dt.UTC)
        if isinstance(value, dt.datetime):
            return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
    return None
