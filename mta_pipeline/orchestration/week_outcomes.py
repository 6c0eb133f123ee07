"""The weeks of one run: go through all of them, keep what is good, and fail at the end for what is not.

One bad file must not keep the other weeks of a range from landing, nor may it pass in silence.
"""

from dataclasses import dataclass, field
from typing import Final

import dagster as dg

from mta_pipeline.lake.completeness import is_made_from
from mta_pipeline.orchestration.keys import COMPLETE_WEEKS, FAILED_WEEKS, SKIP
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.schema import Table

UP_TO_DATE: Final = "complete, left as it is"


def skips_complete_weeks(context: dg.AssetExecutionContext) -> bool:
    """Whether the run goes on where another stopped. Materializing a week by hand does it anew."""
    return context.run.tags.get(COMPLETE_WEEKS) == SKIP


def is_up_to_date(context: dg.AssetExecutionContext, lake: Lake, week: str, origin: str | None, *tables: Table) -> bool:
    """Whether the run leaves these tables of a week as they are, since they are made from what they would be now."""
    return skips_complete_weeks(context) and origin is not None and is_made_from(lake.lake_root, week, origin, *tables)


@dataclass
class FailedWeeks:
    """Weeks whose file cannot be used, gathered while the others go on."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, context: dg.AssetExecutionContext, week: str, error: Exception) -> None:
        """Note a week that failed for good: trying again without a change would not help."""
        self.reasons[week] = str(error)
        context.log.error(f"week {week} failed: {error}")

    def raise_if_any(self) -> None:
        """Fail the step, not to be retried, naming every week with its file and reason."""
        if self.reasons:
            raise dg.Failure(
                description="\n".join(f"week {week}: {reason}" for week, reason in self.reasons.items()),
                metadata={FAILED_WEEKS: self.reasons},
                allow_retries=False,
            )
