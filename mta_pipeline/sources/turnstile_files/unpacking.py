"""Receives the stored bytes of a weekly file or of a yearly export, unpacks and validates them.

All kinds of feeds use this module. Both steps use temporary files, so that memory use stays small and the sink only
receives complete files.
"""

import contextlib
import datetime as dt
import errno
import gzip
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, BinaryIO, Final

from mta_pipeline.sources.errors import BadFile, FeedError, FeedUnavailable, one_line
from mta_pipeline.sources.http import CHUNK_BYTES
from mta_pipeline.sources.turnstile_files.interface import Fetched, PublishedExport, PublishedFile, named
from mta_pipeline.weeks import week_of_file

MAX_PUBLISHED_BYTES: Final = 512 * 2**20
"""Maximum size of a week, both stored and unpacked. Real ones have 33 MB."""

MAX_EXPORT_BYTES: Final = 4 * 2**30
"""Maximum size of a yearly export, both stored and unpacked. Real ones have 1 GB."""

MAX_RATIO: Final = 200
"""Maximum ratio of unpacked to stored size. Real files have about 15, zip bombs about 1,000."""

ALWAYS_ALLOWED_BYTES: Final = 64 * 2**20
"""Unpacked size that is allowed at any ratio: twice a real week."""

MAX_DIRECTORY_BYTES: Final = 2**20
"""Maximum size of the list of members in a zip. Each entry takes far more memory than it has bytes."""

SPOOL_BYTES: Final = 2**20

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_BOM: Final = b"\xef\xbb\xbf"
_MARKUP: Final = (b"<", b"{")
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_END_BYTES: Final = 22
_ENCRYPTED: Final = 0x1
_JUNK_FOLDER: Final = "__MACOSX"
_JUNK: Final = (".DS_Store", "Thumbs.db", "desktop.ini")
_BEGINNING_BYTES: Final = 200
_TEXT: Final = bytes([*b"\t\n\f\r", *range(32, 127)])
_PLAIN: Final = (".txt", ".csv", ".tsv")
"""The suffixes of files that are not packed. Weekly files have the first."""
_REPUBLISH: Final = "The copy at the feed must be replaced"


def spool() -> IO[bytes]:
    """Return a temporary file that stays in memory while it is small."""
    return tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)


def receive(chunks: Iterable[bytes], file: PublishedFile | PublishedExport, into: IO[bytes]) -> None:
    """Write the stored bytes to a file. Overwrites what an earlier attempt left there.

    Raises:
        BadFile: there are more bytes than such a file can have.
        FeedUnavailable: the number of bytes differs from the announced size.
    """
    subject, limit = file.subject, _limit(file)
    if file.size is not None and file.size > limit:
        raise _too_large(subject, f"the feed announces {file.size:,} bytes", limit)
    into.seek(0)
    into.truncate()
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise _too_large(subject, "the transfer exceeds the limit", limit)
        into.write(chunk)
    if file.size is not None and received != file.size:
        raise FeedUnavailable(
            f"{subject}: received {received:,} of {file.size:,} announced bytes. The transfer was cut off, or the file "
            "was replaced in the meantime. Try again."
        )


def deliver(stored: IO[bytes], file: PublishedFile, sink: BinaryIO, *, is_sample: bool = False) -> Fetched:
    """Unpack the stored bytes and write them to the sink, after all of them have been validated.

    The first bytes identify gzip and zip. The file name does not.

    Raises:
        BadFile: the file is empty, a web page, or an archive that is damaged, unsafe or does not hold exactly one text
            file.
    """
    digest = hashlib.sha256()
    size = 0
    with spool() as plain:
        for chunk in unpacked(stored, file):
            size += len(chunk)
            digest.update(chunk)
            plain.write(chunk)
        plain.seek(0)
        shutil.copyfileobj(plain, sink, CHUNK_BYTES)
    return Fetched(file, digest.hexdigest(), size, dt.datetime.now(dt.UTC), is_sample=is_sample)


def unpacked(stored: IO[bytes], file: PublishedFile | PublishedExport) -> Iterator[bytes]:
    """Yield the unpacked bytes of a stored file. An error can follow after some. Raises the same as `deliver`."""
    subject, limit = file.subject, _limit(file)
    stored_size = stored.seek(0, 2)
    most = min(limit, max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * stored_size))
    size = 0
    for chunk in _contents(stored, file, subject):
        if size == 0:
            _check_beginning(chunk, file.url, subject)
        size += len(chunk)
        if size > most:
            raise _too_large(subject, f"{stored_size:,} stored bytes unpack to more than {most:,}", limit)
        yield chunk
    if size == 0:
        raise BadFile(f"{subject}: the file is empty. {_REPUBLISH}.")


def _limit(file: PublishedFile | PublishedExport) -> int:
    return MAX_EXPORT_BYTES if isinstance(file, PublishedExport) else MAX_PUBLISHED_BYTES


def _contents(stored: IO[bytes], file: PublishedFile | PublishedExport, subject: str) -> Iterator[bytes]:
    stored.seek(0)
    beginning = stored.read(_BEGINNING_BYTES)
    stored.seek(0)
    if not beginning.startswith((_GZIP, *_ZIP)):
        if beginning and not _is_plain(file.url) and _is_part_of_archive(beginning):
            raise _not_an_archive(subject)
        while chunk := stored.read(CHUNK_BYTES):
            yield chunk
        return
    with damage_reported(subject), contextlib.ExitStack() as open_files:
        if beginning.startswith(_GZIP):
            contents: IO[bytes] | gzip.GzipFile = open_files.enter_context(gzip.GzipFile(fileobj=stored, mode="rb"))
        else:
            archive = open_files.enter_context(zipfile.ZipFile(_SmallReads(stored)))
            contents = open_files.enter_context(archive.open(_only_member(archive, stored, file)))
        while chunk := contents.read(CHUNK_BYTES):
            yield chunk


class _SmallReads:
    """An archive for zipfile, which reads the list of members at once, and all else in small pieces."""

    def __init__(self, stored: IO[bytes]) -> None:
        self._stored, self.seek, self.tell, self.seekable = stored, stored.seek, stored.tell, stored.seekable

    def read(self, size: int = -1) -> bytes:
        """Read like a file."""
        if size > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"its list of members has more than {MAX_DIRECTORY_BYTES:,} bytes")
        return self._stored.read(size)


@contextlib.contextmanager
def damage_reported(subject: str) -> Iterator[None]:
    """Convert every error that reading a damaged archive can raise to BadFile. Faults of this machine stay as they are.

    The standard library lists no such errors. A damaged header can give a ValueError, struct.error, OSError or others.
    """
    try:
        yield
    except (FeedError, MemoryError):
        raise
    except Exception as error:
        # A damaged header sends the reader to a negative position: EINVAL. gzip raises OSErrors without a number.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise BadFile(f"{subject}: the archive is damaged ({one_line(str(error))}). {_REPUBLISH}.") from error


def _only_member(archive: zipfile.ZipFile, stored: IO[bytes], file: PublishedFile | PublishedExport) -> zipfile.ZipInfo:
    subject, suffixes = file.subject, _PLAIN if isinstance(file, PublishedExport) else _PLAIN[:1]
    members = [member for member in archive.infolist() if not (member.is_dir() or _is_junk(member.orig_filename))]
    if len(members) != 1:
        names = named([member.orig_filename for member in members])
        raise BadFile(
            f"{subject}: the zip holds {len(members)} members instead of one text file{names and f': {names}'}. "
            f"{_REPUBLISH}."
        )
    (member,) = members
    if "/" in member.orig_filename or "\\" in member.orig_filename or not member.filename.lower().endswith(suffixes):
        raise BadFile(
            f"{subject}: the zip holds {one_line(repr(member.orig_filename))} instead of a "
            f"{' or '.join(suffixes)} file at its top level. {_REPUBLISH}."
        )
    if isinstance(file, PublishedFile) and week_of_file(member.filename) not in (None, file.week):
        raise BadFile(f"{subject}: the zip holds the file of another week, {member.filename}. {_REPUBLISH}.")
    if member.flag_bits & _ENCRYPTED:
        raise BadFile(f"{subject}: the zip is encrypted. {_REPUBLISH}.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadFile(f"{subject}: the zip uses a compression method that is not supported; use deflate. {_REPUBLISH}.")
    # zipfile ignores bytes after the end of the archive.
    stored.seek(-_ZIP_END_BYTES - len(archive.comment), 2)
    if stored.read(4) != _ZIP_END:
        raise zipfile.BadZipFile("there are bytes after its end")
    return member


def _is_junk(member: str) -> bool:
    """Whether an operating system added this member, such as the folder `__MACOSX`."""
    folder, _, name = member.replace("\\", "/").rpartition("/")
    return folder.split("/")[0] == _JUNK_FOLDER or name in _JUNK or name.startswith("._")


def _check_beginning(chunk: bytes, url: str, subject: str) -> None:
    beginning = chunk[:_BEGINNING_BYTES].removeprefix(_BOM).lstrip()
    if beginning.startswith(_MARKUP):
        raise BadFile(
            f"{subject}: this is a web page or an error message, not turnstile data. It begins with "
            f"{beginning[:40].decode('latin-1')!r}. Open the address in a browser, and check MTA_FEED."
        )
    if beginning.startswith((_GZIP, *_ZIP)):
        raise BadFile(f"{subject}: the file is packed twice. {_REPUBLISH}.")
    if not _is_plain(url) and not beginning.isascii():
        raise _not_an_archive(subject)


def _is_plain(name: str) -> bool:
    return name.lower().endswith(_PLAIN)


def _is_part_of_archive(beginning: bytes) -> bool:
    """Whether this is an archive whose first bytes are damaged or cut off: every archive header has control bytes."""
    return bool(beginning.removeprefix(_BOM).translate(None, _TEXT)) or _ZIP[0].startswith(beginning)


def _not_an_archive(subject: str) -> BadFile:
    return BadFile(f"{subject}: this is neither a text file nor an archive of the kind in its name. {_REPUBLISH}.")


def _too_large(subject: str, what: str, limit: int) -> BadFile:
    return BadFile(
        f"{subject}: too large for such a file: {what}. The limits are {limit:,} bytes and "
        f"{MAX_RATIO} times the stored size. {_REPUBLISH}."
    )
