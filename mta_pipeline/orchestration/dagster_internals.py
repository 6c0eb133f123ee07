"""What the project needs of Dagster beyond its public interface. No other module may import Dagster's private modules.

Each name and behaviour is pinned in mta_pipeline_tests/upstream, so that an upgrade of Dagster fails there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import dagster as dg
from dagster import DagsterEvent
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as CheckedMaterialization,
)
from dagster._core.definitions.assets.definition.asset_spec import AssetExecutionType
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.events import EngineEventData, JobFailureData
from dagster._core.execution.plan.execute_step import _get_output_asset_events
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, TickStatus
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    AUTO_RETRY_RUN_ID_TAG,
    BACKFILL_ID_TAG,
    MAX_RETRIES_TAG,
    PARTITION_NAME_TAG,
    SCHEDULE_NAME_TAG,
    SENSOR_NAME_TAG,
    WILL_RETRY_TAG,
)
from dagster._daemon.auto_run_reexecution.event_log_consumer import DAGSTER_EVENT_TYPES as RETRY_EVENTS
from dagster._serdes import ConfigurableClassData
from dagster._utils import process_is_alive
from dagster.components.core.load_defs import PLUGIN_COMPONENT_TYPES_JSON_METADATA_KEY
from dagster.components.core.snapshot import get_package_entry_snap
from dagster_shared.error import SerializableErrorInfo
from dagster_shared.serdes.objects.package_entry import EnvRegistryKey, json_for_all_components

__all__ = [
    "ASSET_PARTITION_RANGE_END_TAG",
    "ASSET_PARTITION_RANGE_START_TAG",
    "AUTO_RETRY_RUN_ID_TAG",
    "BACKFILL_ID_TAG",
    "MAX_RETRIES_TAG",
    "PARTITION_NAME_TAG",
    "SCHEDULE_NAME_TAG",
    "SENSOR_NAME_TAG",
    "SQLITE_BUSY_TIMEOUT_SECONDS",
    "WILL_RETRY_TAG",
    "AssetCheckExecutionRecordStatus",
    "CheckRunHealthResult",
    "CheckedMaterialization",
    "ConfigurableClassData",
    "DagsterAssetCheckFailedError",
    "DagsterSqliteStorage",
    "EngineEventData",
    "InstigatorState",
    "InstigatorStatus",
    "InstigatorType",
    "JobFailureData",
    "LaunchRunContext",
    "PartitionKeyFilter",
    "SerializableErrorInfo",
    "SqliteEventLogStorage",
    "TickStatus",
    "WorkerStatus",
    "add_week_metadata",
    "component_catalogue",
    "in_code_location",
    "materializations",
    "process_is_alive",
    "record_only",
    "skip_older_events",
]


def component_catalogue(tree: dg.ComponentTree, *types: type[dg.Component]) -> dg.Definitions:
    """Definitions without assets that show the components of a tree, and these types of components, in the UI.

    Dagster would add the components of all installed packages, which takes seconds to import.
    """
    snaps = [
        get_package_entry_snap(EnvRegistryKey(kind.__module__.rpartition(".")[0], kind.__name__), kind)
        for kind in types
    ]
    metadata = {PLUGIN_COMPONENT_TYPES_JSON_METADATA_KEY: json_for_all_components(snaps)}
    return dg.Definitions(component_tree=tree, metadata=metadata)


def in_code_location(instance: dg.DagsterInstance, name: str) -> dg.DagsterInstance:
    """Make runs that this process executes on the instance belong to a code location, so that its jobs show them."""
    create = instance.create_run_for_job
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(name), SINGLETON_REPOSITORY_NAME)

    def create_run_for_job(job_def: dg.JobDefinition, **arguments: Any) -> dg.DagsterRun:
        return create(job_def=job_def, remote_job_origin=RemoteJobOrigin(repository, job_def.name), **arguments)

    instance.create_run_for_job = create_run_for_job  # type: ignore[method-assign, assignment]
    return instance


def skip_older_events(instance: dg.DagsterInstance) -> None:
    """Let the daemon retry only runs that fail from now on, unless it has been running before.

    It does the same at its first start, with warnings.
    """
    keys = {f"EVENT_LOG_CONSUMER_CURSOR-{event.value}" for event in RETRY_EVENTS}
    if new := keys - instance.daemon_cursor_storage.get_cursor_values(keys).keys():
        newest = instance.event_log_storage.get_maximum_record_id() or 0
        instance.daemon_cursor_storage.set_cursor_values(dict.fromkeys(new, str(newest)))


def add_week_metadata(context: dg.OutputContext, week: str, metadata: Mapping[str, Any]) -> None:
    """Show the metadata on the materialization of this week only; an output's own metadata goes to all weeks."""
    context.step_context.add_asset_metadata(metadata=metadata, asset_key=context.asset_key, partition_key=week)


def record_only(context: dg.OutputContext, weeks: Sequence[str]) -> None:
    """Make Dagster record these weeks instead of all weeks of the run, or of the table, if the step succeeds."""
    if weeks:
        context._asset_partitions_subset = context.asset_partitions_def.subset_with_partition_keys(weeks)
    else:
        # With an empty subset, Dagster would record an event without a week.
        context._asset_key = None


def materializations(context: dg.OutputContext, weeks: Sequence[str]) -> Iterator[DagsterEvent]:
    """The events that Dagster would record for these weeks if the step succeeded, data versions included."""
    if not weeks:
        return  # Dagster would make an event without a week.
    step = context.step_context
    output = dg.Output(None, output_name=context.name, metadata=context.output_metadata)
    for event in _get_output_asset_events(
        context.asset_key,
        weeks,
        output,
        step.op_def.output_def_named(context.name),
        {},
        step,
        AssetExecutionType.MATERIALIZATION,
    ):
        yield DagsterEvent.asset_materialization(step, cast("dg.AssetMaterialization", event))
