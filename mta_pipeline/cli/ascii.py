"""Output for terminals without UTF-8: the same text in ASCII."""

import io
import locale
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

_SUBSTITUTES: Final = str.maketrans(
    {"–": "-", "—": "-", "→": "->", "×": "x", "·": "-", "≤": "<=", "≥": ">=", "─": "-", "│": "|"}
    | {"\u2044": "/", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
)


@contextmanager
def ascii_without_utf8() -> Iterator[None]:
    """Write ASCII to standard output and standard error in the block, if they or the locale do not take UTF-8."""
    streams = sys.stdout, sys.stderr
    # In this locale Python itself writes UTF-8, whatever the terminal shows.
    is_plain = locale.setlocale(locale.LC_CTYPE) in ("C", "POSIX")
    sys.stdout, sys.stderr = (
        _AsciiStream(stream) if is_plain or not _takes_utf8(stream) else stream for stream in streams
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def to_ascii(text: str) -> str:
    """The text without accents, with ASCII for other characters, and with question marks where there is none."""
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text.translate(_SUBSTITUTES))
    letters = (letter for letter in plain if not unicodedata.combining(letter))
    return "".join(letters).encode("ascii", "replace").decode()


def _takes_utf8(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")


class _AsciiStream(io.TextIOBase):
    """Has no `buffer`, because click would write UTF-8 to it. Rich draws its tables and bars in ASCII for it."""

    encoding = "ascii"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(to_ascii(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True
