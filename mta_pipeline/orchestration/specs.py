"""Asset specs from the contract of a table: description, group, kinds, owners, code version, columns and name."""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from mta_pipeline.orchestration.keys import asset_key
from mta_pipeline.schema import Table

OWNERS: Final = ("team:mta-pipeline",)

ONE_MORE_TRY: Final = dg.RetryPolicy(max_retries=1, delay=1)
"""Of a step that an error of another system has ended, such as a restart of Dagster's database. Run retries do not
cover failed steps. Bad input fails with `allow_retries=False`."""

# Filled when assets are defined, which happens in every process before it runs a step.
_contracts: Final[dict[dg.AssetKey, Table]] = {}


def described(table: Table, group: str | None = None) -> Mapping[str, Any]:
    """Return the arguments of @asset or AssetOut that describe a table. Also registers the table for `contract_of`.

    Args:
        table: the contract of the asset.
        group: the asset group; by default the layer of the table.
    """
    key = asset_key(table)
    _contracts[key] = table
    return {
        "key": key,
        "description": f"{table.description}\n\nGrain: {table.grain}.",
        "group_name": group or table.layer,
        "kinds": {"polars", "parquet"},
        "owners": OWNERS,
        "code_version": str(table.rules),
        "metadata": {
            "dagster/column_schema": _column_schema(table),
            "dagster/table_name": f"{table.layer}.{table.name}",
        },
    }


def contract_of(key: dg.AssetKey) -> Table | None:
    """Return the contract that an asset must satisfy, or None if it was not defined with `described`."""
    return _contracts.get(key)


def _column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type_name,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table.columns
        ]
    )
