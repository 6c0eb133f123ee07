"""The terminal shows the progress of a run in few lines."""

import io
import logging
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mta_pipeline.cli import progress
from mta_pipeline.cli.progress import RunProgress, grouped, ranges_of
from mta_pipeline.cli.run import Outcome
from mta_pipeline.cli.summary import show_problems
from mta_pipeline.weeks import weeks_between

WEEKS = weeks_between("2014-01-04", "2016-12-24")
LINES = [f"turnstile_traffic: week {week} ({n} of 156) 9 rows" for n, week in enumerate(WEEKS, 1)]
WARNINGS = [f"week {week}: something is missing" for week in WEEKS[:3]]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Every finished week takes a second."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def shown(*, verbose: bool, is_terminal: bool) -> tuple[str, list[str]]:
    console = Console(file=io.StringIO(), width=100, force_terminal=is_terminal)
    with RunProgress(console, verbose=verbose).shown() as show:
        for line in LINES:
            show(SimpleNamespace(is_dagster_event=False, level=logging.INFO, user_message=line))
        for line in WARNINGS:
            show(SimpleNamespace(is_dagster_event=False, level=logging.WARNING, user_message=line))
    return console.file.getvalue(), show.warnings


def test_outside_of_a_terminal_a_line_is_printed_now_and_then():
    text, warnings = shown(verbose=False, is_terminal=False)
    *lines, warning = text.splitlines()
    assert 10 < len(lines) < 20
    assert {*lines} < {*LINES}
    assert warning == WARNINGS[0]
    assert warnings == WARNINGS


def test_a_terminal_shows_one_line_that_changes_and_is_removed_at_the_end():
    text, warnings = shown(verbose=False, is_terminal=True)
    assert text.count("\n") <= 2
    assert text.count(WARNINGS[0]) == 1
    assert "turnstile_traffic" in text
    assert "156" in text
    assert text.endswith("\x1b[2K")
    assert warnings == WARNINGS


@pytest.mark.parametrize("is_terminal", [True, False])
def test_every_line_is_printed_if_the_run_is_verbose(is_terminal):
    text, warnings = shown(verbose=True, is_terminal=is_terminal)
    assert re.sub(r"\x1b\[\d*m", "", text).splitlines() == [*LINES, *WARNINGS]
    assert warnings == WARNINGS


def test_consecutive_weeks_are_named_as_ranges():
    assert ranges_of(["2014-01-18", "2014-01-04", "2014-01-11", "2014-02-01"]) == "2014-01-04...2014-01-18, 2014-02-01"


def test_similar_lines_are_printed_once_with_the_weeks_of_the_others():
    failed = [f"week {week} failed: /feed/{week}.txt: the file is empty" for week in WEEKS[:4]]
    checks = [f"week {week}, staged/x, check few: {n} {'a' * n}" for n, week in enumerate(WEEKS[:2])]
    assert list(grouped([*failed, "the disk is full", *checks], verbose=False)) == [
        failed[0],
        "  and 3 more like this: 2014-01-11...2014-01-25",
        "the disk is full",
        checks[0],
        "  and 1 more like this: 2014-01-11",
    ]


@given(st.lists(st.tuples(st.sampled_from(WEEKS), st.sampled_from("ab")), unique=True))
def test_every_line_is_counted_once_and_none_is_left_out_if_verbose(found):
    lines = [f"week {week}: {text}" for week, text in found]
    printed = list(grouped(lines, verbose=False))
    counts = [int(re.search(r"\d+", line)[0]) for line in printed if line.startswith("  and")]
    assert len(printed) - len(counts) + sum(counts) == len(lines)
    assert len(printed) <= 4
    assert sorted(grouped(lines, verbose=True)) == sorted(lines)


def test_the_problems_of_a_run_come_in_order_of_severity():
    outcome = Outcome(
        failed_weeks=dict.fromkeys(WEEKS, "the file is empty"),
        failures=["report: no room"],
        failed_checks=[f"week {WEEKS[0]}, staged/x, check few: 3 [b]"],
        out_of_date={WEEKS[1]: "the week before it has changed"},
        warnings=["once", *WARNINGS],
        not_offered=WEEKS[:2],
    )
    console = Console(file=io.StringIO(), width=200)
    show_problems(console, outcome, "/feed", verbose=False)
    assert console.file.getvalue().splitlines() == [
        "week 2014-01-04: something is missing",
        "  and 2 more like this: 2014-01-11...2014-01-18",
        "week 2014-01-11 is outdated, the week before it has changed: run --weeks 2014-01-11",
        "week 2014-01-04 failed: the file is empty",
        "  and 155 more like this: 2014-01-11...2016-12-24",
        "check failed: week 2014-01-04, staged/x, check few: 3 [b]",
        "failed: report: no room",
        "The feed does not offer 2 of these weeks: 2014-01-04...2014-01-11 (/feed)",
    ]
