"""Assets of the warehouse and of the marts. Marts are Parquet files in the lake, and are published in the warehouse."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Final

import dagster as dg

from mta_pipeline.engines.freshness import verified_inputs
from mta_pipeline.engines.lake_files import LakeIncompleteError
from mta_pipeline.hourly_ridership.contract import COMPLEX_HOURLY_PUBLISHED, ENTRY_FACTOR, OMNY_SHARE
from mta_pipeline.lake.digests import DamagedFile
from mta_pipeline.marts import VIEWS, inputs
from mta_pipeline.marts.contract import DIM_DATE, MARTS, WAREHOUSE
from mta_pipeline.orchestration.conditions import once_its_inputs_are_done
from mta_pipeline.orchestration.io_managers.weekly import WholeTable
from mta_pipeline.orchestration.keys import MEMORY_TAG, WAREHOUSE_POOL, asset_key
from mta_pipeline.orchestration.resources.marts import MartsEngine
from mta_pipeline.orchestration.resources.warehouse import Warehouse
from mta_pipeline.orchestration.specs import described
from mta_pipeline.schema import Table
from mta_pipeline.tables import RIDERSHIP, TABLES
from mta_pipeline.telemetry.tracing import span

# A container needs this much for all weeks at once. Other runs process one week at a time within the default.
_ALL_WEEKS: Final = {MEMORY_TAG: "4g"}

_KEYS: Final = {table.name: asset_key(table) for table in (*TABLES, *WAREHOUSE, *MARTS)}

# Optional inputs: a lake may have turnstile data only.
_HOURLY: Final = dg.AssetSelection.assets(
    *(asset_key(table) for table in (COMPLEX_HOURLY_PUBLISHED, OMNY_SHARE, ENTRY_FACTOR))
)


def warehouse_assets(kind: str) -> dg.AssetsDefinition:
    """The assets of the star schema. A run writes the DuckDB file, or loads BigQuery. Fact tables are views.

    Args:
        kind: the kind of the assets in the catalogue, duckdb or bigquery.
    """
    upstream = {view.name: inputs(view.name) for view in VIEWS}
    # dim_date covers the weeks that are in all tables from which marts are made.
    upstream[DIM_DATE.name] = tuple(table.name for table in RIDERSHIP)

    @dg.multi_asset(
        name="warehouse",
        pool=WAREHOUSE_POOL,
        specs=[
            dg.AssetSpec(
                **{**described(table), "kinds": {kind}},
                deps=[_KEYS[name] for name in upstream[table.name]],
                automation_condition=once_its_inputs_are_done(),
                tags=_ALL_WEEKS,
            )
            for table in WAREHOUSE
        ],
    )
    def publish_star(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.MaterializeResult[None]]:
        facts = warehouse.publish(context.log.info)
        for table in WAREHOUSE:
            yield dg.MaterializeResult(
                asset_key=asset_key(table),
                metadata=facts if table == DIM_DATE else {**facts, **_column_lineage(table)},
            )

    return publish_star


def mart_assets() -> dg.AssetsDefinition:
    """The assets of the marts. One run opens the engine once, and publishes each mart in the warehouse."""

    @dg.multi_asset(
        name="compute_marts",
        outs={
            mart.name: dg.AssetOut(
                **{**described(mart), "kinds": {"ibis", "parquet"}},
                is_required=False,
                automation_condition=once_its_inputs_are_done(can_do_without=_HOURLY),
                tags=_ALL_WEEKS,
            )
            for mart in MARTS
        },
        deps=list(dict.fromkeys(_KEYS[name] for mart in MARTS for name in inputs(mart.name))),
        internal_asset_deps={mart.name: {_KEYS[name] for name in inputs(mart.name)} for mart in MARTS},
        can_subset=True,
    )
    def marts(
        context: dg.AssetExecutionContext, marts_engine: MartsEngine, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.Output[Any]]:
        today = dt.datetime.now(dt.UTC).date().isoformat()
        selected = [mart for mart in MARTS if mart.name in context.op_execution_context.selected_output_names]
        try:
            made_from = verified_inputs(marts_engine.lake.lake_root, selected, today)
            with warehouse.marts(context.log.info) as publish, marts_engine.open() as lake:
                for mart in selected:
                    with span("compute", table=mart.name) as traced:
                        rows = lake.to_pyarrow(mart.name)
                        traced.note(rows=rows.num_rows)
                    if rows.num_rows == 0:
                        context.log.info(f"{mart.name} is empty: its input tables have no data for it")
                    facts = {**publish(mart.name), **_column_lineage(mart)}
                    yield dg.Output(WholeTable(rows, made_from[mart.name]), mart.name, metadata=facts)
        except (LakeIncompleteError, DamagedFile) as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    return marts


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
