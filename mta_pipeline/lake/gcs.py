"""Objects in Google Cloud Storage: reads and writes with verified crc32c, and writes conditional on the generation.

`storage` decides which object holds what and is the main user of this module. Credentials are the application default
credentials. The client retries temporary errors itself.
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

_SHORT: Final = 8.0
"""Seconds to wait for an answer that only says whether there is one."""

NOTHING: Final = 0
"""The generation of an object that does not exist."""


class ConcurrentWriteError(Exception):
    """A write was refused, because another process replaced its target or its input in the meantime."""


@cache
def client() -> "Client":
    """Return the client that this process shares."""
    from google.cloud import storage  # noqa: PLC0415  # slow to import

    # Objects need no project. Looking one up would fail if the credentials name none.
    return storage.Client(project=None)


def require_connection() -> None:
    """Check that Google Cloud Storage answers, in one short request without credentials.

    Raises:
        OSError: it does not. The message says what to do.
    """
    import gcsfs  # noqa: F401, PLC0415  # opens feeds, and comes with the same extra
    import requests  # noqa: PLC0415  # slow to import
    from google.cloud import storage  # noqa: PLC0415

    endpoint = storage.Client.create_anonymous_client().api_endpoint
    try:
        requests.get(endpoint, timeout=_SHORT)
    except requests.RequestException as error:
        raise ConnectionError(f"{endpoint} cannot be reached. Check the network, and then try again") from error


def require_access(folder: "UPath") -> None:
    """Check that the bucket of a folder can be read, in one short request.

    Raises:
        OSError: it cannot. The message says what to do.
    """
    from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, Unauthorized  # noqa: PLC0415
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError  # noqa: PLC0415

    require_connection()
    bucket, _, prefix = folder.path.partition("/")
    try:
        list(client().list_blobs(bucket, prefix=prefix, max_results=1, timeout=_SHORT, retry=None))
    except DefaultCredentialsError as error:
        advice = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
        raise PermissionError(f"there are no credentials. To add them, {advice}") from error
    except (Forbidden, Unauthorized) as error:
        raise PermissionError(f"access is refused. Give the account the right to list and read {bucket}") from error
    except NotFound as error:
        raise FileNotFoundError(f"there is no bucket {bucket}. Create it, or correct the name") from error
    except (GoogleAPIError, GoogleAuthError) as error:
        raise ConnectionError(f"{str(error).removesuffix('.')}. Try again later") from error


def read(path: "UPath") -> bytes:
    """Return the whole object, verified by its crc32c.

    Raises:
        FileNotFoundError: there is no such object.
        OSError: the download does not match the crc32c of the object.
    """
    from google.cloud.exceptions import NotFound  # noqa: PLC0415
    from google.cloud.storage.exceptions import DataCorruption  # noqa: PLC0415

    try:
        return bytes(_blob(path).download_as_bytes(checksum="crc32c"))
    except DataCorruption as error:
        raise OSError(f"{path}: the download does not match the crc32c of the object. Try again.") from error
    except NotFound as error:
        raise FileNotFoundError(2, "No such object", str(path)) from error


def generation(path: "UPath") -> int:
    """Return the generation of an object, a number that changes with each write, or NOTHING if it does not exist."""
    bucket, _, name = path.path.partition("/")
    blob = client().bucket(bucket).get_blob(name)
    return NOTHING if blob is None else int(blob.generation)


def write(path: "UPath", payload: bytes | memoryview, expected: int | None = None) -> None:
    """Replace the object in one request, which the store refuses if the payload does not match its crc32c.

    Args:
        path: gs://bucket/name.
        payload: the whole contents.
        expected: the generation to replace. NOTHING requires that no object exists. None replaces any.

    Raises:
        ConcurrentWriteError: the object has another generation, and does not hold the payload.
    """
    from google.cloud.exceptions import PreconditionFailed  # noqa: PLC0415
    from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

    contents = bytes(payload)
    try:
        _blob(path).upload_from_file(
            io.BytesIO(contents),
            size=len(contents),
            content_type="application/octet-stream",
            if_generation_match=expected,
            checksum="crc32c",
            crc32c_checksum_value=_crc32c(contents),
            # A retry is safe: each request holds the whole contents.
            retry=DEFAULT_RETRY,
        )
    except PreconditionFailed as error:
        # With a retry, the first request may have succeeded although its answer was lost.
        if not _holds(path, contents):
            raise ConcurrentWriteError(f"{path}: another run has written this object in the meantime") from error


def remove(path: "UPath", expected: int) -> None:
    """Remove the object if it still has the expected generation."""
    from google.cloud.exceptions import NotFound, PreconditionFailed  # noqa: PLC0415

    try:
        _blob(path).delete(if_generation_match=expected)
    except (NotFound, PreconditionFailed):
        return


def objects(folder: "UPath") -> "Iterator[tuple[UPath, int]]":
    """Yield the objects below a folder, at any depth, with their generations."""
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
