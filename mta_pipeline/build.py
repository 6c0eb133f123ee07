"""The one place where the parts meet: settings in, Definitions out. Tests build theirs here, with their own parts."""

import warnings
from typing import Final

import dagster as dg

from mta_pipeline.assets.lake import complex_assets, reference_assets, traffic_asset
from mta_pipeline.assets.raw import feed_asset, raw_asset
from mta_pipeline.assets.staged import staged_assets
from mta_pipeline.assets.warehouse import mart_assets, warehouse_assets
from mta_pipeline.checks.weekly import weekly_checks
from mta_pipeline.io_managers.parquet import ParquetIOManager
from mta_pipeline.partitions import calendar
from mta_pipeline.resources.feed import TurnstileFeed
from mta_pipeline.resources.marts import MartsEngine
from mta_pipeline.resources.raw import RawLayer
from mta_pipeline.resources.warehouse import BigQueryWarehouse, Warehouse, WarehouseFile
from mta_pipeline.settings import Settings

REFERENCE_JOB: Final = "reference_tables"
RIDERSHIP_JOB: Final = "weekly_ridership"
MARTS_JOB: Final = "marts"


def build_defs(settings: Settings, **resources: object) -> dg.Definitions:
    """The definitions of one deployment.

    Args:
        settings: what the deployment chooses.
        resources: parts to use in place of the usual ones, by resource key: feed, raw_layer, io_manager, marts_engine,
            warehouse.
    """
    with warnings.catch_warnings():
        # What we use of Dagster that is not final yet is pinned by tests and by its exact version.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        weeks = calendar(settings.last_week)
        weekly = [
            raw_asset(weeks),
            staged_assets(weeks),
            traffic_asset(weeks),
            *complex_assets(weeks),
        ]
        reference = reference_assets()
        warehouse = _warehouse(settings)
        answers = [
            warehouse_assets("bigquery" if isinstance(warehouse, BigQueryWarehouse) else "duckdb"),
            mart_assets(),
        ]
        return dg.Definitions(
            assets=[feed_asset(weeks), *weekly, *reference, *answers],
            asset_checks=weekly_checks(weeks),
            jobs=[
                dg.define_asset_job(
                    RIDERSHIP_JOB,
                    selection=dg.AssetSelection.assets(*weekly),
                    description="Weeks from the feed to the lake: one, or a range in a single run.",
                ),
                dg.define_asset_job(
                    REFERENCE_JOB,
                    selection=dg.AssetSelection.assets(*reference),
                    description="The tables without weeks, which weekly ones look booths up in.",
                ),
                dg.define_asset_job(
                    MARTS_JOB,
                    selection=dg.AssetSelection.assets(*answers),
                    description="The warehouse and the marts, from all weeks in the lake.",
                ),
            ],
            resources={
                "feed": TurnstileFeed(location=settings.feed),
                "raw_layer": RawLayer(lake_root=settings.lake_root),
                "io_manager": ParquetIOManager(lake_root=settings.lake_root),
                "marts_engine": MartsEngine(
                    lake_root=settings.lake_root, engine=settings.marts_engine, spark_master=settings.spark_master
                ),
                "warehouse": warehouse,
                **resources,
            },
            # A run is a chain of steps, each fast: a process per step would cost more than the work.
            executor=dg.in_process_executor,
        )


def _warehouse(settings: Settings) -> Warehouse:
    if settings.bigquery is None:
        file = settings.warehouse_file
        return WarehouseFile(lake_root=settings.lake_root, file=None if file is None else str(file))
    project, prefix = settings.bigquery
    return BigQueryWarehouse(
        lake_root=settings.lake_root,
        project=project,
        prefix=prefix,
        location=settings.bigquery_location,
        storage=settings.bigquery_storage,
        max_gib=settings.bigquery_max_gib,
    )
