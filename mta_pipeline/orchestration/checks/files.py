"""Standing checks of files: damaged and missing ones, and raw versions that wait for a decision.

They belong to no run, because files get damaged without one. See `weekly` for the tables of a week.
"""

import datetime as dt
import zlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final

import dagster as dg

from mta_pipeline.lake.raw import MANIFEST, RawFolders
from mta_pipeline.lake.storage import part_path, weeks_there
from mta_pipeline.lake.verification import Family, table_verifications
from mta_pipeline.orchestration.conditions import daily, several_times_a_day
from mta_pipeline.orchestration.keys import LAKE_INTACT, NO_VERSION_PENDING, RAW_INTACT, RAW_KEY, asset_key, raw_key
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.schema import Table
from mta_pipeline.sources.socrata.dataset import SodaDataSet
from mta_pipeline.tables import RIDERSHIP, STAGED
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS, TURNSTILE_TRAFFIC

DAYS_TO_READ_ALL: Final = 30
"""Every file is read once in so many days."""

_READERS: Final = 8
"""Number of weeks that are examined at the same time. In a bucket, each takes requests."""

_SHOWN: Final = 20
"""Number of weeks in a description. The metadata has all."""


def file_checks(data_sets: Sequence[SodaDataSet]) -> list[dg.AssetChecksDefinition]:
    """The standing checks of files.

    Args:
        data_sets: the data sets of the portal that have raw pages.
    """
    pages = [_intact(raw_key(one), partial(Lake.pages, data_set=one), one.staged) for one in data_sets]
    return [_intact(RAW_KEY, Lake.files, TURNSTILE_READINGS), *pages, _tables_intact(), _none_pending()]


def is_turn_of(week: str, day: dt.date) -> bool:
    """Whether the file of a week is read on this day."""
    return zlib.crc32(week.encode()) % DAYS_TO_READ_ALL == day.toordinal() % DAYS_TO_READ_ALL


def _intact(key: dg.AssetKey, raw_of: Callable[[Lake], RawFolders[Any]], staged: Table) -> dg.AssetChecksDefinition:
    """The check of raw data: `raw_of` returns them, and `staged` is made from them."""

    @dg.asset_check(
        asset=key,
        name=RAW_INTACT,
        description="No file of a week in the lake is missing in the raw layer. Files that are read match their "
        f"sha256: every day, one of {DAYS_TO_READ_ALL} parts of the weeks. A damaged file is set aside, so that the "
        "week lands again. If the source no longer has the week, the check fails until the file is restored.",
        automation_condition=daily(),
    )
    def raw_intact(raw_layer: Lake) -> dg.AssetCheckResult:
        raw, today = raw_of(raw_layer), dt.datetime.now(dt.UTC).date()
        weeks: Sequence[str | None]
        weeks = sorted(raw.weeks() | weeks_there(raw_layer.lake_root, staged.layer, staged.name))
        if (raw.path(None) / MANIFEST).exists() or part_path(raw_layer.lake_root, staged.layer, staged.name).exists():
            weeks = [None]

        def problem(week: str | None) -> str | None:
            found = raw.problem(week, contents=week is None or is_turn_of(week, today))
            if found:
                with suppress(OSError):  # The problem is reported, and a run reports this error.
                    raw.set_damaged_aside(week)
            return found

        damaged = _of_each(problem, weeks)
        read = sum(week is None or is_turn_of(week, today) for week in weeks)
        return _result(damaged, f"{len(weeks):,} weeks are there, {read:,} of them were read", read)

    return raw_intact


def _tables_intact() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(TURNSTILE_TRAFFIC),
        name=LAKE_INTACT,
        description="No week that has landed is missing in a table, and files of tables, marts and report match the "
        f"digests in them: every day, one of {DAYS_TO_READ_ALL} parts of the weeks, and all files without weeks. A "
        "damaged file is set aside, so that it is made again.",
        automation_condition=daily(),
    )
    def lake_intact(raw_layer: Lake) -> dg.AssetCheckResult:
        today = dt.datetime.now(dt.UTC).date()
        family = Family(raw_layer.files(), (*STAGED, *RIDERSHIP))
        steps = table_verifications(
            [family], (), raw_layer.lake_root, lambda week: week is None or is_turn_of(week, today)
        )
        with ThreadPoolExecutor(_READERS) as pool:
            problems = [found for found in pool.map(lambda verify: verify(), steps) if found.problem]
        for found in problems:
            with suppress(OSError):  # The problem is reported, and a run reports this error.
                if found.set_aside:
                    found.set_aside()
        return _result(
            [(found.week or "", found.problem or "") for found in problems],
            f"{len(steps):,} files were read",
            len(steps),
        )

    return lake_intact


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
        return _result(
            _of_each(files.pending_problem, weeks), f"no version of {len(weeks):,} weeks is pending", len(weeks)
        )

    return no_version_pending


def _updated() -> dg.AutomationCondition[Any]:
    """After each landing, so that a pending version is reported at once."""
    condition = dg.AutomationCondition
    return condition.any_deps_match(condition.newly_updated()) & ~condition.in_progress()


def _of_each(problem: Callable[[Any], str | None], weeks: Collection[str | None]) -> list[tuple[str, str]]:
    """The weeks with a problem, with the problem."""
    with ThreadPoolExecutor(_READERS) as pool:
        return [(week or "", found) for week, found in zip(weeks, pool.map(problem, weeks), strict=True) if found]


def _result(problems: Sequence[tuple[str, str]], passed: str, read: int) -> dg.AssetCheckResult:
    first = [problem for _, problem in problems[:_SHOWN]]
    others = [f"and {len(problems) - _SHOWN:,} more"] if len(problems) > _SHOWN else []
    records = [dg.TableRecord({"week": week, "problem": problem}) for week, problem in problems]
    return dg.AssetCheckResult(
        passed=not problems,
        severity=dg.AssetCheckSeverity.ERROR,
        description="\n".join((*first, *others)) or passed,
        metadata={
            "read": read,
            "problems": len(problems),
            **({"weeks": dg.MetadataValue.table(records)} if problems else {}),
        },
    )
