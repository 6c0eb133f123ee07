"""Outcomes of the weeks of one run: process all weeks, keep the good ones, and fail at the end if one failed.

One bad file must not keep the other weeks of a range from landing, and the run must still fail.
"""

from dataclasses import dataclass, field
from typing import Final

import dagster as dg

from mta_pipeline.lake.completeness import is_made_from
from mta_pipeline.lake.origin import Origin
from mta_pipeline.orchestration.keys import COMPLETE_WEEKS, FAILED_WEEKS, SKIP
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.schema import Table

UP_TO_DATE: Final = "complete, skipped"


def skips_complete_weeks(context: dg.AssetExecutionContext) -> bool:
    """Whether the run skips complete weeks. A manual materialization rebuilds them."""
    return context.run.tags.get(COMPLETE_WEEKS) == SKIP


def is_up_to_date(
    context: dg.AssetExecutionContext, lake: Lake, week: str, origin: Origin | None, *tables: Table
) -> bool:
    """Whether the run skips these tables of a week: they are made from the input with this origin, by current rules."""
    return skips_complete_weeks(context) and origin is not None and is_made_from(lake.lake_root, week, origin, *tables)


@dataclass
class FailedWeeks:
    """Collects weeks whose file cannot be used, while the run processes the others."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, context: dg.AssetExecutionContext, week: str, error: Exception) -> None:
        """Record and log a week that failed with an error that a retry cannot solve."""
        self.reasons[week] = str(error)
        context.log.error(f"week {week} failed: {error}")

    def raise_if_any(self) -> None:
        """Fail the step without retries if a week failed. The message names every week with file and reason."""
        if self.reasons:
            raise dg.Failure(
                description="\n".join(f"week {week}: {reason}" for week, reason in self.reasons.items()),
                metadata={FAILED_WEEKS: self.reasons},
                allow_retries=False,
            )
