"""Engines that compute the marts: the lake's tables bound to an engine, and the marts over them as Arrow tables.

`marts` defines the expressions of the marts. This package runs them on an engine, which reads the files of the lake.
Engines are slow to import, so they are imported where they are used.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mta_pipeline.marts import expression
from mta_pipeline.marts.contract import KEYS

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pyarrow as pa

EngineName = Literal["duckdb", "spark"]


@dataclass(frozen=True)
class OpenLake:
    """The tables of a lake and of its star schema, by name, on a running engine."""

    tables: "Mapping[str, ir.Table]"
    query: "Callable[[str], pa.Table]"
    """Returns the rows of a mart by its name, with the contract's columns and types, in any order."""

    def mart(self, name: str) -> "ir.Table":
        """Return a mart as an Ibis table, to filter, join or execute."""
        return expression(name, self.tables)

    def to_pyarrow(self, name: str) -> "pa.Table":
        """Return the rows of a mart, with the contract's columns and types, sorted by its key with nulls last."""
        keys: list[tuple[str, Literal["ascending", "descending"]]] = [(key, "ascending") for key in KEYS[name]]
        return self.query(name).sort_by(keys)


@contextmanager
def open_lake(lake_root: str, engine: EngineName = "duckdb", *, spark_master: str = "local[*]") -> Iterator[OpenLake]:
    """Open a lake on an engine until the block ends.

    A table without any week is empty, and so are the marts over it.

    Args:
        lake_root: the lake's location: a directory or a URL such as gs://bucket/prefix.
        engine: duckdb (in this process) or spark.
        spark_master: where Spark runs: local[*], spark://host:port, or sc://host:port for Spark Connect. All of Spark's
            machines must see the lake's files under the same path.

    Raises:
        LakeIncompleteError: a reference table is missing. The message names it and says what to do.
        EngineMissingError: the engine is not installed. The message says how to install it.
    """
    opened: AbstractContextManager[OpenLake]
    if engine == "spark":
        from mta_pipeline.engines import spark  # noqa: PLC0415

        opened = spark.opened(lake_root, spark_master)
    else:
        from mta_pipeline.engines import duckdb  # noqa: PLC0415

        opened = duckdb.opened(lake_root)
    with opened as lake:
        yield lake


def mart(lake_root: str, name: str) -> "pa.Table":
    """Return one mart of a lake as an Arrow table, computed by DuckDB. Raises the same errors as `open_lake`."""
    with open_lake(lake_root) as lake:
        return lake.to_pyarrow(name)
