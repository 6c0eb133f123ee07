"""A yearly export is split into its weeks: every line ends up in exactly one, whatever the order and the form."""

import datetime as dt
import hashlib
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.turnstile import exports
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS
from mta_pipeline.turnstile.exports import WeekOfExport, days_missing, join_weeks, split_export
from mta_pipeline.turnstile.parsing import UnreadableFile
from mta_pipeline.turnstile.readings import stage
from mta_pipeline_tests.support.exports import EXPORT_HEADER, export, rows_of_days
from mta_pipeline_tests.support.published_files import BOOTHS, modern_line

DATES = {
    "01/01/2019": "2018-12-29",
    "01/04/2019": "2018-12-29",
    "01/05/2019": "2019-01-05",
    "1/11/2019": "2019-01-05",
    "1/12/19": "2019-01-12",
    "2019-01-13T00:00:00.000": "2019-01-12",
    "12/31/2019": "2019-12-28",
}
UNREADABLE = ["", "yesterday", "13/13/2019", "Date", "01/01/0001", "12/31/9999", "01/01/1970", "02/29/2019"]
STATIONS = ["59 ST", '"59 ST, LEX"', "CAF\u00c9", ""]


def split(contents: bytes, chunk: int = 2**20) -> list[WeekOfExport]:
    chunks = (contents[at : at + chunk] for at in range(0, len(contents), chunk))
    with tempfile.TemporaryDirectory() as folder:
        return list(split_export(chunks, "an export", Path(folder)))


def row(date: str, station: str = "59 ST", entries: int = 1) -> str:
    return f"A002,R051,02-00-00,{station},NQR,BMT,{date},03:00:00,REGULAR,{entries},2"


def numbered(week: WeekOfExport) -> dict[int, str]:
    """The lines of a week by their number in the export, with the header."""
    text = week.text.decode()
    lines = text.removesuffix("\n").split("\n")
    assert week.rows == len(lines) - 1
    return dict(zip(week.lines, lines, strict=True))


rows_of_one_day = st.builds(row, st.just("1/11/2019"), st.sampled_from(STATIONS), st.integers(0, 30))
dated_rows = st.builds(row, st.sampled_from(sorted(DATES)), st.sampled_from(STATIONS), st.integers(0, 30))
other_rows = st.one_of(
    st.builds(row, st.sampled_from(UNREADABLE)), st.sampled_from(["A002,R051", "junk", EXPORT_HEADER]), dated_rows
)
blank_lines = st.sampled_from(["", "   "])


@given(
    lines=st.lists(st.one_of(other_rows, blank_lines), max_size=30),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    separator=st.sampled_from([",", "\t"]),
    is_terminated=st.booleans(),
    chunk=st.integers(1, 200),
    piece=st.integers(1, 2_000),
)
def test_every_line_is_in_exactly_one_week_with_its_number(
    *, lines, encoding, end, separator, is_terminated, chunk, piece
):
    lines = [EXPORT_HEADER, *lines]
    if separator == "\t":
        lines = [line.replace('"59 ST, LEX"', '"59 ST\t LEX"').replace(",", "\t") for line in lines]
    contents = end.join([*lines, ""] if is_terminated else lines).encode(encoding)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exports, "PIECE_BYTES", piece)
        weeks = split(contents, chunk)

    found = [(number, text) for week in weeks for number, text in numbered(week).items() if number != 1]
    assert sorted(found) == [(n, line) for n, line in enumerate(lines, 1) if n > 1 and line.strip()]
    assert all(numbered(week)[1] == lines[0] for week in weeks)
    by_date = {text: week for date, week in DATES.items() for _, text in found if separator + date + separator in text}
    assert all(by_date.get(text) == week.week for week in weeks for n, text in numbered(week).items() if n != 1)
    assert [week.week for week in weeks] == sorted({by_date.get(text) for _, text in found}, key=lambda w: w or "x")


@given(rows=st.lists(other_rows, min_size=1, max_size=20).flatmap(lambda rows: st.tuples(*2 * [st.permutations(rows)])))
def test_the_order_of_the_rows_does_not_change_the_version_of_a_week(rows):
    first, second = (split(export(ordered)) for ordered in rows)

    assert [(week.week, week.sha256, week.days) for week in first] == [
        (week.week, week.sha256, week.days) for week in second
    ]
    for week in first:
        assert week.sha256 == hashlib.sha256(week.text).hexdigest()
        below = week.text.decode().splitlines()[1:]
        assert below == sorted(below, key=str.encode)


def test_the_days_of_a_week_are_those_that_occur_and_the_others_are_missing():
    [week] = split(export([row("01/06/2019"), row("1/5/19"), row("01/06/2019")], seed=1))

    assert week.days == (dt.date(2019, 1, 5), dt.date(2019, 1, 6))
    assert [day.day for day in days_missing("2019-01-05", week.days)] == [7, 8, 9, 10, 11]
    assert days_missing("2019-01-05", [dt.date(2019, 1, day) for day in range(5, 12)]) == []


def test_a_last_line_that_is_cut_off_stays_last_and_without_an_end():
    *first, second = rows_of_days("2019-01-05", "2019-01-12", start=105_160)[:3]
    cut = export([second, *first[::-1]]).removesuffix(b"0\n")

    with_cut, whole = split(cut)

    assert with_cut.text.decode() == "\n".join([EXPORT_HEADER, first[1], first[0][:-1]])
    assert with_cut.lines.to_list() == [1, 3, 4]
    assert whole.text.endswith(b"\n")


@given(st.permutations(rows_of_days("2019-01-05", "2019-01-06", "2019-01-12", start=105_160)))
def test_a_missing_line_end_at_the_end_of_a_whole_export_changes_nothing(rows):
    assert [week.sha256 for week in split(export(rows).removesuffix(b"\n"))] == [
        week.sha256 for week in split(export(sorted(rows)))
    ]


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (b"", "the file is empty"),
        (b"\n  \n", "the file is empty"),
        (b"a,b\n1,2\n", "line 1 is not the header of an export"),
        (b"\nC/A,Unit,SCP,Date,Entries,Exits\n", "line 2 is a header with wrong columns: TIME is missing"),
        (row("01/05/2019").encode(), "line 1 is not the header of an export"),
        (200_000 * b"x", "line 1 is not the header of an export"),
        (export(30 * [row("01/05/2019")]), "the rows of week 2019-01-05 are too many"),
        (export(30 * [row("soon")]), "the rows without a readable date are too many"),
        (export(20 * ["x"]), "the rows without a readable date are too many"),
    ],
)
def test_a_file_that_is_no_export_is_refused_with_the_reason(contents, expected, monkeypatch):
    monkeypatch.setattr(exports, "PIECE_BYTES", 100)
    monkeypatch.setattr(exports, "MAX_WEEK_BYTES", 1_000)

    with pytest.raises(UnreadableFile, match=f"^an export: {expected}"):
        split(contents, 64)


def test_an_export_with_a_header_alone_has_no_weeks():
    assert split(export([])) == []


@pytest.mark.parametrize("piece", [1_000, exports.PIECE_BYTES])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("long", ["y" * 300_000, row("01/05/2019") + "," * 300_000, '"' + row("01/06/2019") * 9_000])
def test_a_line_that_is_too_long_stays_one_row_and_becomes_a_reject(monkeypatch, long, end, piece):
    monkeypatch.setattr(exports, "PIECE_BYTES", piece)
    rows = [row("01/05/2019"), long, row("01/07/2019")]

    parts = split("".join(f"{line}{end}" for line in (EXPORT_HEADER, *rows)).encode())

    assert sum(part.rows for part in parts) == 3
    text = EXPORT_HEADER.encode() + b"".join(b"\n" + part.text.split(b"\n", 1)[1].strip() for part in parts)
    lines = pl.concat([parts[0].lines, *(part.lines[1:] for part in parts[1:])])
    week = stage(text, "2019-01-05", BOOTHS, lines)
    assert week.readings["source_line"].sort().to_list() == [2, 4]
    assert week.rejects.drop("source_group").rows() == [(3, "too_long", long[:1000] + "… (truncated)")]


def test_a_tab_at_the_end_of_a_line_is_kept_because_it_separates_fields():
    [week] = split(export([row("01/05/2019").removesuffix("2")], tabs=True))

    assert week.text.endswith(b"\t1\t\n")


def week_of(rows: list[str], *, header: str = EXPORT_HEADER) -> WeekOfExport:
    [week] = split("".join(f"{line}\n" for line in (header, *rows)).encode())
    return week


@given(st.lists(rows_of_one_day, min_size=1, max_size=12), st.data())
def test_joined_parts_have_each_line_once_whatever_their_overlap(rows, data):
    rows = sorted(set(rows))
    in_first = data.draw(st.sets(st.sampled_from(rows), min_size=1))
    in_second = set(rows) - in_first | data.draw(st.sets(st.sampled_from(rows), min_size=1))

    parts = [week_of(sorted(part)) for part in (in_first, in_second)]

    assert join_weeks(parts).text == week_of(rows).text
    assert join_weeks(parts[::-1]).sha256 == join_weeks(parts).sha256
    assert join_weeks(parts[:1]) == parts[0]


def test_a_joined_line_keeps_the_number_of_the_export_that_has_it():
    first, second = week_of([row("01/05/2019", entries=7)]), week_of([row("01/06/2019"), row("01/05/2019", entries=7)])

    joined = join_weeks([first, second])

    assert [text for number, text in zip(joined.lines, joined.text.decode().splitlines(), strict=True) if number == 2]
    assert joined.lines.to_list() == [1, 2, 2]
    assert joined.days == (dt.date(2019, 1, 5), dt.date(2019, 1, 6))


def test_lines_repeated_within_one_export_stay_repeated():
    repeated = week_of(2 * [row("01/05/2019")])

    assert join_weeks([repeated, week_of([row("01/05/2019"), row("01/06/2019")])]).rows == 3


def test_parts_with_other_columns_are_joined_under_all_columns():
    with_station = week_of([row("01/05/2019", '"A ""B"", C"'), row("01/05/2019", "X") + ",too long"])
    without = week_of(
        ["2\t01/06/2019\t04:00:00\tA002\tR051\t02-00-00\t9"],
        header="Entries\tDate\tTime\tC/A\tUnit\tSCP\tExits",
    )

    joined = join_weeks([with_station, without])

    header, *rows = joined.text.decode().splitlines()
    assert header == "C/A,UNIT,SCP,STATION,LINENAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS"
    assert Counter(rows) == Counter(
        [
            row("01/05/2019", '"A ""B"", C"'),
            row("01/05/2019", "X") + ",too long",
            "A002,R051,02-00-00,,,,01/06/2019,04:00:00,,2,9",
        ]
    )


@pytest.mark.parametrize("order", [1, -1])
def test_a_line_cut_off_in_one_export_does_not_win_over_the_whole_line_in_another(order):
    rows = rows_of_days("2019-01-05", "2019-01-06", start=10_500)
    whole = week_of(rows)
    cut = replace(whole, text=whole.text[:-2])

    joined = join_weeks([whole, cut][::order])

    assert joined.text.decode() == "\n".join([EXPORT_HEADER, *rows, rows[-1][:-1]])
    assert joined.lines.to_list() == [1, 2, 3, 4, 5, 5]
    readings = stage(joined.text, "2019-01-05", BOOTHS, joined.lines).readings
    assert readings["exits_register"].to_list() == [10_500, 10_501, 10_502, 10_503]


def test_a_week_of_an_export_gives_the_readings_of_the_weekly_file_with_the_lines_of_the_export():
    rows = [modern_line(f"2019-01-{day:02} 03", str(day), str(day)) for day in range(5, 12)]
    [week] = split(export([*rows, row("soon")], seed=3))[:1]

    readings = stage(week.text, "2019-01-05", BOOTHS, week.lines).readings

    published = stage(export(rows), "2019-01-05", BOOTHS).readings
    assert readings.drop("source_line").equals(published.drop("source_line"))
    assert list(readings.columns) == list(TURNSTILE_READINGS.schema)
    lines = export([*rows, row("soon")], seed=3).decode().splitlines()
    assert [lines[n - 1] for n in readings["source_line"]] == rows
