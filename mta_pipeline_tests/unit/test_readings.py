"""Every line becomes a reading or a reject with one reason."""

import re

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mta_pipeline.turnstile.contract import TURNSTILE_READINGS, TURNSTILE_REJECTS
from mta_pipeline.turnstile.header import find_headers
from mta_pipeline.turnstile.parsing import MAX_LINE_BYTES, UnreadableFile, _as_csv, _line_by_line, count_data_lines
from mta_pipeline.turnstile.readings import StagedWeek, stage
from mta_pipeline_tests.support.assertions import assert_short
from mta_pipeline_tests.support.published_files import (
    BOOTHS,
    HEADER,
    WEEK,
    legacy_file,
    legacy_group,
    legacy_line,
    modern_file,
    modern_line,
    moment,
)

GOOD = modern_line("2024-01-06 03", 100, 50)
LATER = modern_line("2024-01-06 07", 110, 60)
LEGACY_WEEK = "2011-05-21"
GROUP = legacy_group("2011-05-21 04", 7, 8)


def staged(published: bytes, week: str = WEEK) -> StagedWeek:
    week_staged = stage(published, week, BOOTHS)
    assert week_staged.readings.height + week_staged.rejects.height == count_data_lines(published)
    assert dict(week_staged.readings.schema) == dict(TURNSTILE_READINGS.schema)
    assert dict(week_staged.rejects.schema) == dict(TURNSTILE_REJECTS.schema)
    return week_staged


def reasons(published: bytes, week: str = WEEK) -> list[tuple[int, str]]:
    return staged(published, week).rejects.select("source_line", "reason").rows()


def test_a_modern_line_becomes_a_typed_reading():
    reading = staged(modern_file(GOOD)).readings.row(0, named=True)
    assert reading == {
        "control_area": "A002",
        "unit": "R051",
        "scp": "02-00-00",
        "station": "59 ST",
        "line_name": "NQR456W",
        "division": "BMT",
        "read_at": moment("2024-01-06 03"),
        "audit": "REGULAR",
        "entries_register": 100,
        "exits_register": 50,
        "source_line": 2,
        "utc_offset": -5,
    }


def test_a_legacy_line_becomes_a_reading_per_group_with_the_station_of_its_booth():
    week = staged(
        legacy_file(
            legacy_line(GROUP, legacy_group("2011-05-21 08", 9, 9)), legacy_line(GROUP, booth="X999,R999,00-00-00")
        ),
        LEGACY_WEEK,
    )
    assert week.layout == "legacy"
    assert week.readings.select("station", "division", "entries_register", "source_line").rows() == [
        ("59 ST", "BMT", 7, 1),
        ("59 ST", "BMT", 9, 1),
        (None, None, 7, 2),
    ]


def test_the_layout_is_detected_by_contents_and_not_by_date():
    late = legacy_line(legacy_group("2024-01-06 04", 7, 8))
    assert staged(legacy_file(late)).layout == "legacy"
    assert staged(modern_file(modern_line("2011-05-21 04", 7, 8)), LEGACY_WEEK).layout == "modern"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("A002,R051,02-00-00,59 ST,NQR456W,BMT,01/06/2024,07:00:00,REGULAR,0000000110", "field_count"),
        (LATER + ",7", "field_count"),
        ("x" * 65_536, "field_count"),
        (LATER.replace("A002", ""), "field_count"),
        (LATER.replace("02-00-00", "02-\0-00"), "field_count"),
        (LATER.replace("02-00-00", "2/3/2000"), "bad_turnstile"),
        (LATER.replace("02-00-00", "2000-02-03"), "bad_turnstile"),
        (LATER.replace("02-00-00", "02-00-0"), "bad_turnstile"),
        (LATER.replace("02-00-00", "02-00-0G"), "bad_turnstile"),
        (LATER.replace("02-00-00", "02-00-000"), "bad_turnstile"),
        (LATER.replace("02-00-00", "20000"), "bad_turnstile"),
        (LATER.replace("02-00-00", "2/3/2000").replace("01/06/2024", ""), "bad_turnstile"),
        (LATER.replace("01/06/2024", "02/31/2024"), "bad_timestamp"),
        (LATER.replace("07:00:00", "24:00:00"), "bad_timestamp"),
        (LATER.replace("07:00:00", ""), "bad_timestamp"),
        (modern_line("2024-01-06 07", 110, "00000000A0"), "bad_register"),
        (modern_line("2024-01-06 07", "-", 60), "bad_register"),
        (modern_line("2024-01-06 07", "", 60), "bad_register"),
        (modern_line("2024-01-06 07", "-000000110", 60), "bad_register"),
        (modern_line("2024-01-06 07", "99999999999999999999", 60), "bad_register"),
        (modern_line("2024-01-06 07", "1e3", 60), "bad_register"),
        (modern_line("2024-01-13 00", 110, 60), "outside_window"),
        (modern_line("2024-01-05 23:59:59", 110, 60), "outside_window"),
        (HEADER, "junk_header"),
        (GOOD, "duplicate"),
        (GOOD.replace("REGULAR", "RECOVR AUD"), "superseded"),
    ],
)
def test_an_invalid_line_is_kept_with_its_reason_and_text(line, reason):
    week = staged(modern_file(GOOD, line, modern_line("2024-01-06 11", 120, 70)))
    assert week.rejects.rows() == [(3, None, reason, line)]
    assert week.readings.height == 2


GROUPS_OF_A_WEEK = [legacy_group(f"2011-05-21 04:00:{n:02}", n, n) for n in range(60)]
LINE_TOO_LONG = [
    "x" * 65_537,
    "," * 1_000_000,
    LATER + "," + "é" * 40_000,
    '"' + LATER + " " * 70_000,
    HEADER + "," * 70_000,
    LATER + "\0" * 70_000,
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("line", LINE_TOO_LONG, ids=range(len(LINE_TOO_LONG)))
def test_a_line_that_is_too_long_is_one_reject_with_its_beginning(line, at, end):
    lines = [GOOD, LATER]
    lines.insert(at, line)
    week = staged(modern_file(*lines, end=end))
    kept, mark = week.rejects["raw_text"][0][:-13], week.rejects["raw_text"][0][-13:]
    assert week.rejects.select("source_line", "source_group", "reason").rows() == [(at + 2, None, "too_long")]
    assert (line.startswith(kept), 70 < len(kept) <= 1000, mark) == (True, True, "… (truncated)")
    assert week.readings.height == 2


@pytest.mark.parametrize("long", ["x" * 70_000, legacy_line(*GROUPS_OF_A_WEEK, *GROUPS_OF_A_WEEK[:5])])
@pytest.mark.parametrize("on_top", [True, False])
def test_a_legacy_line_that_is_too_long_is_one_reject_without_a_group(long, on_top):
    lines = [long, legacy_line(GROUP)] if on_top else [legacy_line(GROUP), long]
    week = staged(legacy_file(*lines), LEGACY_WEEK)
    assert week.rejects.rows() == [(2 - on_top, None, "too_long", long[:1000] + "… (truncated)")]


def test_a_legacy_line_may_have_64_groups():
    line = legacy_line(*GROUPS_OF_A_WEEK, *(legacy_group(f"2011-05-21 08:00:0{n}", n, n) for n in range(4)))
    assert staged(legacy_file(line), LEGACY_WEEK).readings.height == 64


def test_bytes_that_are_cut_off_do_not_decide_how_the_others_are_read():
    good, long = modern_file(GOOD.replace("59 ST", "59 ÑT")), b"y" * 70_000
    for tail in (b"\xff", "é".encode()):
        assert staged(good + long + tail + b"\n").readings["station"].to_list() == ["59 ÑT"]
    odd = [staged(good + b"y" * n + "é€😀".encode() * 20_000).readings["station"][0] for n in range(990, 1001)]
    assert set(odd) == {"59 ÑT"}


@pytest.mark.parametrize(
    ("published", "limit"),
    [
        (b"\n" * 5_000_000, "600,000 lines"),
        (b"x,y\n" * 600_001, "600,000 lines"),
        (b"\r\n" * 35_000_000, "48 MiB"),
        ((b"\xff" * 60_000 + b"\n") * 600, "48 MiB"),
        ((legacy_line(*GROUPS_OF_A_WEEK) + "\n").encode() * 10_001, "600,000 groups"),
    ],
    ids=["blank lines", "short lines", "blank text", "Latin-1", "groups"],
)
def test_a_file_with_more_than_any_week_has_is_refused_before_it_is_split(published, limit):
    with pytest.raises(UnreadableFile, match=rf"^turnstile_240113.txt: the file has more than {limit}, .* Replace it"):
        stage(published, WEEK, BOOTHS)


DATES = [
    "01/06/2024", "1/6/2024", "01/6/2024", "1/6/24", "2024-01-06", "2024-01-06T00:00:00", "2024-01-06T00:00:00.000",
    "2024-01-06 00:00:00", "1/6/2024 0:00", "01/06/2024 12:00:00 AM",
]  # fmt: skip
TIMES = ["15:00:00", "15:00", "3:00:00 PM", "3:00 PM", "03:00:00 pm", "3:00PM", "15:00:00.000"]


FORMS = [
    modern_line("2024-01-06 15", 1, 1, booth=f"A002,R051,00-00-{n:02}").replace("01/06/2024,15:00:00", form)
    for n, form in enumerate(f"{date},{time}" for date in DATES for time in TIMES)
]


@pytest.mark.parametrize("junk", ["", "USE", '"'])
@pytest.mark.parametrize("padded", [True, False])
def test_a_file_may_hold_every_form_of_date_and_time(padded, junk):
    week = staged(modern_file(*FORMS, junk, padded=padded))
    assert week.readings["read_at"].to_list() == [moment("2024-01-06 15")] * len(FORMS)
    assert week.rejects["raw_text"].to_list() == ([junk] if junk else [])


def test_each_form_of_date_and_time_is_read_without_any_other_line():
    for line in FORMS:
        assert staged(modern_file(line)).readings["read_at"].to_list() == [moment("2024-01-06 15")]


@pytest.mark.parametrize(
    ("date", "week"),
    [("10/8/2014", "2014-10-04"), ("6/20/2015", "2015-06-20"), ("12/25/15", "2015-12-19"), ("10/11/12", "2012-10-06")],
)
def test_the_form_of_a_date_is_valid_in_every_month(date, week):
    published = modern_file(GOOD.replace("01/06/2024,03:00:00", f"{date},3:00:00"))
    assert staged(published, week).readings.height == 1


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("2024-01-06T03:00:00", "03:00:00"),
        ("2024-01-06T00:00:00Z", "03:00:00"),
        ("24-01-06", "03:00:00"),
        ("01-06-2024", "03:00:00"),
        ("13/1/2024", "03:00:00"),
        ("2024-02-30", "03:00:00"),
        ("1/6/2024", "24:00"),
        ("1/6/2024", "13:00 PM"),
        ("1/6/2024", "3"),
        ("1/6/2024", "45297.125"),
        ("45297", "03:00:00"),
    ],
)
def test_any_other_form_of_date_and_time_is_a_reject(date, time):
    line = GOOD.replace("01/06/2024,03:00:00", f"{date},{time}")
    assert reasons(modern_file(LATER, line)) == [(3, "bad_timestamp")]


@given(st.datetimes(moment("2024-01-06"), moment("2024-01-12 23:59:59")), st.sampled_from([True, False]))
def test_excel_and_iso_forms_name_the_same_moment_as_the_published_form(at, excel):
    at = at.replace(microsecond=0)
    date = f"{at.month}/{at.day}/{at.year}" if excel else at.date().isoformat()
    time = f"{at.hour}:{at:%M:%S}" if excel else f"{(at.hour + 11) % 12 + 1}:{at:%M:%S} {'AP'[at.hour // 12]}M"
    published = GOOD.replace("01/06/2024,03:00:00", f"{at:%m/%d/%Y},{at:%H:%M:%S}")
    rewritten = GOOD.replace("01/06/2024,03:00:00", f"{date},{time}")
    assert staged(modern_file(rewritten)).readings.equals(staged(modern_file(published)).readings)


def test_an_scp_has_hexadecimal_digits():
    assert staged(modern_file(GOOD.replace("02-00-00", "00-0F-0A"))).readings["scp"].to_list() == ["00-0F-0A"]


def test_a_group_of_a_legacy_line_with_a_malformed_scp_is_a_reject():
    published = legacy_file(legacy_line(GROUP), legacy_line(GROUP, GROUP, booth="A002,R051,2000-02-03"))
    assert reasons(published, LEGACY_WEEK) == [(2, "bad_turnstile")] * 2


def test_the_window_starts_on_its_saturday_and_ends_before_the_next():
    edges = (modern_line("2024-01-06 00", 1, 1), modern_line("2024-01-12 23:59:59", 2, 2))
    assert reasons(modern_file(*edges)) == []


def test_regular_has_precedence_over_any_other_audit_and_among_equals_the_first_is_kept():
    recovered = modern_line("2024-01-06 03", 101, 51, audit="RECOVR AUD")
    week = staged(modern_file(recovered, GOOD, GOOD, recovered, LATER))
    assert week.readings["entries_register"].to_list() == [100, 110]
    assert week.rejects.select("source_line", "reason").rows() == [
        (2, "superseded"),
        (4, "duplicate"),
        (5, "superseded"),
    ]
    assert reasons(modern_file(recovered, recovered)) == [(3, "duplicate")]


def test_readings_are_sorted_by_turnstile_and_time_whatever_the_order_of_the_file():
    other = modern_line("2024-01-06 03", 5, 5, booth="N001,R173,00-00-01")
    week = staged(modern_file(LATER, other, GOOD, GOOD))
    assert week.readings["entries_register"].to_list() == [100, 110, 5]
    assert week.rejects.select("source_line", "reason").rows() == [(5, "duplicate")]


def test_an_unknown_desc_is_kept_unchanged():
    assert staged(modern_file(GOOD, LATER.replace("REGULAR", "LOGON"))).readings["audit"].to_list() == [
        "REGULAR",
        "LOGON",
    ]


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_padding_and_line_ends_do_not_matter(padded, end):
    assert staged(modern_file(GOOD, LATER, padded=padded, end=end)).readings.height == 2


def test_a_byte_order_mark_latin_1_bytes_and_blank_lines_do_not_matter():
    published = b"\xef\xbb\xbf" + modern_file(GOOD, "", LATER, "   ")
    assert reasons(published) == []
    latin = modern_file(GOOD, LATER).replace(b"59 ST", b"59 \xd1T")
    assert staged(latin).readings["station"].to_list() == ["59 ÑT", "59 ÑT"]


@pytest.mark.parametrize("end", ["", "\n", "\r", "\r\n"])
def test_lines_may_end_with_carriage_returns_alone(end):
    published = modern_file(GOOD, LATER, "USE", padded=False, end="\r").removesuffix(b"\r") + end.encode()
    week = staged(published)
    assert week.readings["source_line"].to_list() == [2, 3]
    assert week.rejects.rows() == [(4, None, "field_count", "USE")]
    legacy = legacy_file("USE", legacy_line(GROUP)).replace(b"\n", b"\r")
    assert reasons(legacy, LEGACY_WEEK) == [(1, "junk_header")]


@pytest.mark.parametrize("junk", ["", "USE"])
def test_a_register_may_be_written_as_a_float_without_a_fraction(junk):
    floats = modern_line("2024-01-06 07", "51925000.0", "1756572.00")
    readings = staged(modern_file(GOOD, junk, floats, padded=False)[:-1]).readings
    assert readings.select("entries_register", "exits_register").rows() == [(100, 50), (51925000, 1756572)]
    for wrong in ("5192500.5", "-5192500.0", ".0", "5192500.", "99999999999999999999.0"):
        assert reasons(modern_file(GOOD, modern_line("2024-01-06 07", wrong, 60))) == [(3, "bad_register")]


def test_a_last_line_cut_within_a_register_is_rejected_and_not_read_as_a_small_number():
    whole = modern_file(GOOD, LATER, padded=False)
    assert reasons(whole[:-1]) == []
    assert reasons(whole[:-2]) == [(3, "bad_register")]
    assert reasons(whole[:-15]) == [(3, "field_count")]
    legacy = legacy_file(legacy_line(GROUP, legacy_group("2011-05-21 08", 9, 9)))
    assert reasons(legacy[:-2], LEGACY_WEEK) == [(1, "bad_register")]


def with_registers(*registers: object, end: str = "") -> bytes:
    """Return a file of one turnstile whose exits register has these texts, in this order of time."""
    lines = [modern_line(f"2024-01-06 {hour:02}", "9040", text) for hour, text in enumerate(registers)]
    return modern_file(*lines, padded=False)[:-1] + end.encode()


@pytest.mark.parametrize("cut", ["203", "20", "2"])
def test_a_register_that_is_not_padded_is_cut_if_it_misses_digits_of_the_nearest_reading(cut):
    assert reasons(with_registers("2000", cut)) == [(3, "bad_register")]
    assert reasons(with_registers("2000", cut, end="\n")) == []
    assert reasons(with_registers("2000", cut, end=" ")) == []
    others = [
        modern_line(f"2024-01-{day} 00", "9040", exits) for day, exits in (("08", "2010"), ("06", "1"), ("12", "3"))
    ]
    line = modern_line("2024-01-08 04", "9040", cut)
    assert reasons(modern_file(*others, GOOD.replace("02-00-00", "00-00-00"), line, padded=False)[:-1]) == [
        (6, "bad_register")
    ]


def test_a_register_is_cut_if_its_beginning_is_farther_from_the_nearest_reading_than_a_longer_number():
    assert reasons(with_registers("998", "100")) == [(3, "bad_register")]


def test_a_cut_register_without_another_reading_of_its_turnstile_is_a_reject():
    other = GOOD.replace("02-00-00", "00-00-00")
    assert reasons(modern_file(other, modern_line("2024-01-06 03", "9040", "203"), padded=False)[:-1]) == [
        (3, "bad_register")
    ]


@pytest.mark.parametrize(
    ("near", "last"),
    [("2000", "2037"), ("1003", "999"), ("998", "1003"), ("0", "0"), ("7", "0"), ("1756572", "1756500.0")],
)
def test_a_file_without_a_last_line_end_loses_nothing(near, last):
    assert reasons(with_registers(near, last)) == []
    large = modern_file(*(modern_line("2024-01-06 0" + h, "1224425069", x) for h, x in (("1", near), ("2", last))))
    assert reasons(large.rstrip()) == []


@st.composite
def lines_of_turnstiles(draw: st.DrawFn) -> list[str]:
    """Lines of turnstiles that count up or down, in any order, with padded registers or without padding."""
    form = draw(st.sampled_from(["{}", "{:010d}"]))
    lines = []
    for number in range(draw(st.integers(1, 3))):
        exits, step = draw(st.integers(10_000, 10**9)), draw(st.sampled_from([1, -1]))
        for hour in range(draw(st.integers(1, 5))):
            booth, registers = f"A002,R051,00-00-0{number}", (form.format(2 * exits), form.format(exits))
            lines.append(modern_line(f"2024-01-06 {4 * hour:02}", *registers, booth=booth))
            exits += step * draw(st.integers(0, 1500))
    return draw(st.permutations(lines))


@given(lines_of_turnstiles(), st.booleans(), st.integers(0, 150))
def test_a_cut_at_any_byte_changes_no_reading(lines, padded, missing):
    published = modern_file(GOOD, LATER, *lines, padded=padded)
    whole, cut = staged(published).readings, staged(published[: -missing or None]).readings
    assert cut.join(whole, on=whole.columns, how="anti").is_empty()


@given(lines_of_turnstiles())
def test_a_file_loses_its_last_line_end_and_no_reading_of_a_turnstile_with_several(lines):
    published = modern_file(*lines, lines[-1].replace("2024-01-06", "2024-01-07"), padded=False)
    assert staged(published[:-1]).readings.equals(staged(published).readings)


def test_junk_headers_are_distinguished_from_bad_lines():
    junk = [f"NUMBER,OF,ENTRIES,{n}" for n in range(10)]
    published = legacy_file(*junk, legacy_line(GROUP), "USE")
    assert reasons(published, LEGACY_WEEK) == [(n, "junk_header") for n in range(1, 11)] + [(12, "field_count")]
    above_the_header = "\n".join(["EXPORTED BY HAND", modern_file(GOOD).decode()]).encode()
    assert reasons(above_the_header) == [(1, "junk_header")]


def test_a_bad_group_is_rejected_alone_with_its_number_in_the_line():
    line = legacy_line(
        GROUP, legacy_group("2011-05-21 08", "-", 9), legacy_group("2011-05-21 12", 9, ""), "05-21-11,16:00"
    )
    week = staged(legacy_file(line), LEGACY_WEEK)
    assert week.readings.height == 1
    assert week.rejects.rows() == [
        (1, 2, "bad_register", "A002,R051,02-00-00,05-21-11,08:00:00,REGULAR,-,000000009"),
        (1, 3, "bad_register", "A002,R051,02-00-00,05-21-11,12:00:00,REGULAR,000000009,"),
        (1, 4, "field_count", "A002,R051,02-00-00,05-21-11,16:00"),
    ]


@pytest.mark.parametrize("stray", ["0-02,10-10-14,16:00:00", ",05-21-11,:", "05-21-11,16:00:00"])
def test_a_dated_legacy_line_without_a_group_is_one_reject(stray):
    rejects = staged(legacy_file(legacy_line(GROUP), stray), LEGACY_WEEK).rejects
    assert rejects.rows() == [(2, None, "field_count", stray)]


@pytest.mark.parametrize(
    ("published", "message"),
    [
        (b"", "turnstile_240113.txt: the file is empty"),
        (b"\n \n", "the file is empty"),
        (modern_file(), "the file has a header but no readings"),
        (modern_file(HEADER), "the file has a header but no readings"),
        (b"<!DOCTYPE html>\n<html><body>Not here</body></html>", "this is a web page, not a turnstile file"),
        (b"\nhello\nworld\n", "no line looks like a turnstile reading. The first data line is line 2: 'hello'."),
    ],
)
def test_a_file_without_readings_is_rejected_with_name_and_reason(published, message):
    with pytest.raises(UnreadableFile, match=message):
        stage(published, WEEK, BOOTHS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [modern_line("2023-01-06 03", 1, 1)] * 2,
            "Rejected: 2 outside_window. The first outside_window is in line 2: 'A002,R051,02-00-00,59 ST,NQR456W,BMT,"
            "01/06/2023,03:00:00,REGULAR,0000000001,0000000001'. Expected: a time from 2024-01-06 00:00 up to, but not "
            "including, 2024-01-13 00:00. Probably the file has the name of another week: the file of that line is "
            "turnstile_230107.txt. Correct the name",
        ),
        (
            ["USE", HEADER, HEADER, HEADER, *[GOOD.replace("01/06/2024", "06.01.2024")] * 2],
            "Rejected: 3 junk_header, 2 bad_timestamp, 1 field_count. The first bad_timestamp is in line 6: 'A002,R051,"
            "02-00-00,59 ST,NQR456W,BMT,06.01.2024,03:00:00,REGULAR,0000000100,0000000050'. Expected: date and time "
            "as in 01/06/2024 16:00:00. Probably a spreadsheet",
        ),
        (
            [GOOD + ",7"],
            "Rejected: 1 field_count. The first field_count is in line 2: 'A002,R051,02-00-00,59 ST,NQR456W,BMT,"
            "01/06/2024,03:00:00,REGULAR,0000000100,0000000050,7'. Expected: 11 fields separated by commas (C/A, UNIT, "
            "SCP, STATION, LINENAME, DIVISION, DATE, TIME, DESC, ENTRIES, EXITS); C/A, UNIT and SCP not empty, without "
            "blanks and quotation marks. Probably another program changed the columns",
        ),
        (
            [GOOD.replace("02-00-00", "2/3/2000")],
            "Rejected: 1 bad_turnstile. The first bad_turnstile is in line 2: 'A002,R051,2/3/2000,59 ST,NQR456W,BMT,"
            "01/06/2024,03:00:00,REGULAR,0000000100,0000000050'. Expected: an SCP as in 02-00-00. Probably a "
            "spreadsheet read SCPs as dates",
        ),
        (
            [GOOD.replace("0000000100", "1E+02")],
            "Rejected: 1 bad_register. The first bad_register is in line 2: 'A002,R051,02-00-00,59 ST,NQR456W,BMT,"
            "01/06/2024,03:00:00,REGULAR,1E+02,0000000050'. Expected: integers of at least 0 as ENTRIES and EXITS. "
            "Probably another program changed the form of numbers",
        ),
    ],
)
def test_if_every_line_is_rejected_the_error_shows_the_first_line_and_says_what_to_do(lines, message):
    with pytest.raises(UnreadableFile, match=re.escape(f"is no reading of the week 2024-01-06. {message}")) as error:
        stage(modern_file(*lines), WEEK, BOOTHS)
    assert str(error.value).startswith("turnstile_240113.txt: there ")


def test_if_every_group_is_rejected_the_error_shows_the_first_group():
    published = legacy_file("USE", legacy_line(GROUP, legacy_group("2011-05-21 08", 9, 9)))
    message = "is in line 2, group 1: 'A002,R051,02-00-00,05-21-11,04:00:00,REGULAR,000000007,000000008'. Expected: a t"
    with pytest.raises(UnreadableFile, match=re.escape(message)):
        stage(published, WEEK, BOOTHS)


NUMBERS = pl.Series([1, 70, 60, 80, 50])


@pytest.mark.parametrize("form", [lambda line: line, lambda line: f'"{line}"'.replace(",", '","')])
def test_lines_of_a_part_of_a_file_keep_their_numbers_in_the_whole_file(form):
    bad = LATER.replace("01/06/2024", "02/31/2024")
    published = "\n".join(map(form, (HEADER, GOOD, GOOD, LATER, bad))).encode() + b"\n"
    week = stage(published, WEEK, BOOTHS, lines=NUMBERS)
    assert week.readings["source_line"].to_list() == [60, 80]
    assert week.rejects.drop("source_group").rows() == [
        (50, "bad_timestamp", form(bad)),
        (70, "duplicate", form(GOOD)),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("", "", HEADER.replace(",EXITS", ""), GOOD), "line 60 is a header with wrong columns"),
        (("", "hello", "world"), "The first data line is line 70: 'hello'"),
        ((HEADER, "", "", "", GOOD + ",7"), "The first field_count is in line 50"),
    ],
)
def test_messages_about_a_part_of_a_file_name_lines_of_the_whole_file(lines, message):
    with pytest.raises(UnreadableFile, match=re.escape(message)):
        stage("\n".join(lines).encode(), WEEK, BOOTHS, lines=NUMBERS)


LINES = st.lists(
    st.one_of(
        st.sampled_from([GOOD, LATER, HEADER, "", "USE", GOOD[:40], GOOD + ",", GOOD.replace("REGULAR", "RECOVR AUD")]),
        st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=60),
    )
)


@given(LINES, st.booleans())
def test_every_line_of_any_modern_file_is_accounted_for(lines, newline):
    published = modern_file(GOOD, *lines)
    staged(published if newline else published[:-1])


FIELDS = GOOD.strip().split(",")
ODD = st.one_of(st.text(st.characters(codec="utf-8", exclude_characters=",\n"), max_size=6), st.just('"'))
# The date is kept: without a date, the line would be parsed in another way.
ODDLY_FILLED = st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 10]), ODD), max_size=8).map(
    lambda odd: [",".join([*FIELDS[:n], text, *FIELDS[n + 1 :]]) for n, text in odd]
)


FORMS_OF_A_FIELD = st.sampled_from(['"{}"', '"{}"', '"{}"', "{}", '"{}', '"{}" ', '""{}""', '"{},"', '"{}\n"'])
QUOTED = st.lists(
    st.lists(FORMS_OF_A_FIELD, min_size=11, max_size=11).map(lambda forms: ",".join(forms).format(*FIELDS)), max_size=4
)


def quoted(*lines: str, end: str = "\n", separator: str = ",") -> bytes:
    """Return a published file with every field in quotation marks."""
    rows = [f'"{line}"'.replace(",", f'"{separator}"') for line in (HEADER, *lines)]
    return "".join(f"{row}{end}" for row in rows).encode()


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "   \n"])
def test_a_file_that_quotes_every_field_is_parsed_as_csv(end, separator):
    lines = [GOOD, LATER.replace("59 ST", ""), GOOD.replace("02-00-00", "02-00-0A")]
    published = quoted(*lines, end=end, separator=separator)
    candidates = _as_csv(published, None)
    assert candidates is not None
    assert candidates.frame.equals(_line_by_line(published, "file", None, []).frame.select(candidates.frame.columns))
    assert staged(published).readings.equals(staged(modern_file(*lines)).readings)


@given(st.one_of(ODDLY_FILLED, QUOTED), st.booleans())
def test_a_file_with_eleven_fields_in_every_line_is_read_the_same_with_an_extra_odd_line(lines, all_quoted):
    published = (quoted if all_quoted else modern_file)(GOOD, *lines)
    alone, extended = staged(published), staged(published + b"USE\n")
    assert alone.readings.equals(extended.readings)
    assert alone.rejects.equals(extended.rejects.filter(pl.col("raw_text") != "USE"))


ANY_LINE = st.one_of(
    st.sampled_from([
        GOOD, HEADER, HEADER.lower(), "C/A,UNIT,SCP", "C/A,UNIT,SCP,DATE1,TIME1", "", " \r", "USE", '"', GOOD[:60],
        legacy_line(GROUP), legacy_line(GROUP, GROUP)[:-30], "0-02,05-21-11,16:00:00", ",05-21-11,:", "05-21-11,16:",
    ]),
    st.lists(
        st.one_of(
            st.sampled_from(["", "A002", '"', '"A"', "05-21-11", "02-00-00", "04:00:00", "01/06/2024", "1", "\r"]),
            st.text(st.characters(codec="utf-8", exclude_characters=",\n"), max_size=4),
        ),
        max_size=14,
    ).map(",".join),
)  # fmt: skip


@given(st.lists(ANY_LINE, max_size=8), st.sampled_from([GOOD, legacy_line(GROUP)]), st.sampled_from(["", "\n", "\r"]))
@example(["0-02,10-10-14,16:00:00"], legacy_line(GROUP), "\n")
def test_the_count_agrees_with_readings_and_rejects_for_any_lines(lines, good, end):
    published = ("\n".join([*lines[:4], good, *lines[4:]]) + end).encode()
    for week in (WEEK, LEGACY_WEEK):
        try:
            week_staged = stage(published, week, BOOTHS)
        except UnreadableFile:  # nothing is written that would have to be accounted for
            continue
        assert week_staged.readings.height + week_staged.rejects.height == count_data_lines(published)


GROUPS = st.lists(
    st.sampled_from([GROUP, "05-21-11,08:00:00,AUD,1", "x", "", "05-21-11,08:00:00,AUD,000000001,-"]), max_size=9
)


@given(st.lists(GROUPS, max_size=5))
def test_every_group_of_any_legacy_file_is_accounted_for(lines):
    staged(legacy_file(legacy_line(GROUP), *(legacy_line(*groups) for groups in lines)), LEGACY_WEEK)


REAL_LINES = (
    modern_file(GOOD, LATER)
    + quoted(GOOD)
    + modern_file(GOOD).replace(b",", b"\t")
    + legacy_file(legacy_line(GROUP, GROUP))
    + "USE\nCAF\u00c9,\u2028,\x85,\x1c\n".encode()
).splitlines(keepends=True)


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """Lines of all layouts in any order, with bytes replaced, inserted, removed and repeated."""
    text = bytearray(b"".join(draw(st.lists(st.sampled_from(REAL_LINES), min_size=1, max_size=5))))
    special = st.sampled_from([*b',"\n\r\t\0\xff\xc3 -9\x1c']).map(lambda byte: bytes([byte]))
    special |= st.sampled_from([b"\xef\xbb\xbf", b"\xc2\x85"])
    piece = st.one_of(special, st.binary(max_size=4))
    repetitions = st.sampled_from([1, 1, 1, 2, 40, 70_000])
    for at, gone, new, times in draw(
        st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, 30), piece, repetitions), max_size=6)
    ):
        text[at : at + gone] = new * times
    return draw(st.sampled_from([bytes, bytes, bytes, _as_utf_16]))(text)


def _as_utf_16(text: bytes) -> bytes:
    return text.decode("latin-1").encode("utf-16")


def lines_with_text(published: bytes) -> dict[int, bytes]:
    """The lines that are not blank, or are too long, by number. Independent of the code that is tested, and slow."""
    first_end = re.search(rb"\n|\r+\n?", published)
    only_returns = first_end is not None and not first_end[0].endswith(b"\n")
    lines = re.split(rb"\r\n|\r|\n" if only_returns else rb"\n", published.removeprefix(b"\xef\xbb\xbf"))
    try:
        published.decode()
        encoding = "utf-8"
    except UnicodeDecodeError:
        encoding = "latin-1"
    blank = re.compile(r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*")
    return {
        number: line
        for number, line in enumerate(lines, 1)
        if len(line) > MAX_LINE_BYTES or not blank.fullmatch(line.decode(encoding, errors="replace"))
    }


@settings(max_examples=settings.default.max_examples // 2)
@given(st.one_of(mutated_files(), st.binary(max_size=200)), st.sampled_from([WEEK, LEGACY_WEEK]))
@example(modern_file(GOOD) + b" " * 70_000 + b"x\n", WEEK)
@example(modern_file(GOOD) + LATER.replace("01/06/2024", "soon").replace("0000000060", "60").encode(), WEEK)
@example(f"USE\n,{HEADER}\n1,{GOOD}".encode(), WEEK)
def test_any_bytes_give_an_unreadable_file_or_a_week_that_accounts_for_every_line(published, week):
    try:
        week_staged = stage(published, week, BOOTHS)
    except UnreadableFile as error:
        assert_short(str(error))
        return
    assert week_staged.readings.height + week_staged.rejects.height == count_data_lines(published)
    found = {*week_staged.readings["source_line"], *week_staged.rejects["source_line"]}
    expected = lines_with_text(published)
    assert found <= expected.keys()
    missing = [line.decode("latin-1") for number, line in expected.items() if number not in found]
    assert find_headers(pl.Series(missing, dtype=pl.String)) == list(range(len(missing)))
    assert len(missing) <= 1
