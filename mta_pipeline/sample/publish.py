"""A sample feed on disk: weekly files, the truth beside them, and the index page of a web server.

    turnstile_YYMMDD.txt            as the MTA named them; also .gz or .zip
    SAMPLE.txt                      says that all of this is made up, and from what
    truth/week=YYYY-MM-DD.parquet   what really happened, per reading
    truth/weeks.csv                 the same, summed per week

What stands in the files is made in `generator`.
"""

import gzip
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import polars as pl

from mta_pipeline.sample.truth import WEEKS_SCHEMA, SampleWeek
from mta_pipeline.weeks import ONE_WEEK, file_name, week_start

Compression = Literal["none", "gz", "zip"]

NOTE: Final = "SAMPLE.txt"
_SUFFIX: Final[dict[Compression, str]] = {"none": "", "gz": ".gz", "zip": ".zip"}


def publish(
    directory: Path,
    weeks: Sequence[str],
    make: Callable[[Iterable[str]], Iterator[SampleWeek]],
    *,
    about: str,
    compression: Compression = "none",
    progress: Callable[[str, int, int], None] | None = None,
) -> pl.DataFrame:
    """Write weeks and their truth into a directory, each file whole or not at all.

    Weeks that are there already are kept, if the directory's note says they were made from the same; a sample made from
    anything else is replaced.

    Args:
        directory: made if need be.
        weeks: their keys.
        make: gives the weeks asked for, one by one.
        about: what the feed is made from, in words; with `compression`, it tells one sample from another.
        compression: how the weekly files are packed.
        progress: called after each week with its key, how many are done and how many there are.

    Returns:
        `truth/weeks.csv`: a row for every week in the directory, with the columns of `WEEKS_SCHEMA`.

    Raises:
        FileExistsError: the directory holds weekly files and no note: they may be real.
    """
    ledger = _Ledger(directory, _note(about, compression))
    ledger.open()
    there = {week for week in weeks if ledger.has(week, _SUFFIX[compression])}
    done = 0

    def report(week: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(week, done, len(weeks))

    for week in weeks:
        if week in there:
            report(week)
    for made in make(week for week in weeks if week not in there):
        _replace(ledger.truth_path(made.week), _parquet(made.truth))
        name = file_name(made.week)
        _replace(directory / (name + _SUFFIX[compression]), _pack(made.text, name, compression))
        ledger.add(made.summary())
        report(made.week)
    return ledger.weeks


def index_page(weeks: Iterable[str]) -> str:
    """The MTA's index page of these weeks, newest first."""
    links = (
        f'<a href="data/nyct/turnstile/{file_name(week)}">{day:%A, %B} {day.day}, {day.year}</a><br />'
        for week, day in ((week, week_start(week) + ONE_WEEK) for week in sorted(weeks, reverse=True))
    )
    return "\n".join(("<html><head><title>Turnstile Data (sample)</title></head><body>", *links, "</body></html>", ""))


class _Ledger:
    """What a directory holds, by its note and `truth/weeks.csv`."""

    def __init__(self, directory: Path, note: str) -> None:
        self._directory = directory
        self._note = note
        self._csv = directory / "truth" / "weeks.csv"
        self.weeks = pl.DataFrame(schema=WEEKS_SCHEMA)

    def open(self) -> None:
        """Make the directory ready for this sample: read what it has of it, remove what is left of another."""
        (self._directory / "truth").mkdir(parents=True, exist_ok=True)
        note = self._directory / NOTE
        files = list(self._directory.glob("turnstile_*.txt*"))
        if not note.exists() and files:
            raise FileExistsError(
                f"{self._directory} holds {files[0].name} and no {NOTE}: no sample goes over real files"
            )
        if note.exists() and note.read_text() == self._note:
            if self._csv.exists():
                self.weeks = pl.read_csv(self._csv, schema=WEEKS_SCHEMA)
            return
        self._csv.unlink(missing_ok=True)
        for old in (*files, *self._csv.parent.glob("week=*.parquet")):
            old.unlink()
        _replace(note, self._note.encode())

    def has(self, week: str, suffix: str) -> bool:
        return (
            week in self.weeks["week"]
            and self.truth_path(week).exists()
            and (self._directory / (file_name(week) + suffix)).exists()
        )

    def truth_path(self, week: str) -> Path:
        return self._csv.parent / f"week={week}.parquet"

    def add(self, row: pl.DataFrame) -> None:
        others = self.weeks.filter(pl.col("week") != row["week"].item())
        self.weeks = pl.concat([others, row]).sort("week")
        _replace(self._csv, self.weeks.write_csv().encode())


def _note(about: str, compression: Compression) -> str:
    return (
        "This is a sample. Every reading in these files is made up by mta_pipeline, so that the true ridership is "
        "known (see truth/); only booths and stations are real. Do not mistake it for data of the MTA.\n\n"
        f"{about}\nPacking: {compression}.\n"
    )


def fingerprint(text: str) -> str:
    """A short name for a text too long to write down."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pack(text: bytes, name: str, compression: Compression) -> bytes:
    """The file's bytes as they are published: the same for the same text."""
    if compression == "gz":
        return gzip.compress(text, compresslevel=4, mtime=0)
    if compression == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
        return packed.getvalue()
    return text


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
