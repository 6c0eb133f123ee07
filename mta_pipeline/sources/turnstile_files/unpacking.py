"""From the bytes a feed stores to the bytes that were published: received, unpacked, judged and hashed.

Every kind of feed ends here. Both steps go through temporary files, so memory stays flat and the sink sees whole
files only.
"""

import contextlib
import datetime as dt
import gzip
import hashlib
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, BinaryIO, Final

from mta_pipeline.sources.errors import BadFile, FeedUnavailable
from mta_pipeline.sources.http import CHUNK_BYTES
from mta_pipeline.sources.turnstile_files.interface import Fetched, PublishedFile, subject_of
from mta_pipeline.weeks import week_of_file

MAX_PUBLISHED_BYTES: Final = 512 * 2**20
"""Neither stored nor unpacked may a week be larger; real ones are 33 MB."""

MAX_RATIO: Final = 200
"""Unpacked to stored size; real files are at 15, zip bombs at 1,000."""

ALWAYS_ALLOWED_BYTES: Final = 64 * 2**20
"""What any archive may unpack to, whatever its ratio: twice a real week."""

SPOOL_BYTES: Final = 2**20

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_MARKUP: Final = (b"<", b"{")
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_END_BYTES: Final = 22
_ENCRYPTED: Final = 0x1
_REPUBLISH: Final = "The copy at the feed must be replaced"


def spool() -> IO[bytes]:
    """A temporary file that stays in memory while it is small."""
    return tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)


def receive(chunks: Iterable[bytes], file: PublishedFile, into: IO[bytes]) -> None:
    """Write the stored bytes to a file, replacing what an earlier attempt left there.

    Raises:
        BadFile: more bytes than a week can have.
        FeedUnavailable: more or fewer bytes than the feed said.
    """
    subject = subject_of(file.week, file.url)
    if file.size is not None and file.size > MAX_PUBLISHED_BYTES:
        raise _too_large(subject, f"the feed announces {file.size:,} bytes")
    into.seek(0)
    into.truncate()
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > MAX_PUBLISHED_BYTES:
            raise _too_large(subject, "it is still coming")
        into.write(chunk)
    if file.size is not None and received != file.size:
        raise FeedUnavailable(
            f"{subject}: {received:,} bytes came of the {file.size:,} announced; it was cut off or replaced meanwhile. "
            "Try again."
        )


def deliver(stored: IO[bytes], file: PublishedFile, sink: BinaryIO) -> Fetched:
    """Unpack the stored bytes and write them to the sink, once all of them are known to be sound.

    Gzip and zip are told by their first bytes, not by the name.

    Raises:
        BadFile: empty, a web page, or an archive that is damaged, unsafe or holds anything but one text file.
    """
    subject = subject_of(file.week, file.url)
    stored_size = stored.seek(0, 2)
    limit = min(MAX_PUBLISHED_BYTES, max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * stored_size))
    digest = hashlib.sha256()
    size = 0
    with spool() as plain:
        for chunk in _unpacked(stored, file.week, subject):
            if size == 0:
                _judge_beginning(chunk, file, subject)
            size += len(chunk)
            if size > limit:
                raise _too_large(subject, f"{stored_size:,} stored bytes unpack to more than {limit:,}")
            digest.update(chunk)
            plain.write(chunk)
        if size == 0:
            raise BadFile(f"{subject}: the file is empty. {_REPUBLISH}.")
        plain.seek(0)
        shutil.copyfileobj(plain, sink, CHUNK_BYTES)
    return Fetched(file, digest.hexdigest(), size, dt.datetime.now(dt.UTC))


def _unpacked(stored: IO[bytes], week: str, subject: str) -> Iterator[bytes]:
    stored.seek(0)
    magic = stored.read(4)
    stored.seek(0)
    try:
        with contextlib.ExitStack() as open_files:
            contents: IO[bytes] | gzip.GzipFile = stored
            if magic.startswith(_GZIP):
                contents = open_files.enter_context(gzip.GzipFile(fileobj=stored, mode="rb"))
            elif magic.startswith(_ZIP):
                archive = open_files.enter_context(zipfile.ZipFile(stored))
                contents = open_files.enter_context(archive.open(_only_member(archive, stored, week, subject)))
            while chunk := contents.read(CHUNK_BYTES):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError) as error:
        raise BadFile(f"{subject}: the archive is damaged ({error}). {_REPUBLISH}.") from error


def _only_member(archive: zipfile.ZipFile, stored: IO[bytes], week: str, subject: str) -> zipfile.ZipInfo:
    members = archive.infolist()
    if len(members) != 1:
        raise BadFile(f"{subject}: the zip holds {len(members)} members, not the one text file. {_REPUBLISH}.")
    (member,) = members
    if "/" in member.orig_filename or "\\" in member.orig_filename or not member.filename.endswith(".txt"):
        raise BadFile(
            f"{subject}: the zip holds {member.orig_filename!r}, not a .txt file at its top level. {_REPUBLISH}."
        )
    if week_of_file(member.filename) not in (None, week):
        raise BadFile(f"{subject}: the zip holds another week, {member.filename}. {_REPUBLISH}.")
    if member.flag_bits & _ENCRYPTED:
        raise BadFile(f"{subject}: the zip is encrypted. {_REPUBLISH}.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadFile(f"{subject}: the zip is not packed by the usual method, deflate. {_REPUBLISH}.")
    # zipfile looks the other way when bytes follow the archive's end.
    stored.seek(-_ZIP_END_BYTES - len(archive.comment), 2)
    if stored.read(4) != _ZIP_END:
        raise zipfile.BadZipFile("bytes follow its end")
    return member


def _judge_beginning(chunk: bytes, file: PublishedFile, subject: str) -> None:
    beginning = chunk[:200].removeprefix(b"\xef\xbb\xbf").lstrip()
    if beginning.startswith(_MARKUP):
        raise BadFile(
            f"{subject}: this is a web page or an error message, not a weekly file; it begins with "
            f"{beginning[:40].decode('latin-1')!r}. Open the address in a browser, and look at MTA_FEED."
        )
    if beginning.startswith((_GZIP, *_ZIP)):
        raise BadFile(f"{subject}: packed twice. {_REPUBLISH}.")
    if not file.url.endswith(".txt") and not beginning.isascii():
        raise BadFile(f"{subject}: neither a text file nor the archive its name promises. {_REPUBLISH}.")


def _too_large(subject: str, what: str) -> BadFile:
    return BadFile(
        f"{subject}: too large for a weekly file: {what}; at most {MAX_PUBLISHED_BYTES:,} bytes are taken, and "
        f"{MAX_RATIO} times the stored size. {_REPUBLISH}."
    )
