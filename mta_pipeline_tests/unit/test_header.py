"""In a modern file the header says which field is which column, and fields can be quoted."""

import csv
import io
import re
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.turnstile.parsing import UnreadableFile, count_data_lines
from mta_pipeline.turnstile.readings import StagedWeek, stage
from mta_pipeline_tests.support.published_files import BOOTHS, HEADER, WEEK, modern_file, modern_line

GOOD = modern_line("2024-01-06 03", 100, 50)
LATER = modern_line("2024-01-06 07", 110, 60)
OTHER = modern_line("2024-01-06 07", 5, 7, booth="N001,R173,00-00-01", station="INWOOD-207 ST,A,IND")
NAMES = HEADER.split(",")
LINES = (GOOD, LATER, OTHER)


def staged(published: bytes) -> StagedWeek:
    week = stage(published, WEEK, BOOTHS)
    assert week.readings.height + week.rejects.height == count_data_lines(published)
    return week


PUBLISHED = staged(modern_file(*LINES)).readings


def rewritten(
    names: Sequence[str], lines: Sequence[str] = LINES, quoting: int = csv.QUOTE_MINIMAL, separator: str = ","
) -> bytes:
    """Return a file with these columns in this order. A column that the published file lacks holds numbers."""
    text = io.StringIO()
    rows = csv.writer(text, quoting=quoting, delimiter=separator, lineterminator="\n")  # type: ignore[arg-type]
    rows.writerow(names)
    for number, line in enumerate(lines):
        fields = dict(zip(NAMES, line.split(","), strict=True))
        rows.writerow([fields.get(name, number) for name in names])
    return text.getvalue().encode()


def renamed(old: str, new: str) -> bytes:
    return modern_file(*LINES).replace(old.encode(), new.encode(), 1)


def test_exits_before_entries_are_read_as_exits():
    swapped = rewritten([*NAMES[:9], "EXITS", "ENTRIES"])
    assert staged(swapped).readings.equals(PUBLISHED)


@pytest.mark.parametrize("junk", [b"", b"USE\n"])
@given(
    st.permutations([*NAMES, "", "Unnamed: 0", ":id", ":@computed_region_yamh_8v7k"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from([",", "\t"]),
)
def test_columns_are_read_by_name_in_any_order_with_any_quoting_and_separator(junk, names, quoting, separator):
    published = rewritten(names, quoting=quoting, separator=separator)
    week = staged(published + junk)
    assert week.readings.equals(PUBLISHED)
    assert week.rejects["raw_text"].to_list() == junk.decode().split()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (HEADER, HEADER.lower()),
        (HEADER, "C/A,Unit,SCP,Station,Line Name,Division,Date,Time,Description,Entries,Exits" + " " * 40),
        (HEADER, "c_a,unit,scp,station,line_name,division,date,time,description,entries,exits"),
        (HEADER, " C/A , UNIT,SCP ,STATION,LINE_NAME,DIVISION,DATE,TIME,DESC,ENTRIES,EXITS"),
        (HEADER, HEADER.replace("DESC", '"DESC"').replace("EXITS", '"EXITS          "')),
        ("C/A", "\ufeffC/A"),
        ("C/A", '\ufeff"C/A"'),
    ],
)
def test_all_public_spellings_of_the_header_are_known(old, new):
    week = staged(renamed(old, new))
    assert week.readings.equals(PUBLISHED)
    assert week.rejects.is_empty()


def test_a_byte_order_mark_before_latin_1_text_is_ignored():
    published = b"\xef\xbb\xbf" + modern_file(*LINES).replace(b"INWOOD", b"INW\xd6\xd6D")
    assert staged(published).readings["station"].to_list() == ["59 ST", "59 ST", "INWÖÖD-207 ST"]


@pytest.mark.parametrize("junk", [b"", b"USE\n"])
@pytest.mark.parametrize(
    "absent", [["STATION"], ["LINENAME"], ["DIVISION"], ["STATION", "DIVISION"], ["STATION", "LINENAME", "DIVISION"]]
)
def test_a_column_that_can_be_looked_up_by_booth_may_be_absent(absent, junk):
    published = rewritten([name for name in NAMES if name not in absent])
    assert staged(published + junk).readings.equals(PUBLISHED)


@pytest.mark.parametrize("junk", [b"", b"USE\n", b'"\n'])
def test_without_a_description_the_audit_is_null_and_the_first_reading_of_a_moment_is_kept(junk):
    names = [name for name in NAMES if name != "DESC"]
    without = rewritten(names, [GOOD.replace("REGULAR", "RECOVR AUD"), GOOD.replace("50", "51"), LATER, OTHER])
    week = staged(without + junk)
    expected = PUBLISHED.with_columns(audit=pl.lit(None, pl.String), source_line=pl.Series([2, 4, 5], dtype=pl.Int32))
    assert week.readings.equals(expected)
    assert week.rejects.select("source_line", "reason").rows()[0] == (3, "duplicate")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (HEADER.replace(",EXITS", ""), "EXITS is missing"),
        (HEADER.replace("C/A,UNIT,", ""), "C/A is missing; UNIT is missing"),
        (HEADER.replace("SCP,", ""), "SCP is missing"),
        (HEADER.replace("DATE", "DAY"), "DATE is missing; 'DAY' is not a known column"),
        (HEADER + ",Entries", "ENTRIES occurs twice"),
        (HEADER + ",Description", "DESC occurs twice"),
        (HEADER + ",BOROUGH,", "'BOROUGH' is not a known column"),
    ],
)
def test_missing_repeated_and_unknown_columns_are_named(header, problem):
    message = f"turnstile_240113.txt: line 1 is a header with wrong columns: {problem}. Expected: C/A, UNIT,"
    with pytest.raises(UnreadableFile, match=re.escape(message)):
        staged(renamed(HEADER, header))


SWAPPED = HEADER.replace("ENTRIES,EXITS", "EXITS,ENTRIES")


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ((HEADER, GOOD, SWAPPED, LATER), 3),
        ((SWAPPED, GOOD, "", HEADER, LATER), 4),
        ((GOOD, SWAPPED, LATER), 2),
        ((GOOD.replace("01/06/2024", "2024-01-06"), SWAPPED, LATER), 2),
        ((GOOD.replace("01/06/2024", "1/6/2024"), SWAPPED), 2),
    ],
)
def test_columns_that_change_within_a_file_are_an_error_and_never_swapped(lines, number):
    with pytest.raises(UnreadableFile, match=f"line {number} is a header with other columns, or another order"):
        stage("\n".join(lines).encode(), WEEK, BOOTHS)


def test_a_header_that_is_repeated_in_another_spelling_is_a_reject():
    published = modern_file(GOOD, HEADER.lower(), LATER)
    assert staged(published).rejects.rows() == [(3, None, "junk_header", HEADER.lower())]


def test_a_header_below_other_lines_determines_the_columns():
    week = staged(b"EXPORTED BY HAND\n\n" + rewritten([*NAMES[:9], "EXITS", "ENTRIES"]))
    assert week.rejects.rows() == [(1, None, "junk_header", "EXPORTED BY HAND")]
    assert week.readings.drop("source_line").equals(PUBLISHED.drop("source_line"))


def test_the_header_decides_where_a_line_could_be_of_either_layout():
    scp_before_time = rewritten(["C/A", "UNIT", "SCP", "TIME", *NAMES[3:7], *NAMES[8:]], quoting=csv.QUOTE_ALL)
    assert staged(scp_before_time).layout == "modern"


def test_quoted_text_is_read_without_the_quotation_marks():
    assert staged(rewritten(NAMES, quoting=csv.QUOTE_ALL)).readings.equals(PUBLISHED)
    assert staged(rewritten(NAMES, quoting=csv.QUOTE_ALL).partition(b"\n")[2]).readings.equals(
        PUBLISHED.with_columns(source_line=PUBLISHED["source_line"] - 1)
    )
    station = staged(renamed("59 ST", '"59 ST, ""LEX"" AV"')).readings["station"]
    assert station.to_list() == ['59 ST, "LEX" AV', "59 ST", "INWOOD-207 ST"]
    assert staged(renamed("59 ST", '5"9" ST')).readings["station"][0] == '5"9" ST'
    assert staged(renamed("0000000050", '"0000000050   "')).readings.equals(PUBLISHED)


@pytest.mark.parametrize("field", ['"A002', 'A"002', ' "A002"'])
def test_a_turnstile_is_never_named_with_a_quotation_mark(field):
    line = GOOD.replace("A002", field)
    assert staged(modern_file(line, LATER)).rejects.rows() == [(2, None, "field_count", line)]


def test_a_quoted_text_ends_with_its_line():
    halves = GOOD.replace("59 ST", '"59\nST"').split("\n")
    rejects = staged(modern_file(*halves, LATER)).rejects
    assert rejects.select("source_line", "raw_text").rows() == [(2, halves[0]), (3, halves[1])]


def test_the_last_register_may_be_cut_whichever_it_is():
    swapped = rewritten([*NAMES[:9], "EXITS", "ENTRIES"])
    assert staged(swapped[:-3]).rejects["reason"].to_list() == ["bad_register"]
    assert staged(rewritten([*NAMES, ":id"])[:-1]).rejects.is_empty()


def test_fields_may_be_separated_by_tabs():
    tabs = rewritten(NAMES, separator="\t")
    station = staged(tabs.replace(b"59 ST", b'"59 ST,\t""LEX"""', 1)).readings["station"]
    assert station.to_list() == ['59 ST,\t"LEX"', "59 ST", "INWOOD-207 ST"]
    assert staged(tabs.replace(b"59 ST", b'"59 ST"', 1).replace(b"\t", b"  \t", 1)).readings.equals(PUBLISHED)
    with pytest.raises(UnreadableFile, match=re.escape("11 fields separated by tabs (C/A, UNIT,")):
        staged(tabs.replace(b"\n", b"\t7\n").replace(b"EXITS\t7", b"EXITS"))


def test_empty_fields_between_tabs_are_fields():
    empty = rewritten(NAMES, [GOOD.replace("59 ST,NQR456W,BMT", ",,"), LATER], separator="\t")
    assert staged(empty).readings["station"].to_list() == ["59 ST", "59 ST"]  # the first is looked up
    assert staged(empty.replace(b"A002", b'"A002"')).readings.equals(staged(empty).readings)
    last = staged(rewritten([*NAMES[:5], *NAMES[6:], "DIVISION"], separator="\t").replace(b"\tBMT", b"\t", 1))
    assert last.readings["division"].to_list() == ["BMT", "BMT", "IND"]
    excel = rewritten(NAMES, separator="\t").replace(b"\n", b"\t\t\n")
    assert staged(excel).readings.equals(PUBLISHED)


def test_a_file_with_tabs_is_read_like_one_with_commas_above_and_below_its_header():
    below = staged(b"EXPORTED BY HAND\n" + rewritten(NAMES, separator="\t") + b"USE\n").rejects
    assert below["reason"].to_list() == ["junk_header", "field_count"]
    swapped = SWAPPED.replace(",", "\t")
    with pytest.raises(UnreadableFile, match="line 2 is a header with other columns, or another order"):
        stage("\n".join([GOOD.replace(",", "\t"), swapped]).encode(), WEEK, BOOTHS)
