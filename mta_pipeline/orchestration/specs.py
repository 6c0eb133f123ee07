"""What Dagster's catalogue shows of a table, taken from the contract. Computing a table does not belong here."""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from mta_pipeline.orchestration.keys import asset_key
from mta_pipeline.schema import Table

OWNERS: Final = ("team:mta-pipeline",)

# Filled when assets are defined, which every process does before it runs a step.
_contracts: Final[dict[dg.AssetKey, Table]] = {}


def described(table: Table, group: str | None = None) -> Mapping[str, Any]:
    """Description, group (its layer unless said otherwise), kinds, owners and column schema of a table, as @asset and
    AssetOut take them. The table becomes the contract of the asset: see `contract_of`."""
    key = asset_key(table)
    _contracts[key] = table
    return {
        "key": key,
        "description": f"{table.description}\n\nGrain: {table.grain}.",
        "group_name": group or table.layer,
        "kinds": {"polars", "parquet"},
        "owners": OWNERS,
        "metadata": {"dagster/column_schema": _column_schema(table)},
    }


def contract_of(key: dg.AssetKey) -> Table | None:
    """The table that an asset has to match, or None for an asset that was not described by one."""
    return _contracts.get(key)


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
