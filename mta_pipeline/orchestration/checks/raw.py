"""Standing checks of the raw layer: damaged and missing files, and versions that wait for a decision.

They belong to no run, because files get damaged without one. See `weekly` for the tables of a week.
"""

import datetime as dt
import zlib
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import dagster as dg

from mta_pipeline.lake.storage import weeks_there
from mta_pipeline.orchestration.conditions import daily, several_times_a_day
from mta_pipeline.orchestration.keys import NO_VERSION_PENDING, RAW_INTACT, RAW_KEY
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS

DAYS_TO_READ_ALL: Final = 30
"""Every file is read once in so many days."""

_READERS: Final = 8
"""Number of weeks that are examined at the same time. In a bucket, each takes requests."""

_SHOWN: Final = 20
"""Number of weeks in a description. The metadata has all."""


def raw_checks() -> list[dg.AssetChecksDefinition]:
    """The standing checks of the raw layer."""
    return [_intact(), _none_pending()]


def is_turn_of(week: str, day: dt.date) -> bool:
    """Whether the file of a week is read on this day."""
    return zlib.crc32(week.encode()) % DAYS_TO_READ_ALL == day.toordinal() % DAYS_TO_READ_ALL


def _intact() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=RAW_KEY,
        name=RAW_INTACT,
        description="No file of a week in the lake is missing in the raw layer. Files that are read match their "
        f"sha256: every day, one of {DAYS_TO_READ_ALL} parts of the weeks. A damaged file is set aside, so that the "
        "week lands again. If the feed no longer has the week, the check fails until the file is restored.",
        automation_condition=daily(),
    )
    def raw_intact(raw_layer: Lake) -> dg.AssetCheckResult:
        files, today = raw_layer.files(), dt.datetime.now(dt.UTC).date()
        readings = weeks_there(raw_layer.lake_root, TURNSTILE_READINGS.layer, TURNSTILE_READINGS.name)
        weeks = sorted(files.weeks() | readings)

        def problem(week: str) -> str | None:
            found = files.problem(week, contents=is_turn_of(week, today))
            if found:
                with suppress(OSError):  # The problem is reported, and a run reports this error.
                    files.set_damaged_aside(week)
            return found

        damaged = _of_each(problem, weeks)
        read = sum(is_turn_of(week, today) for week in weeks)
        return _result(damaged, f"{len(weeks):,} weeks are there, {read:,} of them were read")

    return raw_intact


def _none_pending() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=RAW_KEY,
        name=NO_VERSION_PENDING,
        description="No week has a pending version: contents at the feed that cannot be used, or have far fewer "
        "readings than the current version. `mta-pipeline accept WEEK` makes a pending version current.",
        automation_condition=several_times_a_day() | _updated(),
    )
    def no_version_pending(raw_layer: Lake) -> dg.AssetCheckResult:
        files = raw_layer.files()
        weeks = sorted(files.weeks())
        return _result(_of_each(files.pending_problem, weeks), f"no version of {len(weeks):,} weeks is pending")

    return no_version_pending


def _updated() -> dg.AutomationCondition[Any]:
    """After each landing, so that a pending version is reported at once."""
    condition = dg.AutomationCondition
    return condition.any_deps_match(condition.newly_updated()) & ~condition.in_progress()


def _of_each(problem: Callable[[str], str | None], weeks: Collection[str]) -> dict[str, str]:
    """The problems by week."""
    with ThreadPoolExecutor(_READERS) as pool:
        return {week: found for week, found in zip(weeks, pool.map(problem, weeks), strict=True) if found}


def _result(problems: dict[str, str], passed: str) -> dg.AssetCheckResult:
    first = list(problems.values())[:_SHOWN]
    others = [f"and {len(problems) - _SHOWN:,} more weeks"] if len(problems) > _SHOWN else []
    records = [dg.TableRecord({"week": week, "problem": problem}) for week, problem in problems.items()]
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR,
        description="\n".join((*first, *others)) or passed,
        metadata={"weeks": dg.MetadataValue.table(records)} if problems else {},
    )
