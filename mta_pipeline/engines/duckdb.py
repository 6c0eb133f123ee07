"""The lake in DuckDB: in memory to compute marts, and as views in one file that any DuckDB client can open.

The file holds no data except dim_date. It is written in full and replaced atomically, so nobody waits for a lock.
"""

import glob
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import ibis
import polars as pl
import pyarrow as pa
from ibis.backends.sql.datatypes import DuckDBType
from upath import UPath

from mta_pipeline.engines import OpenLake
from mta_pipeline.engines.freshness import record_warehouse, warehouse_manifest
from mta_pipeline.engines.lake_files import is_there, schema, weeks_in_lake
from mta_pipeline.engines.sql import sql
from mta_pipeline.lake.inputs import current_inputs
from mta_pipeline.lake.storage import local_path, location, part_path, write_atomically
from mta_pipeline.marts import VIEWS
from mta_pipeline.marts.contract import DIM_DATE, MARTS, WAREHOUSE
from mta_pipeline.marts.star import dim_date
from mta_pipeline.schema import Table
from mta_pipeline.tables import TABLES, WEEKLY

_OLDEST_STORAGE: Final = "v1.0.0"
"""Storage version of the file, which older clients can open, too."""

_MAX_OWN_BYTES: Final = 64 << 20

_REMEDY: Final = "Nothing was written. Set WAREHOUSE to another file, or move this one away."

_WEEK_OF_FILE: Final = r"CAST(regexp_extract(filename, 'week=([^/]*)/[^/]*$', 1) AS DATE) AS week"
"""The week from the last folder of a path. DuckDB's own parser also finds `name=value` in folders above the lake."""


class WarehouseFileError(OSError):
    """The warehouse file cannot be written. The existing file stays. The message says why, and what to do."""


@contextmanager
def opened(lake_root: str) -> Iterator[OpenLake]:
    """Open the lake and its star schema in an in-memory DuckDB database. Raises LakeIncompleteError."""
    with tempfile.TemporaryDirectory(prefix="mta-duckdb-") as spill:
        backend = ibis.duckdb.connect(temp_directory=spill)
        try:
            if local_path(root := location(lake_root)) is None:
                backend.con.register_filesystem(root.fs)
            _create_lake(backend.con, lake_root)
            tables = {table.name: backend.table(table.name, database=table.layer) for table in (*TABLES, *WAREHOUSE)}
            yield OpenLake(tables, lambda name: _rows(backend.con, name))
        finally:
            backend.disconnect()


def write_warehouse(lake_root: str, path: Path) -> None:
    """Write the warehouse file: a schema per layer, dim_date, and views for all other tables and marts.

    The views read the lake's files by absolute paths at query time, so new and updated weeks are visible at once.
    Tables without files are empty until the file is written again. A manifest beside the file holds its sha256.

    Raises:
        WarehouseFileError: the lake is in an object store, or the file at `path` was not written by this function.
        LakeIncompleteError: a reference table is not in the lake.
    """
    if local_path(location(lake_root)) is None:
        raise WarehouseFileError(
            f"A DuckDB warehouse needs a lake in a directory, but the lake is at {lake_root}. "
            "Set WAREHOUSE=bigquery://PROJECT for a lake in a bucket."
        )
    _refuse_foreign_file(path)
    made_from = current_inputs(lake_root, TABLES)
    with tempfile.TemporaryDirectory(prefix="mta-duckdb-") as folder:
        file = Path(folder) / "mta.duckdb"
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH {_quoted(str(file))} AS mta (STORAGE_VERSION '{_OLDEST_STORAGE}')")
            connection.execute("USE mta")
            connection.begin()
            _create_lake(connection, lake_root)
            for mart in MARTS:
                connection.execute(f"CREATE VIEW {_name(mart)} AS {_select(lake_root, mart)}")
            connection.execute(";".join(_comments()))
            connection.commit()
            connection.execute("USE memory")
            connection.execute("DETACH mta")
        contents = file.read_bytes()
        write_atomically(UPath(path), contents)
        record_warehouse(path, contents, made_from)


def _comments() -> Iterator[str]:
    for table in (*TABLES, *VIEWS, *MARTS):
        yield f"COMMENT ON VIEW {_name(table)} IS {_quoted(table.description)}"
        for column in table.columns:
            yield f"COMMENT ON COLUMN {_name(table)}.{column.name} IS {_quoted(column.description)}"


def _create_lake(connection: duckdb.DuckDBPyConnection, lake_root: str) -> None:
    """Create a schema per layer, the table dim_date, and a view per table of the lake and the star schema."""
    for layer in dict.fromkeys(table.layer for table in (*TABLES, DIM_DATE, *MARTS)):
        connection.execute(f"CREATE SCHEMA {layer}")
    connection.register("calendar", dim_date(weeks_in_lake(lake_root)).to_arrow())
    connection.execute(f"CREATE TABLE {_name(DIM_DATE)} AS FROM calendar")
    connection.unregister("calendar")
    for table in TABLES:
        connection.execute(f"CREATE VIEW {_name(table)} AS {_select(lake_root, table)}")
    for view in VIEWS:
        connection.execute(f"CREATE VIEW {_name(view)} AS {sql(view.name, 'duckdb')}")


def _rows(connection: duckdb.DuckDBPyConnection, name: str) -> pa.Table:
    """The rows of a mart, cast to the contract's types: DuckDB sums integers to a wider type."""
    [mart] = [mart for mart in MARTS if mart.name == name]
    rows: pa.Table = connection.sql(sql(name, "duckdb")).to_arrow_table()
    return rows.cast(ibis.Schema.from_polars(pl.Schema(mart.schema)).to_pyarrow())


def _select(lake_root: str, table: Table) -> str:
    """The query for a table's rows in its files, or for no rows if there are no files."""
    columns = schema(table)
    is_mart = table in MARTS
    there = part_path(lake_root, table.layer, table.name).exists() if is_mart else is_there(lake_root, table)
    if not there:
        return _no_rows(columns)
    week = [_WEEK_OF_FILE] if table in WEEKLY else []
    files = f"{_quoted(_pattern(lake_root, table))}, hive_partitioning = false, filename = true"
    new = {column.name: column.dtype for column in table.columns if column.if_absent is not None}
    if not new:
        return f"SELECT {', '.join([*week, *table.schema])} FROM read_parquet({files})"  # noqa: S608
    # Some files, or all of them, may lack the new columns. A filter on the week chooses files only below the union.
    rows = f"SELECT {', '.join([*week, '*'])} FROM read_parquet({files}, union_by_name = true)"  # noqa: S608
    return f"SELECT {', '.join(columns)} FROM ({rows} UNION ALL BY NAME {_no_rows(new)})"  # noqa: S608


def _no_rows(columns: Mapping[str, pl.DataType]) -> str:
    types = ibis.Schema.from_polars(columns)
    nulls = (f"CAST(NULL AS {DuckDBType.to_string(dtype)}) AS {name}" for name, dtype in types.items())
    return f"SELECT {', '.join(nulls)} WHERE false"


def _pattern(lake_root: str, table: Table) -> str:
    """The pattern that matches a table's file, or all files of a weekly table."""
    folder = location(lake_root) / table.layer / table.name
    pattern = f"{glob.escape(str(folder))}/{'week=*/' if table in WEEKLY else ''}"
    return pattern + part_path(lake_root, table.layer, table.name).name


def is_unreadable(path: Path) -> bool:
    """Whether the pipeline has written a warehouse file and DuckDB cannot read it now."""
    if not path.exists() or not warehouse_manifest(path).exists() or path.stat().st_size > _MAX_OWN_BYTES:
        return False
    try:
        _names_in(path)
    except WarehouseFileError:
        return True
    return False


def _names_in(path: Path) -> set[str]:
    """The tables and views of a database file, as `schema.name`.

    Reads a copy, because a client that has the file open for writing holds a lock on it.

    Raises:
        WarehouseFileError: DuckDB cannot read the file.
    """
    with tempfile.TemporaryDirectory(prefix="mta-duckdb-") as folder:
        copy = Path(folder) / "copy.duckdb"
        copy.write_bytes(path.read_bytes())
        try:
            with duckdb.connect(copy, read_only=True) as connection:
                names = connection.execute(
                    "SELECT schema_name || '.' || table_name FROM duckdb_tables() "
                    "UNION ALL SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE NOT internal"
                ).fetchall()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0].replace(str(copy), str(path))
            raise WarehouseFileError(
                f"{path}: this DuckDB ({duckdb.__version__}) cannot read it: {reason} {_REMEDY}"
            ) from error
    return {name for (name,) in names}


def _refuse_foreign_file(path: Path) -> None:
    """Refuse to replace a file that the pipeline did not write."""
    if not path.exists():
        return
    if path.with_name(path.name + ".wal").exists():
        raise WarehouseFileError(f"{path}: another program is writing to it (there is a .wal beside it). {_REMEDY}")
    if path.stat().st_size > _MAX_OWN_BYTES:
        raise WarehouseFileError(
            f"{path}: the file is too large to be the pipeline's own ({path.stat().st_size:,} bytes). {_REMEDY}"
        )
    foreign = _names_in(path) - {_name(table) for table in (*TABLES, *VIEWS, DIM_DATE, *MARTS)}
    if foreign:
        raise WarehouseFileError(
            f"{path}: the file holds tables that the pipeline did not write: {', '.join(sorted(foreign))}. {_REMEDY}"
        )


def _name(table: Table) -> str:
    return f"{table.layer}.{table.name}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
