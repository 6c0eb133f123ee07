"""Every row of a portal becomes a typed row or a reject with a reason."""

import datetime as dt
import json
from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.hourly_ridership.contract import HOURLY_RIDERSHIP
from mta_pipeline.sources.errors import BadFile
from mta_pipeline.sources.socrata.dataset import RejectReason, SodaDataSet, SodaSource
from mta_pipeline.sources.socrata.pages import rows_of
from mta_pipeline.sources.socrata.staging import StagedRows, hours_of, in_lake, stage, unknown_values
from mta_pipeline_tests.support.published_files import moment

WEEK = "2024-03-09"
"""The week in which New York's clocks skip 2024-03-10 02:00."""
SOUND = {
    ":id": "row-1",
    ":updated_at": "2024-04-01T12:00:00.000Z",
    "transit_timestamp": "2024-03-10T03:00:00.000",
    "transit_mode": "subway",
    "station_complex_id": "611",
    "payment_method": "omny",
    "fare_class_category": "OMNY - Full Fare",
    "ridership": "6.0",
    "transfers": "0.0",
}
DAILY = SodaDataSet(
    table="daily",
    description="A day's riders.",
    sources=(SodaSource(id="abcd-1234"),),
    time_column="day",
    key=("day",),
    columns=(
        {"name": "day", "field": "date", "type": "date", "required": True, "description": "The day."},
        {"name": "riders", "type": "integer", "description": "People."},
        {"name": "share", "type": "number", "description": "Share."},
        {"name": "open", "type": "boolean", "description": "Whether it is open."},
    ),
)


def staged(
    *rows: dict[str, str | None], data_set: SodaDataSet = HOURLY_RIDERSHIP, week: str | None = WEEK
) -> StagedRows:
    return stage(pl.DataFrame(rows, schema=dict.fromkeys(data_set.fields, pl.String)), data_set, week)


def day(date: str, riders: str = "1", updated: str = "2024-01-01", **others: str) -> dict[str, str | None]:
    return {
        ":id": f"row-{date}-{riders}",
        ":updated_at": updated,
        "date": f"{date}T00:00:00.000",
        "riders": riders,
        **others,
    }


def test_a_valid_row_is_typed():
    (row,) = staged(SOUND).rows.to_dicts()
    assert row == {
        "transit_timestamp": moment("2024-03-10 03"),
        "transit_mode": "subway",
        "station_complex_id": "611",
        "payment_method": "omny",
        "fare_class_category": "OMNY - Full Fare",
        "ridership": 6,
        "transfers": 0,
        "row_id": "row-1",
        "updated_at": "2024-04-01T12:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("ridership", "NaN", RejectReason.BAD_NUMBER),
        ("ridership", "1e3", RejectReason.BAD_NUMBER),
        ("ridership", "6.5", RejectReason.BAD_NUMBER),
        ("ridership", "1,000", RejectReason.BAD_NUMBER),
        ("ridership", "99999999999999999999", RejectReason.BAD_NUMBER),
        ("transfers", "-1.0", RejectReason.TOO_SMALL),
        ("ridership", None, RejectReason.MISSING),
        ("station_complex_id", None, RejectReason.MISSING),
        ("transit_timestamp", "2024-03-10T02:00:00.000", RejectReason.NO_SUCH_HOUR),
        ("transit_timestamp", "2024-02-31T02:00:00.000", RejectReason.BAD_TIMESTAMP),
        ("transit_timestamp", "03/10/2024 03:00:00 AM", RejectReason.BAD_TIMESTAMP),
        ("transit_timestamp", "2024-03-16T00:00:00.000", RejectReason.OUTSIDE_WINDOW),
        ("payment_method", "cash", RejectReason.UNKNOWN_VALUE),
    ],
)
def test_an_invalid_row_is_kept_with_its_reason_and_column(column, value, reason):
    made = staged(SOUND, {**SOUND, ":id": "row-2", column: value})
    assert made.rows.height == 1
    (reject,) = made.rejects.to_dicts()
    assert (reject["source_row"], reject["row_id"], reject["reason"], reject["about"]) == (2, "row-2", reason, column)
    assert json.loads(reject["raw_text"])[column] == value


def test_the_repeated_hour_in_autumn_is_one_hour():
    made = staged({**SOUND, "transit_timestamp": "2024-11-03T01:00:00.000"}, week="2024-11-02")
    assert made.rows.height == 1


def test_a_week_has_168_hours_or_167_if_clocks_skip_one():
    weeks = ("2024-01-06", "2024-03-09", "2024-11-02")
    assert [hours_of(dt.date.fromisoformat(week)).len() for week in weeks] == [168, 167, 168]


def test_without_a_key_equal_rows_all_count():
    assert staged(SOUND, {**SOUND, ":id": "row-2"}).rows["ridership"].sum() == 12


def test_of_rows_with_the_same_key_the_last_changed_one_is_kept():
    made = staged(
        day("2024-03-10", "1", "2024-04-01"),
        day("2024-03-10", "2", "2024-05-01"),
        day("2024-03-10", "3", "2024-03-20"),
        data_set=DAILY,
    )
    assert made.rows["riders"].to_list() == [2]
    assert made.rejects_by_reason == {RejectReason.SUPERSEDED: 2}


def test_an_invalid_corrected_row_does_not_replace_the_valid_one():
    made = staged(day("2024-03-10", "1"), day("2024-03-10", "NaN", "2024-05-01"), data_set=DAILY)
    assert made.rows["riders"].to_list() == [1]
    assert made.rejects_by_reason == {RejectReason.BAD_NUMBER: 1}


def test_missing_values_are_null_and_booleans_are_parsed_strictly():
    made = staged(day("2024-03-11", share="0.5", open="True"), day("2024-03-10", open="false"), data_set=DAILY)
    assert in_lake(made.rows, DAILY).rows() == [
        (dt.date(2024, 3, 10), 1, None, False),
        (dt.date(2024, 3, 11), 1, 0.5, True),
    ]
    assert staged(day("2024-03-11", open="perhaps"), data_set=DAILY).rejects_by_reason == {RejectReason.BAD_BOOLEAN: 1}


TEXTS = st.sampled_from(
    [None, "", "NaN", "1e3", "-1", "0", "7.0", "x", "2024-03-11T05:00:00.000", "2024-03-10T02:00:00"]
)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(DAILY.fields, TEXTS)), max_size=12))
def test_every_row_becomes_either_a_row_or_a_reject(rows):
    made = staged(*rows, data_set=DAILY)
    assert made.rows.height + made.rejects.height == len(rows)
    assert made.rejects["source_row"].is_unique().all()
    assert set(made.rejects["reason"]) <= set(RejectReason)
    assert made.rows["day"].is_unique().all()


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)), min_size=1, max_size=30))
def test_no_rider_is_lost(numbers):
    rows = [
        {**SOUND, ":id": f"row-{n}", "ridership": f"{riders}.0", "transfers": str(transfers)}
        for n, (riders, transfers) in enumerate(numbers)
    ]
    sums = staged(*rows).rows.select(pl.col("ridership", "transfers").sum()).row(0)
    assert sums == tuple(map(sum, zip(*numbers, strict=True)))


# --- pages ---


def test_a_page_has_the_same_rows_as_csv_and_as_json():
    others = {**SOUND, "ridership": None}
    csv = ",".join(f'"{name}"' for name in SOUND) + "\n"
    csv += "".join(",".join(f'"{value}"' if value else "" for value in row.values()) + "\n" for row in (SOUND, others))
    objects = [SOUND, {name: value for name, value in others.items() if value is not None}]
    by_csv, by_json = (
        rows_of(page, HOURLY_RIDERSHIP.fields, "page") for page in (csv.encode(), json.dumps(objects).encode())
    )
    assert by_csv.equals(by_json)
    assert by_csv["ridership"].to_list() == ["6.0", None]


@pytest.mark.parametrize(
    ("page", "saying"),
    [
        (b"<!DOCTYPE html><html>Sorry!</html>", "web page.*DOCTYPE"),
        (b'{"error": true, "message": "no"}', "error message"),
        (b"", "web page or an error message"),
        (b'":id","ridership"\n"row-1","6', "cut short"),
        (b'[{":id": "row-1"}', "cut short"),
        (b'":id","riders"\n"row-1","6"\n', r"ridership are missing.*has :id, riders.*change its declaration"),
    ],
)
def test_an_invalid_page_is_reported_with_its_name(page, saying):
    with pytest.raises(BadFile, match=rf"rows 1 to 5: .*{saying}"):
        rows_of(page, (":id", "ridership"), "rows 1 to 5")


@given(st.lists(st.text(min_size=1), max_size=20))
def test_unknown_values_are_counted_as_the_portal_wrote_them(values):
    rejects = staged(*({**SOUND, "payment_method": value} for value in ["omny", *values])).rejects
    unknown = unknown_values(rejects, HOURLY_RIDERSHIP)
    expected = Counter(value for value in values if value not in ("omny", "metrocard"))
    assert {value: rows for _, value, rows in unknown.rows()} == expected
    assert unknown["rows"].is_sorted(descending=True)
    assert set(unknown["column"]) <= {"payment_method"}


@pytest.mark.parametrize("empty", ["", '""'])
def test_an_empty_field_of_a_csv_page_is_null(empty):
    page = f'":id","riders"\n"row-1",{empty}\n'.encode()
    assert rows_of(page, [":id", "riders"], "page").rows() == [("row-1", None)]
