"""Weeks that a failed blocking check keeps out of the tables downstream, in the run of the check and in later runs.

Dagster would stop the steps downstream for all weeks of the run. Instead, each step leaves out the blocked weeks, and
the last steps of the run fail and name them.
"""

from collections.abc import Collection, Iterator

import dagster as dg

from mta_pipeline.orchestration.keys import BLOCKED_BY
from mta_pipeline.orchestration.run_records import described, failed_checks


def with_blocking_checks(defs: dg.Definitions) -> dg.Definitions:
    """Add the metadata BLOCKED_BY to each weekly asset: the blocking checks of all weekly assets upstream of it.

    A run knows only the checks of the assets that it selects.
    """
    made = [asset for asset in defs.assets or () if isinstance(asset, dg.AssetsDefinition)]
    weekly = {spec.key: spec for asset in made for spec in asset.specs if spec.partitions_def}
    blocking = [spec.key for checks in defs.asset_checks or () for spec in checks.check_specs if spec.blocking]

    def upstream(key: dg.AssetKey) -> Iterator[dg.AssetCheckKey]:
        for parent in {dep.asset_key for dep in weekly[key].deps} & weekly.keys():
            yield from (check for check in blocking if check.asset_key == parent)
            yield from upstream(parent)

    def add(spec: dg.AssetSpec) -> dg.AssetSpec:
        checks = {check.to_user_string() for check in upstream(spec.key)} if spec.key in weekly else ()
        return spec.merge_attributes(metadata={BLOCKED_BY: sorted(checks)}) if checks else spec

    return defs.map_asset_specs(func=add)


def blocked_weeks(
    instance: dg.DagsterInstance, job: dg.JobDefinition, assets: Collection[dg.AssetKey], weeks: Collection[str]
) -> dict[str, str]:
    """Return the weeks that the assets must leave out, with the failed check upstream of them.

    The latest result counts, if it is about the latest materialization of the checked week. As in `follows_its_inputs`,
    a check without such a result does not block.
    """
    graph = job.asset_layer.asset_graph
    names = [name for key in assets for name in graph.get(key).metadata.get(BLOCKED_BY, ())]
    checks = [dg.AssetCheckKey.from_user_string(name) for name in names]
    found = failed_checks(instance, checks, weeks, current=True)
    return {week: described(evaluation) for week, evaluation in sorted(found, key=lambda result: result[0])}


def are_left_to_later_steps(
    job: dg.JobDefinition, run: dg.DagsterRun, key: dg.AssetKey, *, or_its_checks: bool = False
) -> bool:
    """Whether a later step of the run fails because of the blocked weeks: one of a weekly asset downstream.

    Args:
        job: the job of the run, with the selected assets and checks only.
        run: the run. A repetition executes some steps of the job only.
        key: the asset that has been materialized or checked.
        or_its_checks: whether a blocking check of the asset itself counts, too.
    """
    layer, steps = job.asset_layer, run.step_keys_to_execute
    graph = layer.asset_graph
    node = graph.get(key)
    later: list[dg.AssetKey | dg.AssetCheckKey] = [
        child for child in node.child_keys & layer.selected_asset_keys if graph.get(child).partitions_def
    ]
    if or_its_checks:
        later += [check for check in node.check_keys if graph.get(check).blocking]
    return any(steps is None or str(layer.get_op_output_handle(one).node_handle) in steps for one in later)
