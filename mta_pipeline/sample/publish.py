"""A sample feed on disk: weekly files, their truth, and the index page of a web server.

    turnstile_YYMMDD.txt            named as by the MTA; also .gz or .zip
    SAMPLE.txt                      says that the data are synthetic, and how they were made
    truth/week=YYYY-MM-DD.parquet   the true traffic per reading
    truth/weeks.csv                 the true traffic per week

`generator` makes the contents.
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
from mta_pipeline.sources.turnstile_files import SAMPLE_NOTE
from mta_pipeline.weeks import ONE_WEEK, file_name, week_start

Compression = Literal["none", "gz", "zip"]

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
    """Write weeks and their truth to a directory. Each file is written atomically.

    Existing weeks are kept if the directory's note says that they are from the same sample. Any other sample in the
    directory is replaced.

    Args:
        directory: created if necessary.
        weeks: the keys of the weeks.
        make: yields the requested weeks one by one.
        about: describes the sample; together with `compression`, it distinguishes samples.
        compression: the compression of the weekly files.
        progress: called after each week with its key, the number of finished weeks and the number of all weeks.

    Returns:
        `truth/weeks.csv`: one row for every week in the directory, with the columns of `WEEKS_SCHEMA`.

    Raises:
        FileExistsError: the directory holds weekly files but no note, so they may be real.
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
    """Return an index page of these weeks like the MTA's, newest first."""
    links = (
        f'<a href="data/nyct/turnstile/{file_name(week)}">{day:%A, %B} {day.day}, {day.year}</a><br />'
        for week, day in ((week, week_start(week) + ONE_WEEK) for week in sorted(weeks, reverse=True))
    )
    return "\n".join(
        (
            "<html><head><title>Turnstile Data (sample)</title></head><body>",
            *links,
            f'<a href="{SAMPLE_NOTE}">{SAMPLE_NOTE}</a>',
            "</body></html>",
            "",
        )
    )


class _Ledger:
    """The contents of a directory, according to its note and `truth/weeks.csv`."""

    def __init__(self, directory: Path, note: str) -> None:
        self._directory = directory
        self._note = note
        self._csv = directory / "truth" / "weeks.csv"
        self.weeks = pl.DataFrame(schema=WEEKS_SCHEMA)

    def open(self) -> None:
        """Prepare the directory: read the weeks of this sample, or remove those of another."""
        (self._directory / "truth").mkdir(parents=True, exist_ok=True)
        note = self._directory / SAMPLE_NOTE
        files = list(self._directory.glob("turnstile_*.txt*"))
        if not note.exists() and files:
            raise FileExistsError(
                f"{self._directory} holds {files[0].name} and no {SAMPLE_NOTE}, so its files may be real. The "
                "sample does not overwrite them; choose another directory"
            )
        if note.exists() and note.read_text() == self._note:
            if self._csv.exists():
                self.weeks = pl.read_csv(self._csv, schema=WEEKS_SCHEMA, glob=False)
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
    """Return a short hash of a long text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pack(text: bytes, name: str, compression: Compression) -> bytes:
    """The bytes of the published file. The same text gives the same bytes."""
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
    """Write a file atomically."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
