"""Factory of asset checks of weekly tables, with one result per week, also in a run over many weeks.

A failed blocking check keeps the week out of the tables downstream; see `blocked_weeks`. Other modules of this package
define the checks.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import dagster as dg

from mta_pipeline.orchestration.blocked_weeks import are_left_to_later_steps, blocked_weeks
from mta_pipeline.orchestration.keys import asset_key
from mta_pipeline.orchestration.prefetch import prefetch
from mta_pipeline.orchestration.run_records import described, latest_materializations, require_weeks
from mta_pipeline.orchestration.week_outcomes import FailedWeeks
from mta_pipeline.schema import Table


@dataclass(frozen=True)
class Finding:
    """The result of one check for one week."""

    check: dg.AssetCheckSpec
    week: str | None
    """None for a table without weeks."""
    passed: bool
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    is_error: bool = False
    """Whether a failure is an error although the check does not block."""

    @property
    def severity(self) -> dg.AssetCheckSeverity:
        """An error if the check blocks or `is_error`, otherwise a warning."""
        is_error = self.check.blocking or self.is_error
        return dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN

    def of_whole_table(self) -> dg.AssetCheckResult:
        """The result for a table without weeks."""
        return dg.AssetCheckResult(
            passed=self.passed,
            asset_key=self.check.asset_key,
            check_name=self.check.name,
            description=self.description,
            metadata=self.metadata,
            severity=self.severity,
        )


Judge = Callable[[str], Iterable[Finding]]
"""Returns the findings for one week. Two weeks may be in progress at a time, in threads."""


def check_spec(
    weeks: dg.WeeklyPartitionsDefinition | None,
    table: Table,
    name: str,
    description: str,
    *,
    against: Sequence[Table] = (),
    blocking: bool = False,
) -> dg.AssetCheckSpec:
    """Return the spec of a check of a table, with one result per week if `weeks` is given.

    Args:
        weeks: the partitions of weekly tables, or None for a table without weeks.
        table: the table to check.
        name: the name of the check.
        description: what holds if the check passes.
        against: other tables that the check reads.
        blocking: whether a failure keeps the week, or a table without weeks, out of the downstream assets.
    """
    return dg.AssetCheckSpec(
        name,
        asset=asset_key(table),
        description=description,
        additional_deps=[asset_key(other) for other in against],
        blocking=blocking,
        partitions_def=weeks,
    )


def weekly_check(
    name: str, checks: Sequence[dg.AssetCheckSpec], **tables: Table
) -> Callable[[Callable[..., Judge]], dg.AssetChecksDefinition]:
    """Decorate a function that prepares a `Judge` for a run. Its parameters are the tables and resources that it reads.

    Args:
        name: the name of the op.
        checks: the checks whose results the judge returns.
        tables: the tables by parameter name. The first one is checked.
    """
    checked = next(iter(tables))

    def decorate(prepare: Callable[..., Judge]) -> dg.AssetChecksDefinition:
        def check(context: dg.AssetCheckExecutionContext, **inputs: Any) -> Iterator[Any]:
            assert checks[0].partitions_def
            require_weeks(checks[0].partitions_def, context.run)
            table, judge, key = inputs[checked], prepare(**inputs), checks[0].asset_key
            materialized = latest_materializations(context.instance, key, table.weeks)
            blocked = FailedWeeks(blocked_weeks(context.instance, context.job_def, [key], table.weeks))
            due = [week for week in table.weeks_there() if week not in blocked.reasons]
            for in_progress in prefetch(lambda week: list(judge(week)), due):
                for finding in in_progress.result():
                    # AssetCheckResult would lose the week in a run over many of them.
                    evaluation = dg.AssetCheckEvaluation(
                        asset_key=finding.check.asset_key,
                        check_name=finding.check.name,
                        passed=finding.passed,
                        description=finding.description,
                        metadata=finding.metadata,
                        severity=finding.severity,
                        blocking=finding.check.blocking,
                        partition=finding.week,
                        target_materialization_data=materialized.get(finding.week or ""),
                    )
                    if finding.week and finding.check.blocking and not finding.passed:
                        blocked.reasons[finding.week] = described(evaluation)
                        # If it was yielded, Dagster would stop all weeks downstream.
                        context.op_execution_context.log_event(evaluation)  # type: ignore[arg-type]
                    else:
                        yield evaluation
            for spec in checks:
                yield dg.Output(None, output_name=spec.get_python_identifier())
            if any(spec.blocking for spec in checks) and not are_left_to_later_steps(context.job_def, context.run, key):
                blocked.raise_if_any()

        # Dagster reads inputs and resources from the parameters, and their types from the annotations.
        parameters = inspect.signature(prepare).parameters.values()
        context, *_ = inspect.signature(check).parameters.values()
        check.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
        hints = {**get_type_hints(check), **get_type_hints(prepare)}
        check.__annotations__ = {parameter.name: hints[parameter.name] for parameter in (context, *parameters)}
        ins = {parameter: dg.AssetIn(asset_key(table)) for parameter, table in tables.items()}
        return dg.multi_asset_check(name=name, specs=checks, ins=ins)(check)

    return decorate
