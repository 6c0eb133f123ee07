"""Frames of any kind to and from the one kind of Parquet file that the lake holds.

Where a file lies and which week it is of are not known here.
"""

import io
from typing import TYPE_CHECKING, Final, TypeAlias

import polars as pl
import polars.selectors as cs

from mta_pipeline.lake.storage import local_path, read_bytes

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    from upath import UPath

MADE_FROM: Final = "made_from"
"""The key of a file's own metadata under which it says which published contents it was made from."""

Frame: TypeAlias = "pl.DataFrame | pl.LazyFrame | pa.Table | pd.DataFrame"

# Set, because Polars otherwise cuts row groups where the frame's chunks happen to end. Holds any week in one group.
_ROWS_PER_GROUP: Final = 1 << 20


def to_polars(frame: Frame) -> pl.DataFrame:
    """The frame as an eager Polars frame; a pandas index is left out.

    Raises:
        TypeError: it is no frame.
    """
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    import pandas as pd  # noqa: PLC0415  # slow to import, seldom needed
    import pyarrow as pa  # noqa: PLC0415

    if isinstance(frame, pd.DataFrame):
        return pl.from_pandas(frame)
    if isinstance(frame, pa.Table):
        return pl.DataFrame(pl.from_arrow(frame))
    raise TypeError(f"{type(frame).__name__} is no frame: give a Polars, pyarrow or pandas one")


def from_polars(frame: pl.LazyFrame, kind: object) -> Frame:
    """The frame as the kind asked for: one of the types in `Frame`.

    Raises:
        TypeError: there is no such kind.
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
    raise TypeError(f"a table cannot be had as {kind}: annotate a Polars, pyarrow or pandas frame, or WeeklyInputs")


def to_parquet(frame: pl.DataFrame, made_from: str | None = None) -> memoryview:
    """The frame as a Parquet file that any engine reads: plain strings, microseconds without zone, zstd.

    The same rows give the same bytes, whatever the kind, chunks or dictionaries of the frame they come in. `made_from`
    goes into the file's key-value metadata.
    """
    plain = frame.with_columns(
        (cs.categorical() | cs.enum()).cast(pl.String), cs.datetime(time_zone=None).cast(pl.Datetime("us"))
    )
    buffer = io.BytesIO()
    plain.write_parquet(
        buffer,
        compression="zstd",
        row_group_size=_ROWS_PER_GROUP,
        metadata={MADE_FROM: made_from} if made_from else None,
    )
    return buffer.getbuffer()


def made_from(path: "UPath") -> str | None:
    """What the table in a Parquet file says it was made from; None if it does not say, or if there is no such file."""
    try:
        said = (_metadata(path).metadata or {}).get(MADE_FROM.encode())
    except FileNotFoundError:
        return None
    return None if said is None else said.decode()


def row_count(path: "UPath") -> int:
    """How many rows the table in a Parquet file has.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return int(_metadata(path).num_rows)


def _metadata(path: "UPath") -> "pq.FileMetaData":
    import pyarrow.parquet as pq  # noqa: PLC0415

    # It stands at the file's end: from a bucket, no more than that is read. Polars would read all of it.
    with path.fs.open(path.path, "rb", block_size=1 << 16) as file:
        return pq.read_metadata(file)


def scan(path: "UPath", *, in_place: bool) -> pl.LazyFrame:
    """The table in a Parquet file: in place if it is local and that is wanted, else as it is at this moment.

    Raises:
        FileNotFoundError: there is no such file.
    """
    local = local_path(path)
    if in_place and local:
        local.stat()
        return pl.scan_parquet(local, glob=False, hive_partitioning=False)
    # Polars' own reader of object stores is not used: it knows nothing of fsspec's settings.
    return pl.scan_parquet(io.BytesIO(read_bytes(path)))
