"""Digests that files hold of themselves, so that damage is found wherever the file is copied.

A file contains the sha256 of its own bytes, in which the digest itself counts as zeros. It is therefore written
atomically with the file, and needs no second file. Tables, raw manifests and the report use it.
"""

import hashlib
from typing import Final, NamedTuple

BLANK: Final = "0" * 64
"""Stands for the digest until the file is sealed."""

_NAME: Final = "sha256"


class DamagedFile(ValueError):
    """A file of the lake is not what was written. The message names it, and says what to do."""


class Seal(NamedTuple):
    """Where files of a kind hold their digest."""

    sign: bytes
    """Bytes that only files with a digest hold. A file with the sign and without the digest is damaged."""
    before: bytes
    """The bytes directly before the digest."""

    def sealed(self, contents: str) -> bytes:
        """Return the contents of a file as bytes with their digest. Raises the same as `apply`."""
        filled = bytearray(contents.encode())
        self.apply(memoryview(filled))
        return bytes(filled)

    def apply(self, contents: memoryview) -> None:
        """Write the digest over the zeros in the contents of a file.

        Raises:
            ValueError: the zeros are not in the contents exactly once.
        """
        whole = bytes(contents)
        blank = self.before + BLANK.encode()
        if whole.count(blank) != 1:
            raise ValueError(f"{blank!r} must be in the contents once")
        start = whole.index(blank) + len(self.before)
        contents[start : start + len(BLANK)] = hashlib.sha256(whole).hexdigest().encode()

    def digest_in(self, contents: bytes) -> str | None:
        """Return the digest that contents hold, or the end of a file holds; None without any. Verifies nothing."""
        start = contents.rfind(self.before)
        found = contents[start + len(self.before) :][: len(BLANK)] if start >= 0 else b""
        return found.decode("latin-1") if len(found) == len(BLANK) else None

    def problem(self, contents: bytes) -> str | None:
        """Say what is wrong with the contents of a file; None if they match their digest, or have none."""
        digest = self.digest_in(contents)
        if digest is None:
            return "it has lost its digest" if self.sign in contents else None
        start = contents.rfind(self.before) + len(self.before)
        view = memoryview(contents)
        actual = hashlib.sha256(view[:start])
        actual.update(BLANK.encode())
        actual.update(view[start + len(BLANK) :])
        return None if actual.hexdigest() == digest else f"its contents do not match its {_NAME}"


PARQUET: Final = Seal(sign=b"digest\x18\x06", before=b"sha256\x18\x40")
"""In the footer, as the value of the key `sha256`. 0x18 introduces a string in Thrift's compact protocol, 0x40 is its
length. The key `digest` with the value `sha256` is the sign."""

PARQUET_KEYS: Final = {"digest": _NAME, _NAME: BLANK}
"""The entries of the metadata of a Parquet file that is sealed after it is written."""

HTML: Final = Seal(sign=b'<meta name="digest" content="', before=b'<meta name="sha256" content="')
"""In the head of a page."""

HTML_TAGS: Final = f'<meta name="digest" content="{_NAME}"><meta name="sha256" content="{BLANK}">'
"""The tags of a page that is sealed after it is rendered."""

JSON: Final = Seal(sign=b'"digest": "', before=b'"manifest_sha256": "')
"""At the end of a manifest."""

JSON_KEYS: Final = f'"digest": "{_NAME}",\n  "manifest_sha256": "{BLANK}"'
"""The last entries of a manifest that is sealed after it is rendered."""
