"""The feed in a directory or a bucket: whatever fsspec can list and open.

Only what file systems need is here; what is done with the bytes is in delivery.
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

from mta_pipeline.sources.errors import FeedRefused, FeedUnavailable
from mta_pipeline.sources.http import CHUNK_BYTES
from mta_pipeline.sources.turnstile_files.interface import (
    Fetched,
    Listing,
    PublishedFile,
    by_week,
    copies,
    not_published,
    shown,
    subject_of,
)
from mta_pipeline.sources.turnstile_files.unpacking import deliver, receive, spool

_ADVICE: Final = "`make run` without MTA_FEED makes a sample; for real files set MTA_FEED to where they are"


class FilesystemFeed:
    """Weekly files in one directory (a path) or under one prefix (an fsspec URL such as gs://bucket/prefix).

    Of several copies of a week .txt is taken before .txt.gz before .txt.zip. Nothing below the directory is looked at.
    """

    def __init__(self, location: str) -> None:
        self._url = location.rstrip("/") or "/"
        self._protocol = urlsplit(location).scheme if "://" in location else "file"
        if self._protocol not in fsspec.available_protocols():
            raise ValueError(
                f"{shown(location)} cannot be a feed: {self._protocol}:// is not known. "
                "Give an http(s) URL, a directory, or an fsspec URL such as gs://bucket/prefix"
            )

    def __repr__(self) -> str:
        return f"FilesystemFeed({self.location!r})"

    @property
    def location(self) -> str:
        """The directory or URL, without credentials."""
        return shown(self._url)

    def available_weeks(self) -> Mapping[str, PublishedFile]:
        """The weeks that have a file in the directory, in order."""
        return {week: self._published(week, entry) for week, entry in self._list(f"Feed {self.location}").items()}

    def listing_unless(self, version: str | None) -> Listing:  # noqa: ARG002  # a directory has no version
        """The weeks that have a file in the directory; file systems do not tell whether that has changed."""
        return Listing(self.available_weeks(), None)

    def look(self, week: str) -> PublishedFile | None:
        """What the file system says of a week's file without reading it; None if it was not published."""
        found = self._find(week)
        return None if found is None else self._published(week, found)

    def fetch(self, week: str, sink: BinaryIO) -> Fetched:
        """Write a week's file, unpacked, to the sink. Unless it is whole and sound, the sink gets nothing."""
        found = self._find(week)
        if found is None:
            raise not_published(week, self.location)
        file = self._published(week, found)
        with spool() as stored:
            receive(self._chunks(found["name"], subject_of(week, file.url)), file, stored)
            return deliver(stored, file, sink)

    @cached_property
    def _directory(self) -> tuple[fsspec.AbstractFileSystem, str]:
        # A feed changes under us: nothing that was listed once is to be believed again.
        with self._outcomes(f"Feed {self.location}"):
            filesystem, root = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        return filesystem, root

    def _list(self, subject: str) -> dict[str, Mapping[str, Any]]:
        filesystem, root = self._directory
        with self._outcomes(subject):
            entries = [entry for entry in filesystem.ls(root, detail=True) if entry["type"] != "directory"]
        if [entry["name"] for entry in entries] == [root]:
            raise FeedUnavailable(f"{subject}: this is a file; a feed is the directory of it. {_ADVICE}.")
        return by_week((PurePosixPath(entry["name"]).name, entry) for entry in entries)

    def _find(self, week: str) -> Mapping[str, Any] | None:
        filesystem, root = self._directory
        for name in copies(week):
            with self._outcomes(subject_of(week, f"{self.location}/{name}")), contextlib.suppress(FileNotFoundError):
                found: Mapping[str, Any] = filesystem.info(f"{root}/{name}")
                if found["type"] != "directory":
                    return found
        # A directory that is not there, or not mounted, has not said that it lacks the week; nor has a link to nothing.
        return self._list(f"Week {week}, feed {self.location}").get(week)

    def _published(self, week: str, entry: Mapping[str, Any]) -> PublishedFile:
        url = f"{self.location}/{PurePosixPath(entry['name']).name}"
        if self._protocol in ("file", "local"):
            with self._outcomes(subject_of(week, url)):  # by stat, since fsspec describes a link and not its target
                status = Path(entry["name"]).stat()
            if not stat.S_ISREG(status.st_mode):
                raise FeedRefused(f"{subject_of(week, url)}: not a regular file. Remove it, or put the file there.")
            return PublishedFile(week, url, None, dt.datetime.fromtimestamp(status.st_mtime, dt.UTC), status.st_size)
        return PublishedFile(
            week,
            url,
            etag=entry.get("etag") or entry.get("ETag"),
            last_modified=_moment(entry.get("mtime") or entry.get("LastModified") or entry.get("created")),
            size=entry.get("size"),
        )

    def _chunks(self, path: str, subject: str) -> Iterator[bytes]:
        with self._outcomes(subject), self._directory[0].open(path, "rb") as stored:
            while chunk := stored.read(CHUNK_BYTES):
                yield chunk

    @contextlib.contextmanager
    def _outcomes(self, subject: str) -> Iterator[None]:
        """Every file system fails in its own way; here its failures become ours."""
        try:
            yield
        except FileNotFoundError:
            raise FeedUnavailable(f"{subject}: there is no such directory or file. {_ADVICE}.") from None
        except ImportError as error:
            raise FeedRefused(
                f"{subject}: {self._protocol}:// needs more than is installed ({error}). "
                "For gs:// install the extra: pip install 'mta-pipeline[gcp]'."
            ) from error
        except Exception as error:
            told = f"{type(error).__name__}: {error}".replace(self._url, self.location)
            if _is_refusal(error):
                raise FeedRefused(f"{subject}: it may not be read ({told}). Check rights and credentials.") from None
            raise FeedUnavailable(f"{subject}: reading failed ({told}). Try again later.") from None


def _is_refusal(error: Exception) -> bool:
    # gcsfs tells 403 by an OSError that begins with the word, and 401 by a code.
    return (
        isinstance(error, PermissionError)
        or getattr(error, "code", None) in (401, 403)
        or str(error).startswith("Forbidden")
    )


def _moment(value: object) -> dt.datetime | None:
    """A file system's idea of a time: seconds since 1970, or a moment that is UTC unless it says otherwise."""
    if isinstance(value, int | float):
        return dt.datetime.fromtimestamp(value, dt.UTC)
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
    return None
