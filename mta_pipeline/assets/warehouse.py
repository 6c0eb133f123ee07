"""The warehouse and the marts: a star over the lake in one DuckDB file, and answers as Parquet beside the lake."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg

from mta_pipeline.assets.catalogue import asset_key, described
from mta_pipeline.automation.conditions import once_its_inputs_are_done
from mta_pipeline.containers.limits import MEMORY_TAG
from mta_pipeline.engines.lake_files import LakeIncompleteError
from mta_pipeline.marts import VIEWS, inputs
from mta_pipeline.marts.contract import DIM_DATE, MARTS, WAREHOUSE
from mta_pipeline.resources.marts import MartsEngine
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, COMPLEX_HOURLY, TABLES, TURNSTILE_TRAFFIC, Table

# What a container needs for all weeks at once; other runs go week by week and get by with the usual.
_ALL_WEEKS: Final = {MEMORY_TAG: "4g"}

_KEYS: Final = {table.name: asset_key(table) for table in (*TABLES, *WAREHOUSE, *MARTS)}


def warehouse_assets(lake_root: str, file: Path | None) -> dg.AssetsDefinition:
    """The star schema. Its tables are views; what a run makes is the file that has them, if there is to be one."""
    upstream = {view.name: inputs(view.name) for view in VIEWS}
    # The calendar is that of the weeks in all tables that marts are made from.
    upstream[DIM_DATE.name] = tuple(table.name for table in (TURNSTILE_TRAFFIC, COMPLEX_DAILY, COMPLEX_HOURLY))

    @dg.multi_asset(
        name="warehouse",
        specs=[
            dg.AssetSpec(
                **{**described(table), "kinds": {"duckdb"}},
                deps=[_KEYS[name] for name in upstream[table.name]],
                automation_condition=once_its_inputs_are_done(),
                tags=_ALL_WEEKS,
            )
            for table in WAREHOUSE
        ],
    )
    def warehouse(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        facts = _write(context, lake_root, file)
        for table in WAREHOUSE:
            yield dg.MaterializeResult(
                asset_key=asset_key(table),
                metadata=facts if table == DIM_DATE else {**facts, **_column_lineage(table)},
            )

    return warehouse


def mart_assets(lake_root: str, file: Path | None) -> dg.AssetsDefinition:
    """Every mart, on one engine that is opened once; then the file has views of those that are new."""

    @dg.multi_asset(
        name="compute_marts",
        outs={
            mart.name: dg.AssetOut(
                **{**described(mart), "kinds": {"ibis", "parquet"}},
                is_required=False,
                automation_condition=once_its_inputs_are_done(),
                tags=_ALL_WEEKS,
            )
            for mart in MARTS
        },
        deps=list(dict.fromkeys(_KEYS[name] for mart in MARTS for name in inputs(mart.name))),
        internal_asset_deps={mart.name: {_KEYS[name] for name in inputs(mart.name)} for mart in MARTS},
        can_subset=True,
    )
    def marts(context: dg.AssetExecutionContext, marts_engine: MartsEngine) -> Iterator[dg.Output[Any]]:
        try:
            with marts_engine.open() as lake:
                for mart in MARTS:
                    if mart.name in context.op_execution_context.selected_output_names:
                        rows = lake.to_pyarrow(mart.name)
                        if rows.num_rows == 0:
                            context.log.warning(f"{mart.name} is empty: the lake has nothing that it could be made of")
                        yield dg.Output(rows, mart.name, metadata=_column_lineage(mart))
        except LakeIncompleteError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        _write(context, lake_root, file)

    return marts


def _write(context: dg.AssetExecutionContext, lake_root: str, file: Path | None) -> Mapping[str, Any]:
    """Write the warehouse's file, if there is to be one, and say where it is."""
    if file is None:
        context.log.info(
            f"The lake is at {lake_root}: a DuckDB file has views of files in a directory, so there is none."
        )
        return {}
    from mta_pipeline.engines.duckdb import WarehouseFileError, write_warehouse  # noqa: PLC0415  # slow to import

    try:
        write_warehouse(lake_root, file)
    except (LakeIncompleteError, WarehouseFileError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    return {"path": dg.MetadataValue.path(str(file))}


def _column_lineage(table: Table) -> Mapping[str, dg.TableColumnLineage]:
    from mta_pipeline.engines.sql import column_lineage  # noqa: PLC0415  # slow to import

    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(_KEYS[source], name) for source, name in sorted(sources)]
                for column, sources in column_lineage(table.name).items()
            }
        )
    }
