"""Dagster internals that the IO manager uses beyond the public API, in one place.

mta_pipeline_tests/upstream/test_io_behaviour.py tests each of them, so an incompatible upgrade fails there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import dagster as dg
from dagster import DagsterEvent
from dagster._core.definitions.assets.definition.asset_spec import AssetExecutionType
from dagster._core.execution.plan.execute_step import _get_output_asset_events


def add_week_metadata(context: dg.OutputContext, week: str, metadata: Mapping[str, Any]) -> None:
    """Add metadata to the materialization of one week. Metadata of the output would go to all weeks of the run."""
    context.step_context.add_asset_metadata(metadata=metadata, asset_key=context.asset_key, partition_key=week)


def materializations(context: dg.OutputContext, weeks: Sequence[str]) -> Iterator[DagsterEvent]:
    """The events, including data versions, that Dagster would record for these weeks if the step succeeded."""
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
