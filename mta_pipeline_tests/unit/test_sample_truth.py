"""Compares the sample's truth with its text, by a simple second implementation of the contract's rules."""

import datetime as dt
from collections import Counter, defaultdict
from dataclasses import fields
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta_pipeline.sample import Faults, SampleFeed, SampleWeek
from mta_pipeline.turnstile.contract import CONTROL_AREAS

BOOTHS = pl.DataFrame(
    [
        ("A001", "R001", "ONE ST", "NQR", "BMT", 611),
        ("A002", "R002", "TWO ST", "456", "BMT", 13),
        ("N001", "R003", "THREE ST", "AC", "IND", 14),
        ("OB01", "R004", "BEACH", "6", "IND", 15),
        ("PTH01", "R005", "ACROSS THE RIVER", "1", "PTH", None),
        ("R001", "R006", "FOUR ST", "1", "IRT", 610),
        ("R002", "R006", "FOUR ST", "1", "IRT", 610),
        ("R003", "R007", "NO DIVISION", None, None, None),
    ],
    schema=dict(CONTROL_AREAS.schema),
    orient="row",
)
WEEKS = ("2014-10-04", "2014-10-11", "2014-10-18")

Reading = tuple[dt.datetime, str, int, int]
Turnstile = tuple[str, str, str]


def apply_rules(text: bytes, week: str) -> tuple[dict[Turnstile, list[Reading]], Counter[str]]:
    """Rules 1 and 2: return the readings of each turnstile in time order, and the rejects by reason."""
    start = dt.datetime.fromisoformat(week)
    rejects: Counter[str] = Counter()
    moments: dict[tuple[Turnstile, dt.datetime], list[Reading]] = defaultdict(list)
    seen_data = False
    for line in text.decode().split("\n"):
        cells = line.rstrip(" ").split(",")
        if cells == [""] or cells[0] == "C/A":
            continue
        if len(cells) < 6:
            rejects["field_count" if seen_data else "junk_header"] += 1
            continue
        seen_data = True
        modern = "/" in line
        groups = [cells[6:]] if modern else [cells[n : n + 5] for n in range(3, len(cells), 5)]
        for group in groups:
            outcome = parse_group(group, "%m/%d/%Y %H:%M:%S" if modern else "%m-%d-%y %H:%M:%S", start)
            if isinstance(outcome, str):
                rejects[outcome] += 1
            else:
                moments[(cells[0], cells[1], cells[2]), outcome[0]].append(outcome)
    readings: dict[Turnstile, list[Reading]] = defaultdict(list)
    for (turnstile, _), candidates in sorted(moments.items(), key=lambda item: item[0]):
        regular = [c for c in candidates if c[1] == "REGULAR"]
        rejects["superseded"] += len(candidates) - len(regular) if regular else 0
        rejects["duplicate"] += len(regular or candidates) - 1
        readings[turnstile].append((regular or candidates)[0])
    return readings, +rejects


def parse_group(cells: list[str], form: str, start: dt.datetime) -> Reading | str:
    if len(cells) != 5:
        return "field_count"
    date, time, desc, entries, exits = cells
    try:
        at = dt.datetime.strptime(f"{date} {time}", form)  # noqa: DTZ007  # wall-clock time
    except ValueError:
        return "bad_timestamp"
    if not (entries.isdigit() and exits.isdigit() and max(int(entries), int(exits)) < 2**63):
        return "bad_register"
    if not start <= at < start + dt.timedelta(days=7):
        return "outside_window"
    return at, desc, int(entries), int(exits)


def traffic(before: list[Reading], now: list[Reading], register: int) -> list[tuple[int | None, str]]:
    """Rules 3 to 5 for one register of one turnstile: return traffic (or null) and status of each interval."""
    chain = [*before[-1:], *now]
    pairs = list(pairwise(chain))
    rises = sum(a[register] < b[register] for a, b in pairs)
    falls = sum(a[register] > b[register] for a, b in pairs)
    direction = -1 if falls > rises else 1
    outcome: list[tuple[int | None, str]] = [] if before else [(None, "first")]
    for a, b in pairs:
        people = (b[register] - a[register]) * direction
        seconds = (b[0] - a[0]).total_seconds()
        if people < 0:
            outcome.append((None, "reset"))
        elif people > 0.5 * min(seconds, 16_200) + 0.1 * max(seconds - 16_200, 0):
            outcome.append((None, "implausible"))
        else:
            outcome.append((people, "long_gap" if seconds > 24 * 3600 else "ok"))
    return outcome


def recoverable(week: SampleWeek) -> dict[Turnstile, list[tuple[object, ...]]]:
    """The truth as the rules can recover it: counts only where the status allows them."""
    in_totals = ("ok", "long_gap")
    rows: dict[Turnstile, list[tuple[object, ...]]] = defaultdict(list)
    for row in week.truth.iter_rows(named=True):
        rows[row["control_area"], row["unit"], row["scp"]].append(
            (
                row["ended_at"],
                *(
                    (row[f"true_{r}"] if row[f"{r}_status"] in in_totals else None, row[f"{r}_status"])
                    for r in ("entries", "exits")
                ),
            )
        )
    return rows


def assert_truth_follows_from_text(weeks: list[SampleWeek]) -> None:
    """Assert that the rules compute every week's truth and rejects from its text and that of the week before."""
    before: dict[Turnstile, list[Reading]] = {}
    for week in weeks:
        readings, rejects = apply_rules(week.text, week.week)
        assert rejects == week.rejects
        assert recoverable(week) == {
            turnstile: [
                (reading[0], *outcomes)
                for reading, *outcomes in zip(
                    chain, *(traffic(before.get(turnstile, []), chain, register) for register in (2, 3)), strict=True
                )
            ]
            for turnstile, chain in readings.items()
        }
        before = readings


def any_faults() -> st.SearchStrategy[Faults]:
    most = {"resets": 0.125, "jumps": 0.125, "missed_audits": 0.25, "duplicates": 0.25, "superseded": 0.25}
    kinds = {
        bool: lambda name: st.booleans(),
        int: lambda name: st.integers(0, 3),
        float: lambda name: st.sampled_from([0.0, 1.0]).map(lambda share: share * most.get(name, 0.5)),
    }
    return st.builds(Faults, **{f.name: kinds[type(f.default)](f.name) for f in fields(Faults)})


@settings(max_examples=settings.default.max_examples // 5)
@given(
    seed=st.integers(0, 2**32),
    turnstiles=st.integers(1, 12),
    faults=any_faults(),
    layout=st.sampled_from(["modern", "legacy", None]),
)
def test_the_rules_recover_the_truth_in_spite_of_any_faults(seed, turnstiles, faults, layout):
    feed = SampleFeed(seed, turnstiles, WEEKS[0], faults=faults, layout=layout, booths=BOOTHS)
    assert_truth_follows_from_text(list(feed.stream(WEEKS)))


@pytest.mark.parametrize("layout", ["modern", "legacy"])
def test_every_fault_can_occur_in_one_week_and_the_truth_is_recovered(layout):
    feed = SampleFeed(7, 40, WEEKS[0], faults=Faults.all(), layout=layout, booths=BOOTHS)
    weeks = list(feed.stream(WEEKS))
    assert_truth_follows_from_text(weeks)
    for week in weeks:
        assert set(week.rejects) == {
            "field_count",
            "bad_timestamp",
            "bad_register",
            "outside_window",
            "junk_header",
            "duplicate",
            "superseded",
        }
        for register in ("entries_status", "exits_status"):
            assert set(week.truth[register]) == {"first", "reset", "implausible", "long_gap", "ok"}


def test_people_are_counted_where_registers_fail():
    """Resets and jumps hide riders from the rules, but not from the truth."""
    feed = SampleFeed(7, 40, WEEKS[0], faults=Faults(resets=0.125, jumps=0.125), booths=BOOTHS)
    truth = feed.week(WEEKS[1]).truth
    affected = truth.filter(pl.col("entries_status").is_in(["reset", "implausible"]))
    assert affected.height > 0
    assert affected["true_entries"].is_between(0, 20_000).all()


def test_after_an_unpublished_week_every_turnstile_starts_anew():
    feed = SampleFeed(1, 20, WEEKS[0], faults=Faults(), booths=BOOTHS, unpublished=frozenset({WEEKS[1]}))
    weeks = list(feed.stream(WEEKS))
    assert [week.week for week in weeks] == [WEEKS[0], WEEKS[2]]
    firsts = weeks[1].truth.filter(pl.col("entries_status") == "first")
    assert firsts.height == 20
    assert firsts["started_at"].null_count() == firsts["true_exits"].null_count() == 20
    with pytest.raises(ValueError, match="no week 2014-10-11"):
        feed.week(WEEKS[1])


def test_a_republished_week_has_other_riders_and_the_week_after_has_the_same_file():
    feed = SampleFeed(3, 30, WEEKS[0], faults=Faults.all(), booths=BOOTHS)
    again = feed.after_republishing(WEEKS[1])
    assert_truth_follows_from_text(list(again.stream(WEEKS)))
    first, second, third = ((feed.week(week), again.week(week)) for week in WEEKS)
    assert first[0].text == first[1].text
    assert first[0].truth.equals(first[1].truth)
    assert second[0].text != second[1].text
    assert second[0].truth["ended_at"].equals(second[1].truth["ended_at"])
    assert not second[0].truth["true_entries"].equals(second[1].truth["true_entries"])
    assert third[0].text == third[1].text
    assert not third[0].truth["true_entries"].equals(third[1].truth["true_entries"])
