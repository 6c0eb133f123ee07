"""Conversion between frames (Polars, pyarrow, pandas) and the Parquet files of the lake.

`storage` decides where a file is, and writes it.
"""

import io
from typing import TYPE_CHECKING, Final, TypeAlias

import polars as pl
import polars.selectors as cs

from mta_pipeline.lake.origin import Origin
from mta_pipeline.lake.storage import local_path, read_bytes
from mta_pipeline.schema import Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    from upath import UPath

Frame: TypeAlias = "pl.DataFrame | pl.LazyFrame | pa.Table | pd.DataFrame"

# Fixed, because Polars otherwise splits row groups at the chunks of the frame. A week fits into one group.
_ROWS_PER_GROUP: Final = 1 << 20


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


def to_parquet(frame: pl.DataFrame, origin: Origin | None = None) -> memoryview:
    """Encode a frame as a Parquet file that every engine reads: plain strings, microseconds without zone, zstd.

    Categories become strings, and wall-clock times microseconds. The same rows give the same bytes, however the frame
    is split into chunks. `origin` is stored in the metadata of the file.
    """
    plain = frame.with_columns(
        (cs.categorical() | cs.enum()).cast(pl.String), cs.datetime(time_zone=None).cast(pl.Datetime("us"))
    )
    buffer = io.BytesIO()
    plain.write_parquet(
        buffer,
        compression="zstd",
        row_group_size=_ROWS_PER_GROUP,
        metadata=origin.to_metadata() if origin else None,
    )
    return buffer.getbuffer()


def origin(path: "UPath") -> Origin | None:
    """Return the origin of a Parquet file, or None if the file lacks it or does not exist."""
    try:
        return Origin.of_metadata(_metadata(path).metadata or {})
    except FileNotFoundError:
        return None


def row_count(path: "UPath") -> int:
    """Return the number of rows in a Parquet file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return int(_metadata(path).num_rows)


def _metadata(path: "UPath") -> "pq.FileMetaData":
    import pyarrow.parquet as pq  # noqa: PLC0415

    # Reads only the end of the file, where the metadata is. Polars would download all of it from a bucket.
    with path.fs.open(path.path, "rb", block_size=1 << 16) as file:
        return pq.read_metadata(file)


def scan(path: "UPath", *, in_place: bool) -> pl.LazyFrame:
    """Return the table in a Parquet file. With `in_place`, a local file is scanned lazily; otherwise it is read now.

    Raises:
        FileNotFoundError: there is no such file.
    """
    local = local_path(path)
    if in_place and local:
        local.stat()
        return pl.scan_parquet(local, glob=False, hive_partitioning=False)
    # Not the object store reader of Polars, because it ignores the settings of fsspec.
    return pl.scan_parquet(io.BytesIO(read_bytes(path)))


def with_new_columns(frame: pl.LazyFrame, table: Table) -> pl.LazyFrame:
    """Add the columns that a file lacks because it was written before the table had them."""
    if not (new := {column.name: column.if_absent for column in table.columns if column.if_absent is not None}):
        return frame
    there = frame.collect_schema()
    return frame.with_columns(**{name: values for name, values in new.items() if name not in there})
