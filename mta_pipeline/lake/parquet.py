"""Conversion between frames (Polars, pyarrow, pandas) and the Parquet files of the lake.

`storage` decides where a file is, and writes it.
"""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, TypeAlias

import polars as pl
import polars.selectors as cs

from mta_pipeline.lake.digests import PARQUET, PARQUET_KEYS, DamagedFile
from mta_pipeline.lake.origin import Origin
from mta_pipeline.lake.storage import local_path, read_bytes, set_aside
from mta_pipeline.schema import Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    from upath import UPath


class Record(Protocol):
    """What a file is made from: `Origin` for a table with weeks, `Inputs` for a mart."""

    def to_metadata(self) -> dict[str, str]:
        """The entries of the metadata of the file."""


Frame: TypeAlias = "pl.DataFrame | pl.LazyFrame | pa.Table | pd.DataFrame"

# Fixed, because Polars otherwise splits row groups at the chunks of the frame. A week fits into one group.
_ROWS_PER_GROUP: Final = 1 << 20

REMEDY: Final = "Launch the run again: it makes the file again from its input."

_END: Final = 1 << 12
"""Bytes at the end of a file in which its digest is: it is the last entry of the metadata, which end the footer."""


def to_polars(frame: Frame) -> pl.DataFrame:
    """Convert a frame to an eager Polars frame. The index of a pandas frame is left out.

    Raises:
        TypeError: `frame` is not a frame.
    """
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    import pandas as pd  # noqa: PLC0415  # slow to import and seldom needed
    import pyarrow as pa  # noqa: PLC0415

    if isinstance(frame, pd.DataFrame):
        return pl.from_pandas(frame)
    if isinstance(frame, pa.Table):
        return pl.DataFrame(pl.from_arrow(frame))
    raise TypeError(f"{type(frame).__name__} is not a frame: return a Polars, pyarrow or pandas frame")


def from_polars(frame: pl.LazyFrame, kind: object) -> Frame:
    """Convert a frame to `kind`, one of the types in `Frame`.

    Raises:
        TypeError: `kind` is not one of them.
    """
    if kind is pl.LazyFrame:
        return frame
    if kind is pl.DataFrame:
        return frame.collect()
    import pandas as pd  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    if kind is pa.Table:
        return frame.collect().to_arrow(compat_level=pl.CompatLevel.oldest())
    if kind is pd.DataFrame:
        return frame.collect().to_pandas()
    raise TypeError(f"A table cannot be loaded as {kind}: annotate a Polars, pyarrow or pandas frame, or WeeklyInputs")


def to_parquet(frame: pl.DataFrame, record: "Record | None" = None) -> memoryview:
    """Encode a frame as a Parquet file that every engine reads: plain strings, microseconds without zone, zstd.

    Categories become strings, and wall-clock times microseconds. The same rows give the same bytes, however the frame
    is split into chunks. The metadata of the file holds the record of what it is made from, and its digest.
    """
    plain = frame.with_columns(
        (cs.categorical() | cs.enum()).cast(pl.String), cs.datetime(time_zone=None).cast(pl.Datetime("us"))
    )
    buffer = io.BytesIO()
    plain.write_parquet(
        buffer,
        compression="zstd",
        row_group_size=_ROWS_PER_GROUP,
        metadata={**(record.to_metadata() if record else {}), **PARQUET_KEYS},
    )
    contents = buffer.getbuffer()
    PARQUET.apply(contents)
    return contents


def problem(contents: bytes) -> str | None:
    """Say why the contents of a Parquet file are damaged; None if they are not, as far as can be told.

    Files that earlier versions of the project wrote have no digest. They must have a footer that can be read.
    """
    if contents[-4:] != b"PAR1":
        return f"its end is missing ({len(contents):,} bytes are there)"
    if (found := PARQUET.problem(contents)) or PARQUET.digest_in(contents):
        return found
    try:
        _footer(io.BytesIO(contents))
    except ValueError as error:
        return str(error)
    return None


def read(path: "UPath") -> bytes:
    """Return the contents of a Parquet file, verified by its digest.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: the file is damaged.
    """
    contents = read_bytes(path)
    if found := problem(contents):
        raise DamagedFile(f"{path} is damaged: {found}. {REMEDY}")
    return contents


def set_damaged_aside(path: "UPath") -> None:
    """Set a damaged Parquet file aside; see `storage.set_aside`. An intact one stays."""
    set_aside(path, lambda contents: problem(contents) is not None)


def digest(path: "UPath") -> str | None:
    """Return the digest that a local file holds, without verifying it. None if the file lacks it."""
    with path.fs.open(path.path, "rb") as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - _END))
        return PARQUET.digest_in(file.read())


def origin(path: "UPath") -> Origin | None:
    """Return the origin of a Parquet file, or None if the file lacks it, does not exist, or has no readable footer."""
    try:
        return Origin.of_metadata(metadata(path))
    except (FileNotFoundError, ValueError):
        return None


def metadata(path: "UPath") -> Mapping[bytes, bytes]:
    """Return the entries of the metadata in the footer of a Parquet file.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: the footer cannot be read.
    """
    return _read_footer(path).metadata or {}


def row_count(path: "UPath") -> int:
    """Return the number of rows in a Parquet file, according to its footer.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: the footer cannot be read.
    """
    return int(_read_footer(path).num_rows)


def _read_footer(path: "UPath") -> "pq.FileMetaData":
    # Reads only the end of the file, where the metadata is. Polars would download all of it from a bucket.
    with path.fs.open(path.path, "rb", block_size=1 << 16) as file:
        try:
            return _footer(file)
        except ValueError as error:
            raise DamagedFile(f"{path} is damaged: {error}. {REMEDY}") from error


def _footer(file: BinaryIO) -> "pq.FileMetaData":
    """Read the footer of a Parquet file. Raises ValueError if that is impossible because of its contents."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return pq.read_metadata(file)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno:  # the file system's error
            raise
        raise ValueError(f"its footer cannot be read: {error}") from error


def scan(path: "UPath", *, in_place: bool) -> pl.LazyFrame:
    """Return the table in a Parquet file, verified by its digest.

    With `in_place`, the frame reads a local file again when it is collected, instead of holding its contents in memory.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: the file is damaged.
    """
    local, contents = local_path(path), read(path)
    if in_place and local:
        return pl.scan_parquet(local, glob=False, hive_partitioning=False)
    # Not the object store reader of Polars, because it ignores the settings of fsspec.
    return pl.scan_parquet(io.BytesIO(contents))


def with_new_columns(frame: pl.LazyFrame, table: Table) -> pl.LazyFrame:
    """Add the columns that a file lacks because it was written before the table had them."""
    if not (new := {column.name: column.if_absent for column in table.columns if column.if_absent is not None}):
        return frame
    there = frame.collect_schema()
    return frame.with_columns(**{name: values for name, values in new.items() if name not in there})
