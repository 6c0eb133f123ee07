"""The marts and the star's views as SQL over named tables, and which columns each of theirs is made from.

BigQuery's SQL is compiled here and run in `bigquery`; tables are `<layer>.<table>`, unless layers are said to be
elsewhere.
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
    """The query of a mart, or of a view of the star, over tables of the lake and the star.

    Args:
        name: the mart or view.
        dialect: whose SQL.
        catalog: what holds the layers, in BigQuery the project; None is the one that a client is in.
        prefix: what the schemas, in BigQuery datasets, are named before the layer.
    """
    return str(ibis.to_sql(_expression(name, catalog, prefix), dialect=dialect))


@cache
def column_lineage(name: str) -> Mapping[str, frozenset[tuple[str, str]]]:
    """For each column of a mart or a view of the star, the (table, column)s that its values come from.

    Columns that only choose rows (filters, joins, groups) are not among them.
    """
    made = _expression(name).op()

    @cache
    def sources(relation: ops.Relation, column: str) -> frozenset[tuple[str, str]]:
        if isinstance(relation, ops.UnboundTable):
            return frozenset({(relation.name, column)})
        # An expression's own fields, not those of the relations below them.
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
