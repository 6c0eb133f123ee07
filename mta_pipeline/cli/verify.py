"""Verifies a lake and its warehouse file, and shows the problems in the terminal. `lake.verification` finds them."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich.console import Console
from rich.progress import track
from upath import UPath

from mta_pipeline.components.soda_data_set import declared_data_sets
from mta_pipeline.engines.freshness import warehouse_problem
from mta_pipeline.hourly_ridership.contract import COMPLEX_HOURLY_PUBLISHED, ENTRY_FACTOR, HOURLY_RIDERSHIP, OMNY_SHARE
from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.lake.raw_pages import SodaRaw
from mta_pipeline.lake.rederivation import different_tables
from mta_pipeline.lake.storage import set_aside as rename_aside
from mta_pipeline.lake.storage import weeks_there
from mta_pipeline.lake.verification import Family, raw_verifications, table_verifications
from mta_pipeline.marts.contract import MARTS
from mta_pipeline.schema import Table
from mta_pipeline.settings import Settings
from mta_pipeline.sources.socrata.dataset import SodaDataSet
from mta_pipeline.tables import REFERENCE, RIDERSHIP, STAGED

_Item = TypeVar("_Item")


class Problem(NamedTuple):
    """What is wrong with a file, or with a table of a week."""

    path: str
    week: str | None
    problem: str
    is_set_aside: bool = False
    """Whether the damaged file was renamed, so that the next run makes it again."""


class Verification(NamedTuple):
    """The result for a lake."""

    lake: str
    files: int
    bytes: int
    """Number of bytes that were verified, after unpacking."""
    problems: Sequence[Problem]

    def to_json(self) -> str:
        """The result as a JSON object with the names of the fields."""
        return json.dumps({**self._asdict(), "problems": [problem._asdict() for problem in self.problems]}, indent=2)


def verify_lake(
    console: Console, settings: Settings, weeks: Collection[str] | None, *, set_aside: bool, rederive: bool
) -> Verification:
    """Verify the files of a lake, with a progress bar in a terminal.

    Args:
        console: where the progress is shown.
        settings: the location of the lake and of the warehouse file.
        weeks: the weeks to verify, without marts, report and warehouse; None for everything.
        set_aside: whether to rename damaged files, so that the next run makes them again.
        rederive: whether to compute the tables of each week again, and compare them.
    """

    def shown(items: Sequence[_Item], what: str) -> Iterable[_Item]:
        return track(items, what, console=console, transient=True, disable=not console.is_terminal)

    lake_root = settings.lake_root
    families = list(_families(lake_root))

    def due(week: str | None) -> bool:
        return weeks is None or week in weeks

    of_tables = table_verifications(families, _whole(lake_root), lake_root, due)
    steps = [*raw_verifications(families, lake_root, due), *of_tables]
    problems, size = list[Problem](), 0
    for step in shown(steps, "Verifying"):
        found = step()
        size += found.size
        if found.problem:
            is_set_aside = set_aside and found.set_aside is not None and _succeeds(found.set_aside)
            problems.append(Problem(str(found.path), found.week, found.problem, is_set_aside))
    if weeks is None and steps and settings.warehouse_file and (why := warehouse_problem(settings.warehouse_file)):
        is_set_aside = set_aside and _set_warehouse_aside(settings.warehouse_file)
        problems.append(Problem(str(settings.warehouse_file), None, why, is_set_aside))
    if rederive:
        there = sorted(RawFiles(lake_root).weeks())
        for week in shown([week for week in there if weeks is None or week in weeks], "Computing again"):
            problems += _rederived(lake_root, week)
    return Verification(lake_root, len(steps), size, problems)


def _succeeds(set_aside: Callable[[], None]) -> bool:
    with suppress(OSError):  # The lake may be read-only.
        set_aside()
        return True
    return False


def _set_warehouse_aside(file: Path) -> bool:
    """Rename a warehouse file that DuckDB cannot read. One that it can read may hold tables of the user."""
    from mta_pipeline.engines.duckdb import is_unreadable  # noqa: PLC0415

    return is_unreadable(file) and _succeeds(partial(rename_aside, UPath(file), lambda _: True))


def _rederived(lake_root: str, week: str) -> Iterator[Problem]:
    try:
        yield from (Problem(lake_root, week, message) for message in different_tables(lake_root, week))
    except (OSError, ValueError) as error:
        yield Problem(lake_root, week, f"not computed again: {error}")


def _families(lake_root: str) -> Iterator[Family]:
    def of(data_set: SodaDataSet, table: Table) -> Family:
        return Family(SodaRaw(lake_root, data_set), (data_set.staged, data_set.rejects, table))

    yield Family(RawFiles(lake_root), (*STAGED, *RIDERSHIP))
    yield of(HOURLY_RIDERSHIP, COMPLEX_HOURLY_PUBLISHED)
    for component in declared_data_sets():
        if component.data_set.is_weekly:
            yield of(component.data_set, component.data_set.lake)


def _whole(lake_root: str) -> list[Table]:
    hourly = weeks_there(lake_root, COMPLEX_HOURLY_PUBLISHED.layer, COMPLEX_HOURLY_PUBLISHED.name)
    return [*REFERENCE, *MARTS, *((OMNY_SHARE, ENTRY_FACTOR) if hourly else ())]


def show(console: Console, found: Verification, *, seconds: float) -> None:
    """Print the problems as a table, and the totals. A problem is in one line, so that it can be searched for."""
    if found.problems:
        console.print(f"[bold]{'week':<12}problem[/bold]")
    for problem in found.problems:
        aside = " It is set aside." if problem.is_set_aside else ""
        console.print(f"{problem.week or '':<12}{problem.problem.removesuffix('.')}.{aside}", markup=False)
    console.print(
        f"{found.files:,} files verified ({found.bytes / 1e6:,.1f} MB, {found.bytes / seconds / 1e6:,.0f} MB/s)."
    )
    if found.problems:
        count = f"{len(found.problems):,} problem{'' if len(found.problems) == 1 else 's'}"
        console.print(f"{count}. Launch a run: it makes again what it can.", style="bold red")
    else:
        console.print("Nothing is missing, and nothing is damaged.", style="green")
