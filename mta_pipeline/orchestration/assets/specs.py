"""What Dagster's catalogue shows of a table, taken from the contract. Computing a table does not belong here."""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from mta_pipeline.orchestration.keys import asset_key
from mta_pipeline.schema import Table

OWNERS: Final = ("team:mta-pipeline",)


def described(table: Table, group: str | None = None) -> Mapping[str, Any]:
    """Description, group (its layer unless said otherwise), kinds, owners and column schema of a table, as @asset and
    AssetOut take them."""
    return {
        "key": asset_key(table),
        "description": f"{table.description}\n\nGrain: {table.grain}.",
        "group_name": group or table.layer,
        "kinds": {"polars", "parquet"},
        "owners": OWNERS,
        "metadata": {"dagster/column_schema": _column_schema(table)},
    }


def _column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table.columns
        ]
    )
