"""Builds the Definitions from the settings. Tests call the same function with their own resources."""

import datetime as dt
import warnings
from functools import partial
from typing import Final, cast

import dagster as dg
from upath import UPath

from mta_pipeline.components import component_definitions, declared_data_sets
from mta_pipeline.hourly_ridership.contract import HOURLY_RIDERSHIP
from mta_pipeline.lake.feeds import last_week_at
from mta_pipeline.lake.storage import location, report_path, uri
from mta_pipeline.marts.contract import WAREHOUSE
from mta_pipeline.orchestration.assets.hourly import entry_factor_asset, hourly_assets, omny_share_asset
from mta_pipeline.orchestration.assets.lake import complex_assets, reference_assets, traffic_asset
from mta_pipeline.orchestration.assets.raw import feed_asset, raw_asset
from mta_pipeline.orchestration.assets.report import report_asset
from mta_pipeline.orchestration.assets.staged import staged_assets
from mta_pipeline.orchestration.assets.warehouse import mart_assets, warehouse_assets
from mta_pipeline.orchestration.automation.notify import notify_sensor
from mta_pipeline.orchestration.automation.portal import changed_data_sets_sensor
from mta_pipeline.orchestration.automation.repairs import damaged_files_sensor
from mta_pipeline.orchestration.automation.schedules import weekly_turnstile_schedule
from mta_pipeline.orchestration.automation.sensors import automation_sensor, published_weeks_sensor
from mta_pipeline.orchestration.blocked_weeks import with_blocking_checks
from mta_pipeline.orchestration.checks.anomalies import anomaly_checks
from mta_pipeline.orchestration.checks.feed import feed_checks
from mta_pipeline.orchestration.checks.files import file_checks
from mta_pipeline.orchestration.checks.reconciliation import reconciliation_checks
from mta_pipeline.orchestration.checks.soda import hourly_checks
from mta_pipeline.orchestration.checks.weekly import weekly_checks
from mta_pipeline.orchestration.io_managers.parquet import ParquetIOManager
from mta_pipeline.orchestration.jobs import jobs
from mta_pipeline.orchestration.keys import FEED_KEY, LANDING_JOB, REPORT_KEY, RIDERSHIP_JOB, asset_key
from mta_pipeline.orchestration.links import with_links
from mta_pipeline.orchestration.partitions import calendar
from mta_pipeline.orchestration.resources.feed import TurnstileFeed
from mta_pipeline.orchestration.resources.lake import LAKE_KEY, Lake
from mta_pipeline.orchestration.resources.marts import MartsEngine
from mta_pipeline.orchestration.resources.soda import SodaPortal
from mta_pipeline.orchestration.resources.warehouse import BigQueryWarehouse, Warehouse, WarehouseFile
from mta_pipeline.settings import SAMPLE_WEEKS, Settings
from mta_pipeline.weeks import week_start

_GROWS: Final = dt.timedelta(weeks=8)
"""Time after the start of its last week during which a source may get another one."""


def build_defs(settings: Settings, **resources: object) -> dg.Definitions:
    """Return the definitions of one deployment.

    Args:
        settings: the settings of the deployment.
        resources: resources that replace the default ones, by key: feed, raw_layer, io_manager, marts_engine,
            warehouse, soda.
    """
    # dagster.yaml uses it on purpose. Without the filter, every process of a run logs the warning.
    warnings.filterwarnings("ignore", "Handling yaml-defined logging", dg.BetaWarning)
    with warnings.catch_warnings():
        # Tests and the pinned version of Dagster cover the beta and preview features in use.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        weeks = calendar(last_week(settings))
        # A backfill of all assets needs the same calendar for all raw assets. Without a portal, nothing needs another.
        portal_weeks = calendar(settings.last_week) if settings.soda else weeks
        # A replaced lake also applies to the IO manager, the engine and the warehouse.
        lake = cast(Lake, resources.get(LAKE_KEY)) or Lake(
            lake_root=settings.lake_root, raw_versions=settings.raw_versions
        )
        raw = raw_asset(weeks)
        weekly = [
            raw,
            staged_assets(weeks),
            traffic_asset(weeks),
            *complex_assets(weeks),
        ]
        reference = reference_assets()
        warehouse = _warehouse(settings, lake)
        hourly = hourly_assets(portal_weeks)
        answers = [
            omny_share_asset(),
            entry_factor_asset(),
            warehouse_assets("bigquery" if isinstance(warehouse, BigQueryWarehouse) else "duckdb"),
            mart_assets(),
            report_asset(),
        ]
        landing_jobs = (RIDERSHIP_JOB, LANDING_JOB)
        components = declared_data_sets()
        declared = [component.on(portal_weeks) for component in components]
        data_sets = [HOURLY_RIDERSHIP, *(component.data_set for component in components)]
        standing = file_checks(data_sets)
        all_jobs = jobs(raw=raw, weekly=weekly, reference=reference, hourly=hourly, answers=answers, standing=standing)
        coded = dg.Definitions(
            assets=[feed_asset(weeks), *weekly, *reference, *hourly, *answers],
            asset_checks=[
                *weekly_checks(weeks, settings.least_readings),
                *standing,
                *anomaly_checks(weeks),
                feed_checks(settings.last_week),
                *hourly_checks(portal_weeks),
                reconciliation_checks(),
            ],
            sensors=[
                published_weeks_sensor(LANDING_JOB, weeks, settings.look_every, landing_jobs),
                automation_sensor(settings.look_every),
                damaged_files_sensor(all_jobs, settings.look_every),
                *([] if settings.notify is None else [notify_sensor(settings.notify, settings.ui)]),
                # No requests to a portal unless MTA_SODA names one.
                *([changed_data_sets_sensor(data_sets, portal_weeks, settings.look_every)] if settings.soda else []),
            ],
            schedules=[weekly_turnstile_schedule(RIDERSHIP_JOB, weeks, landing_jobs)],
            jobs=all_jobs,
            resources={
                "feed": TurnstileFeed(
                    location=settings.feed, token=dg.EnvVar("MTA_SODA_TOKEN") if settings.feed_token else None
                ),
                LAKE_KEY: lake,
                "io_manager": ParquetIOManager(lake=lake),
                "marts_engine": MartsEngine(lake=lake, engine=settings.marts_engine, spark_master=settings.spark),
                "warehouse": warehouse,
                "soda": dg.ResourceDefinition.hardcoded_resource(
                    SodaPortal(settings.soda, settings.soda_token),
                    "The State's open-data portal with hourly ridership and other data sets (MTA_SODA).",
                ),
                **resources,
            },
            # Steps are short and run one after another. A process per step would take longer than the work.
            executor=dg.in_process_executor,
        )
        defs = with_blocking_checks(dg.Definitions.merge(coded, component_definitions(), *declared))
        return with_links(defs, partial(_uri, settings, lake), settings.repository)


def _uri(settings: Settings, lake: Lake, key: dg.AssetKey) -> str | None:
    """The address of the data of an asset; None if there is none."""
    if key == FEED_KEY:
        return settings.feed if "://" in settings.feed else uri(UPath(settings.feed))
    if key in map(asset_key, WAREHOUSE):
        file = settings.warehouse_file
        return settings.warehouse if file is None else uri(UPath(file))
    return uri(report_path(lake.lake_root) if key == REPORT_KEY else location(lake.lake_root).joinpath(*key.path))


def last_week(settings: Settings) -> dt.date | None:
    """Return the last week of the calendar of turnstile data, or None if it ends with the last full week.

    Such a calendar grows by itself. A source whose last week is recent needs it, because more may come. No request is
    sent.
    """
    if settings.last_week:
        return settings.last_week
    # The sample is made by the first run, and the code location may be loaded before.
    week = last_week_at(settings.feed, settings.lake_root) or (SAMPLE_WEEKS[1] if settings.is_sample else None)
    end = week_start(week) if week else None
    return end if end and end + _GROWS < dt.datetime.now(dt.UTC).date() else None


def _warehouse(settings: Settings, lake: Lake) -> Warehouse:
    if settings.bigquery is None:
        file = settings.warehouse_file
        return WarehouseFile(lake=lake, file=None if file is None else str(file))
    project, prefix = settings.bigquery
    return BigQueryWarehouse(
        lake=lake,
        project=project,
        prefix=prefix,
        location=settings.bigquery_location,
        storage=settings.bigquery_storage,
        max_gib=settings.bigquery_max_gib,
    )
