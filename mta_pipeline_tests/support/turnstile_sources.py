"""The same weeks of turnstile data in every kind of source: weekly files, yearly exports, and the portal."""

import contextlib
import gzip
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mta_pipeline.sample.portal import Portal, serve
from mta_pipeline.sample.usage import usage_data_sets, usage_rows
from mta_pipeline.sources.socrata.dataset import SodaSource
from mta_pipeline.weeks import file_name

EXPORTED = {
    "c_a": "C/A", "unit": "Unit", "scp": "SCP", "station": "Station", "line_name": "Line Name", "division": "Division",
    "date": "Date", "time": "Time", "description": "Description", "entries": "Entries", "exits": "Exits",
}  # fmt: skip
"""The names of an export's columns by those of the portal. The MTA pads the last one with blanks."""


@dataclass(frozen=True)
class Source:
    """A kind of source. Exports and data sets have their rows in another order than weekly files."""

    suffix: str
    """Of the files, such as `.txt.gz` or `.tsv`; empty for the portal."""
    has_station: bool = True

    @contextlib.contextmanager
    def holding(self, texts: Mapping[str, bytes], folder: Path, data_sets: Sequence[SodaSource]) -> Iterator[str]:
        """Put the texts of weekly files, by week, into a source. Yields its location for MTA_FEED."""
        folder.mkdir()
        if self.suffix.startswith(".txt"):
            for week, text in texts.items():
                name = file_name(week)
                (folder / f"{name}{self.suffix.removeprefix('.txt')}").write_bytes(_packed(text, name, self.suffix))
            yield str(folder)
            return
        rows = usage_rows(texts.values()).sample(fraction=1, shuffle=True, seed=1)
        rows = rows if self.has_station else rows.drop("station")
        if self.suffix:
            for (year,), of_year in rows.group_by(pl.col("date").dt.year()):
                name = f"MTA_Subway_Turnstile_Usage_Data__{year}.{self.suffix.split('.')[1]}"
                text = _exported(of_year, "\t" if "tsv" in self.suffix else ",")
                (folder / f"{name.rpartition('.')[0]}{self.suffix}").write_bytes(_packed(text, name, self.suffix))
            yield str(folder)
            return
        with serve(Portal(usage_data_sets(rows, data_sets))) as portal:
            yield f"soda+{portal.url}"


SOURCES = {
    "weekly files": Source(".txt"),
    "weekly files, gzip": Source(".txt.gz"),
    "weekly files, zip": Source(".txt.zip"),
    "CSV exports": Source(".csv"),
    "CSV exports without Station": Source(".csv", has_station=False),
    "CSV exports, gzip": Source(".csv.gz"),
    "CSV exports, zip": Source(".csv.zip"),
    "TSV exports": Source(".tsv"),
    "portal": Source(""),
    "portal without station": Source("", has_station=False),
}


def _exported(rows: pl.DataFrame, separator: str) -> bytes:
    """The rows as the page of the portal exports them."""
    dates = pl.col("date").dt.to_string("%m/%d/%Y")
    named = rows.with_columns(dates).rename({name: EXPORTED[name] for name in rows.columns})
    return named.rename({"Exits": f"{'Exits':<60}"}).write_csv(separator=separator).encode()


def _packed(text: bytes, name: str, suffix: str) -> bytes:
    if suffix.endswith(".gz"):
        return gzip.compress(text, 1)
    if suffix.endswith(".zip"):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, text)
        return packed.getvalue()
    return text
