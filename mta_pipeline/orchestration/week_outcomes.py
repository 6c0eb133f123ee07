"""Outcomes of the weeks of one run: process all weeks, keep the good ones, and fail at the end if one failed.

One bad file must not keep the other weeks of a range from landing, and the run must still fail.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

import dagster as dg

from mta_pipeline.lake.completeness import is_made_from
from mta_pipeline.lake.digests import DamagedFile
from mta_pipeline.lake.gcs import ConcurrentWriteError
from mta_pipeline.lake.origin import Origin
from mta_pipeline.lake.raw import DamagedRawFile
from mta_pipeline.orchestration.blocked_weeks import blocked_weeks
from mta_pipeline.orchestration.dagster_internals import BACKFILL_ID_TAG
from mta_pipeline.orchestration.keys import COMPLETE_WEEKS, FAILED_WEEKS, SKIP
from mta_pipeline.orchestration.prefetch import prefetch
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.schema import Table
from mta_pipeline.sources.errors import BadFile, FeedError
from mta_pipeline.turnstile.parsing import UnreadableFile

_Result = TypeVar("_Result")


class MissingInputError(dg.Failure, KeyError):
    """A table, or a week of it, is not in the lake. The failure is not retried, because a retry cannot solve it."""

    def __init__(self, description: str) -> None:
        super().__init__(description=description, allow_retries=False)

    __str__ = Exception.__str__  # KeyError would put the message in quotes.


_OF_A_FILE: Final = (BadFile, UnreadableFile, DamagedRawFile, DamagedFile, MissingInputError)
"""Errors whose message names the file, the cause and what to do."""

_OF_THE_RUN: Final = (
    *(OSError, MemoryError, ConcurrentWriteError),  # the machine, the lake or another run
    FeedError,  # BadFile is an exception to this
    *(dg.Failure, dg.RetryRequested, dg.DagsterError),  # Dagster's control flow
)
"""Errors that would meet the other weeks, too, and those that a retry of the step can solve."""

_OF_OTHER_SYSTEMS: Final = ("aiohttp", "gcsfs", "google", "urllib3", "sqlalchemy")
"""Packages whose errors are those of a bucket or of Dagster's database. Importing them is slow."""

UP_TO_DATE: Final = "complete, skipped"


def skips_complete_weeks(context: dg.AssetExecutionContext) -> bool:
    """Whether the run skips complete weeks. A manual materialization rebuilds them."""
    return context.run.tags.get(COMPLETE_WEEKS) == SKIP


def is_up_to_date(
    context: dg.AssetExecutionContext, lake: Lake, week: str, origin: Origin | None, *tables: Table
) -> bool:
    """Whether the run skips these tables of a week: they are made from the input with this origin, by current rules."""
    return skips_complete_weeks(context) and origin is not None and is_made_from(lake.lake_root, week, origin, *tables)


def left_out(context: dg.AssetExecutionContext, key: dg.AssetKey, missing: MissingInputError) -> dict[str, str]:
    """The metadata of a week whose input `key` is not in the lake, if the run has to do without that week.

    A step of the run may have left it out. Dagster also adds weeks to a backfill: the traffic of the week after.

    Raises:
        MissingInputError: the week was requested without its input.
    """
    if key in context.job_def.asset_layer.selected_asset_keys:
        return {"outcome": f"skipped: {key.to_user_string()} has no data for this week"}
    if BACKFILL_ID_TAG in context.run.tags:
        return {"outcome": f"skipped: {missing}"}
    raise missing


@dataclass
class FailedWeeks:
    """Collects weeks that cannot be processed, while the run processes the others."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, context: dg.AssetExecutionContext, week: str, error: Exception) -> None:
        """Record and log an error as that of this week. Raise it again if it is not of this week alone."""
        if isinstance(error, _OF_A_FILE):
            self.reasons[week] = str(error)
            context.log.error(f"week {week} failed: {error}")
            return
        if isinstance(error, _OF_THE_RUN) or type(error).__module__.partition(".")[0] in _OF_OTHER_SYSTEMS:
            raise error
        self.reasons[week] = f"unexpected {type(error).__qualname__}: {error}"
        context.log.error(f"week {week} failed: {self.reasons[week]}", exc_info=error)

    def raise_if_any(self) -> None:
        """Fail the step without retries if a week failed. The message names every week with file and reason."""
        if self.reasons:
            raise dg.Failure(
                description="\n".join(f"week {week}: {reason}" for week, reason in self.reasons.items()),
                metadata={FAILED_WEEKS: self.reasons},
                allow_retries=False,
            )


def process_weeks(context: dg.AssetExecutionContext, work: Callable[[str], _Result]) -> Iterator[_Result]:
    """Yield the result of `work` for each week of the run, computed in threads. Blocked weeks are left out.

    If a week fails, the step fails after all other weeks.
    """
    failed, keys = FailedWeeks(), context.partition_keys
    blocked = blocked_weeks(context.instance, context.job_def, context.selected_asset_keys, keys)
    weeks = [week for week in keys if week not in blocked]
    for week, in_progress in zip(weeks, prefetch(work, weeks), strict=True):
        try:
            result = in_progress.result()
        except Exception as error:  # raised again unless it is of this week alone
            failed.add(context, week, error)
        else:
            yield result
    failed.raise_if_any()
