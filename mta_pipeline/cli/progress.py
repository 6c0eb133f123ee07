"""Progress of runs in the terminal, and lines about many weeks in few lines."""

import logging
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

import dagster as dg
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mta_pipeline.telemetry.progress import SECONDS_BETWEEN_LINES, FileProgress, read_progress
from mta_pipeline.weeks import contiguous_ranges

_WEEK: Final = re.compile(r"\d{4}-\d\d-\d\d")
_CHECK: Final = re.compile(r".*, check \w+")
_NUMBER: Final = re.compile(r"\d[\d,.]*")


class RunProgress:
    """Shows how far runs are: one line that changes in a terminal, and a line now and then elsewhere.

    With `verbose`, each finished week of a table is a line. So is the first warning of each kind, or with `verbose`
    each warning. `warnings` has them all.
    """

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self.warnings: list[str] = []
        self._console = console
        self._verbose = verbose
        self._printed = time.monotonic()

    @contextmanager
    def shown(self) -> Iterator["RunProgress"]:
        """Show the progress of the runs in the block."""
        columns = (
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("weeks"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[week]}", style="dim"),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task: TaskID | None = None
        # Outside of a terminal, a bar would end with an empty line.
        with self._bar if self._console.is_terminal and not self._verbose else nullcontext():
            yield self

    def __call__(self, entry: dg.EventLogEntry) -> None:
        """Show a line of a run's log."""
        if entry.is_dagster_event:
            return
        if int(entry.level) == logging.WARNING:
            if self._verbose or kind_of(entry.user_message) not in map(kind_of, self.warnings):
                self._console.print(entry.user_message, highlight=False, markup=False, soft_wrap=True, style="yellow")
            self.warnings.append(entry.user_message)
        if done := read_progress(entry.user_message):
            self._show_bar(done.table, done.week, done.done, done.total)
        is_due = not self._console.is_terminal and time.monotonic() - self._printed >= SECONDS_BETWEEN_LINES
        if done and (self._verbose or is_due):
            self._printed = time.monotonic()
            self._console.print(entry.user_message, highlight=False, markup=False, soft_wrap=True)

    def _show_bar(self, table: str, week: str, done: int, total: int) -> None:
        if self._task is None:
            self._task = self._bar.add_task(table, total=total, week=week)
        self._bar.update(self._task, description=table, completed=done, total=total, week=week)


class ReadingBar:
    """Shows how much of a yearly export is read: as a bar in a terminal, as lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines = FileProgress(lambda line: console.print(line, highlight=False, markup=False))
        self._name = ""
        self._bar = Progress(console=console)

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show that so many bytes of an export are read."""
        if not self._console.is_terminal:
            self._lines(name, done, total)
            return
        if name != self._name:
            columns = (TextColumn("  Reading {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            self._name, self._bar = name, Progress(*columns, console=self._console)
            self._bar.add_task(name, total=total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done)
        if done == total:
            self._bar.stop()

    def close(self) -> None:
        """End the bar of an export that could not be read to its end."""
        if self._name:
            self._bar.stop()


def ranges_of(weeks: Iterable[str]) -> str:
    """Weeks as text: FIRST...LAST for consecutive ones."""
    spans = contiguous_ranges(sorted(set(weeks)))
    return ", ".join(first if first == last else f"{first}...{last}" for first, last in spans)


def kind_of(line: str) -> str:
    """What a line has in common with similar ones: all but the numbers. For a check, also all but what it found."""
    check = _CHECK.match(line)
    return _NUMBER.sub("#", check[0] if check else line)


def grouped(lines: Iterable[str], *, verbose: bool) -> Iterator[str]:
    """Yield the first line of each kind with the weeks that the others name, or all lines with `verbose`."""
    groups: dict[str, list[str]] = {}
    for line in lines:
        groups.setdefault(line if verbose else kind_of(line), []).append(line)
    for first, *others in groups.values():
        yield first
        if others and not verbose:
            weeks = [found[0] for other in others if (found := _WEEK.search(other))]
            named = f": {ranges_of(weeks)}" if len(weeks) == len(others) else ""
            yield f"  and {len(others):,} more like this{named}"
