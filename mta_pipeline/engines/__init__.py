"""Where the marts run: the lake's tables bound to an engine, and the marts over them as Arrow tables.

What a mart means is said in `marts`; this package knows engines, and files only as far as an engine must find them.
Engines are slow to import, and imported when used.
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
    """A lake's tables and its star's, by name, on an engine that is running."""

    tables: "Mapping[str, ir.Table]"
    query: "Callable[[str], pa.Table]"
    """A mart's rows by its name, in the contract's columns and types, in any order."""

    def mart(self, name: str) -> "ir.Table":
        """A mart as an Ibis table, to go on with: filter it, join it, execute it."""
        return expression(name, self.tables)

    def to_pyarrow(self, name: str) -> "pa.Table":
        """A mart's rows, in the contract's columns and types, sorted by its key, nulls last."""
        keys: list[tuple[str, Literal["ascending", "descending"]]] = [(key, "ascending") for key in KEYS[name]]
        return self.query(name).sort_by(keys)


@contextmanager
def open_lake(lake_root: str, engine: EngineName = "duckdb", *, spark_master: str = "local[*]") -> Iterator[OpenLake]:
    """Open a lake on an engine, for as long as the block lasts.

    A table without any week is empty, and so are the marts over it.

    Args:
        lake_root: where the tables are: a directory or a URL such as gs://bucket/prefix.
        engine: duckdb, in this process, or spark.
        spark_master: where Spark runs, local[*], spark://host:port, or sc://host:port for Spark Connect; wherever Spark
            computes, the lake's files must be seen under the same path.

    Raises:
        LakeIncompleteError: a reference table is not there; the message names it and says what to do.
        EngineMissingError: the engine is not installed; the message says how to.
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
    """One mart of a lake as an Arrow table, computed by DuckDB. Raises as `open_lake` does."""
    with open_lake(lake_root) as lake:
        return lake.to_pyarrow(name)
