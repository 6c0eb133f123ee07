"""The marts and the views of the star schema as SQL, and the lineage of their columns.

`bigquery` runs the SQL for BigQuery. Tables are named `<layer>.<table>`, unless a catalog or prefix is given.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final, Literal

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

from mta_pipeline.engines.lake_files import schema
from mta_pipeline.marts import expression, inputs
from mta_pipeline.marts.contract import WAREHOUSE
from mta_pipeline.tables import TABLES

Dialect = Literal["duckdb", "bigquery", "pyspark"]

_TABLES: Final = MappingProxyType({table.name: table for table in (*TABLES, *WAREHOUSE)})


@cache
def sql(name: str, dialect: Dialect, catalog: str | None = None, prefix: str = "") -> str:
    """Return the query of a mart, or of a view of the star schema, over tables of the lake and the star schema.

    Args:
        name: the mart or view.
        dialect: the SQL dialect.
        catalog: the container of the layers, in BigQuery the project. None means the client's default.
        prefix: the prefix of schema names (in BigQuery: dataset names), before the layer.
    """
    return str(ibis.to_sql(_expression(name, catalog, prefix), dialect=dialect))


@cache
def column_lineage(name: str) -> Mapping[str, frozenset[tuple[str, str]]]:
    """Return, for each column of a mart or a view of the star schema, the (table, column) pairs of its values.

    Columns that only select rows (in filters, joins and groupings) are not included.
    """
    made = _expression(name).op()

    @cache
    def sources(relation: ops.Relation, column: str) -> frozenset[tuple[str, str]]:
        if isinstance(relation, ops.UnboundTable):
            return frozenset({(relation.name, column)})
        # The fields of the expression itself, not those of the relations below.
        fields = relation.values[column].find(ops.Field, filter=ops.Value)
        return frozenset().union(*(sources(field.rel, field.name) for field in fields))

    return MappingProxyType({column: sources(made, column) for column in made.schema.names})


@cache
def _expression(name: str, catalog: str | None = None, prefix: str = "") -> ir.Table:
    needed = (_TABLES[table] for table in inputs(name))
    unbound = {
        table.name: ibis.table(
            ibis.Schema.from_polars(schema(table)),
            name=table.name,
            catalog=catalog,
            database=f"{prefix}{table.layer}",
        )
        for table in needed
    }
    return expression(name, unbound)
