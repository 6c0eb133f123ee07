"""The feed in a directory or a bucket: any location that fsspec can list and open.

`unpacking` processes the bytes.
"""

import contextlib
import datetime as dt
import stat
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

import fsspec

from mta_pipeline.sources.errors import BadFile, FeedError, FeedNeedsExtra, FeedRefused, FeedUnavailable
from mta_pipeline.sources.http import CHUNK_BYTES
from mta_pipeline.sources.turnstile_files.interface import (
    Fetched,
    Listing,
    PublishedFile,
    by_week,
    copies,
    not_published,
    notes_on,
    shown,
    subject_of,
    why_not_used,
)
from mta_pipeline.sources.turnstile_files.unpacking import deliver, receive, spool

_ADVICE: Final = "For real files, set MTA_FEED to their location; `make run` without MTA_FEED makes a sample"


class FilesystemFeed:
    """Weekly files in one directory (a path) or under one prefix (an fsspec URL such as gs://bucket/prefix).

    Of several copies of a week, .txt is preferred, then .txt.gz, then .txt.zip. Subdirectories are not searched.
    """

    def __init__(self, location: str) -> None:
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

    def look(self, week: str) -> PublishedFile | None:
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
            return deliver(stored, file, sink)

    @cached_property
    def _directory(self) -> tuple[fsspec.AbstractFileSystem, str]:
        # A feed can change at any time, so do not cache listings.
        with self._outcomes(f"Feed {self.location}"):
            if self._protocol == "file":  # Not by `url_to_fs`, which splits a path at "::".
                return fsspec.filesystem("file"), str(Path(self._url.removeprefix("file://")).absolute())
            filesystem, root = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        return filesystem, root

    def _list(self, subject: str) -> dict[str, Mapping[str, Any]]:
        """The files in the directory, by name."""
        filesystem, root = self._directory
        with self._outcomes(subject):
            entries = [entry for entry in filesystem.ls(root, detail=True) if entry["type"] != "directory"]
        if [entry["name"] for entry in entries] == [root]:
            raise FeedUnavailable(f"{subject}: this is a file, but a feed must be a directory. {_ADVICE}.")
        return {PurePosixPath(entry["name"]).name: entry for entry in entries}

    def _find(self, week: str) -> Mapping[str, Any] | None:
        filesystem, root = self._directory
        for name in copies(week):
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
        if self._protocol in ("file", "local"):
            with self._file_outcomes(week, url):  # stat, because fsspec describes a link and not its target
                status = Path(entry["name"]).stat()
            if not stat.S_ISREG(status.st_mode):
                raise BadFile(
                    f"{subject_of(week, url)}: this is not a regular file. Remove it, or replace it with the file."
                )
            return PublishedFile(week, url, None, dt.datetime.fromtimestamp(status.st_mtime, dt.UTC), status.st_size)
        return PublishedFile(
            week,
            url,
            etag=entry.get("etag") or entry.get("ETag"),
            last_modified=_moment(entry.get("mtime") or entry.get("LastModified") or entry.get("created")),
            size=entry.get("size"),
        )

    def _address(self, entry: Mapping[str, Any]) -> str:
        return f"{self.location}/{PurePosixPath(entry['name']).name}"

    def _chunks(self, path: str, file: PublishedFile) -> Iterator[bytes]:
        with self._file_outcomes(file.week, file.url), self._directory[0].open(path, "rb") as stored:
            while chunk := stored.read(CHUNK_BYTES):
                yield chunk

    @contextlib.contextmanager
    def _file_outcomes(self, week: str, url: str) -> Iterator[None]:
        """As `_outcomes`, for a listed file. If only this file is missing, its week fails and no other."""
        with self._outcomes(subject := subject_of(week, url)):
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
                f"{subject}: {self._protocol}:// needs a package that is not installed ({error}). "
                "For gs:// install the extra: pip install 'mta-pipeline[gcp]'."
            ) from error
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".replace(self._url, self.location)
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
    """A file's time in UTC: from seconds since 1970, or from a datetime, which is UTC if it has no zone."""
    if isinstance(value, int | float):
        return dt.datetime.fromtimestamp(value, dt.UTC)
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
    return None
