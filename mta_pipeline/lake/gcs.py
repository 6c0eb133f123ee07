"""Objects in Google Cloud Storage: their bytes checked on the way in and out, and replaced only as they were last seen.

The only user is storage, which says what lies where. Credentials are the application's default ones; the client tries
again by itself what may be tried again.
"""

import base64
import io
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client
    from upath import UPath

PROTOCOLS: Final = ("gs", "gcs")

NOTHING: Final = 0
"""The generation of an object that is not there."""


class ConcurrentWriteError(Exception):
    """Not written: what was to be replaced, or what was to be written, is no longer what it was when it was read."""


@cache
def client() -> "Client":
    """The client of this process."""
    from google.cloud import storage  # noqa: PLC0415  # slow to import

    # Objects are had without a project; asking for one would fail where credentials name none.
    return storage.Client(project=None)


def read(path: "UPath") -> bytes:
    """The whole object, its crc32c verified.

    Raises:
        FileNotFoundError: there is no such object.
        OSError: what came is not what the store says it holds.
    """
    from google.cloud.exceptions import NotFound  # noqa: PLC0415
    from google.cloud.storage.exceptions import DataCorruption  # noqa: PLC0415

    try:
        return bytes(_blob(path).download_as_bytes(checksum="crc32c"))
    except DataCorruption as error:
        raise OSError(f"{path}: damaged on its way, its crc32c is another; try again.") from error
    except NotFound as error:
        raise FileNotFoundError(2, "No such object", str(path)) from error


def generation(path: "UPath") -> int:
    """The number that the object's present contents have, and no others will; NOTHING if it is not there."""
    bucket, _, name = path.path.partition("/")
    blob = client().bucket(bucket).get_blob(name)
    return NOTHING if blob is None else int(blob.generation)


def write(path: "UPath", payload: bytes | memoryview, seen: int | None = None) -> None:
    """Put the payload in the object's place in one request, which is refused if the crc32c it comes with is another.

    Args:
        path: gs://bucket/name.
        payload: all of it.
        seen: the generation that is to be replaced; None replaces any.

    Raises:
        ConcurrentWriteError: the object is not the one that was seen, and does not hold the payload either.
    """
    from google.cloud.exceptions import PreconditionFailed  # noqa: PLC0415
    from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

    contents = bytes(payload)
    try:
        _blob(path).upload_from_file(
            io.BytesIO(contents),
            size=len(contents),
            content_type="application/octet-stream",
            if_generation_match=seen,
            checksum="crc32c",
            crc32c_checksum_value=_crc32c(contents),
            # Repeating is safe: the whole contents are in each request.
            retry=DEFAULT_RETRY,
        )
    except PreconditionFailed as error:
        # Of a request that was tried again, the first may have got through without our hearing of it.
        if not _holds(path, contents):
            raise ConcurrentWriteError(f"{path} was written by another run meanwhile") from error


def remove(path: "UPath", seen: int) -> None:
    """Remove the object if it still is the one that was seen."""
    from google.cloud.exceptions import NotFound, PreconditionFailed  # noqa: PLC0415

    try:
        _blob(path).delete(if_generation_match=seen)
    except (NotFound, PreconditionFailed):
        return


def objects(folder: "UPath") -> "Iterator[tuple[UPath, int]]":
    """The objects below a folder, each with its generation; no others are listed."""
    bucket, _, prefix = folder.path.partition("/")
    fields = "items(name,generation),nextPageToken"
    for blob in client().list_blobs(bucket, prefix=f"{prefix.rstrip('/')}/", fields=fields):
        yield folder / blob.name.removeprefix(prefix.rstrip("/") + "/"), int(blob.generation)


def _crc32c(contents: bytes) -> str:
    import google_crc32c  # noqa: PLC0415

    digest: bytes = google_crc32c.Checksum(contents).digest()  # type: ignore[no-untyped-call]
    return base64.b64encode(digest).decode()


def _holds(path: "UPath", contents: bytes) -> bool:
    try:
        return read(path) == contents
    except FileNotFoundError:
        return False


def _blob(path: "UPath") -> "Blob":
    bucket, _, name = path.path.partition("/")
    return client().bucket(bucket).blob(name)
