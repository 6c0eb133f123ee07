"""Validates a frame against the contract of its table: every violation is found and named, and valid frames pass."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.lake.parquet import to_parquet
from mta_pipeline.lake.validation import SAMPLES, violations
from mta_pipeline.schema import Column, Table
from mta_pipeline.turnstile.contract import TURNSTILE_READINGS, TURNSTILE_REJECTS, TURNSTILE_TRAFFIC
from mta_pipeline.turnstile.readings import stage
from mta_pipeline.turnstile.traffic import traffic
from mta_pipeline_tests.support.contracts import contracts
from mta_pipeline_tests.support.published_files import BOOTHS, legacy_file, legacy_group, legacy_line, moment

TABLE = Table(
    "lake",
    "gates",
    "gate × moment",
    "Gates.",
    (
        Column("gate", pl.String(), "Which."),
        Column("at", pl.Datetime("us"), "When.", nullable=True),
        Column("kind", pl.String(), "in or out.", nullable=True, one_of=("in", "out")),
        Column("people", pl.Int64(), "How many.", nullable=True, at_least=0),
        Column("share", pl.Float64(), "Of all.", nullable=True, at_least=0, at_most=1),
    ),
    key=("gate", "at"),
)
AT = moment("2024-01-06 00")


def gates(**columns: object) -> pl.DataFrame:
    """Three valid rows, with some columns replaced."""
    valid = {
        "gate": ["A", "A", "B"],
        "at": [AT, AT + dt.timedelta(hours=4), AT],
        "kind": ["in", "out", None],
        "people": [0, 7, None],
        "share": [0.0, 1.0, None],
    }
    return pl.DataFrame({**valid, **columns}, schema_overrides=None if columns else dict(TABLE.schema))


def described(frame: pl.DataFrame, table: Table = TABLE) -> list[tuple[tuple[str, ...], str, int]]:
    return [(found.columns, found.wrong, found.rows) for found in violations(frame, table)]


def test_a_valid_frame_has_no_violations():
    assert violations(gates(), TABLE) == []
    assert violations(gates().clear(), TABLE) == []


@pytest.mark.parametrize(
    ("frame", "columns", "wrong", "rows"),
    [
        (gates(gate=["A", None, None]), ("gate",), "must not be null", 2),
        (gates(kind=["in", "up", None]), ("kind",), "must be one of in, out", 1),
        (gates(people=[-1, 7, None]), ("people",), "must be at least 0", 1),
        (gates(share=[-0.1, 1.0, None]), ("share",), "must be at least 0", 1),
        (gates(share=[0.0, 1.1, None]), ("share",), "must be at most 1", 1),
        (gates(at=[AT, AT, AT]), ("gate", "at"), "must identify one row, but identifies several", 2),
        (gates(at=[None, None, AT]), ("gate", "at"), "must identify one row, but identifies several", 2),
        (gates(people=["0", "7", None]), ("people",), "is of type String, the contract has Int64", 3),
        (gates().cast({"people": pl.Int32}), ("people",), "is of type Int32, the contract has Int64", 3),
        (
            gates().with_columns(pl.col("at").dt.replace_time_zone("UTC")),
            ("at",),
            "is of type Datetime(time_unit='us', time_zone='UTC'), the contract has "
            "Datetime(time_unit='us', time_zone=None)",
            3,
        ),
    ],
)
def test_each_kind_of_violation_is_named_with_its_column_and_rows(frame, columns, wrong, rows):
    assert described(frame) == [(columns, wrong, rows)]


@pytest.mark.parametrize("names", [["gate", "at", "kind", "people"], ["at", "gate", "kind", "people", "share"]])
def test_missing_or_reordered_columns_are_a_violation(names):
    [found] = violations(gates().select(names), TABLE)
    assert found.columns == ()
    assert found.wrong == f"has the columns {names}, the contract has {list(TABLE.schema)}"


def test_nan_violates_every_limit():
    assert {columns for columns, _, _ in described(gates(share=[float("nan"), 1.0, None]))} == {("share",)}


def test_several_violations_are_all_found():
    found = described(gates(gate=["A", "A", None], at=[AT] * 3, people=[-1, -2, 3]))
    assert [columns for columns, _, _ in found] == [("gate",), ("people",), ("gate", "at")]


def test_a_violation_shows_up_to_five_rows_one_per_line():
    frame = pl.concat([gates(people=[-1, -2, -3])] * 3).with_columns(at=pl.lit(AT) + pl.duration(hours=pl.int_range(9)))
    [found] = violations(frame, TABLE)
    assert found.rows == 9
    assert found.samples == tuple(frame.head(SAMPLES).rows(named=True))
    first, *shown = str(found).splitlines()
    assert first == "gates.people must be at least 0: 9 rows"
    assert len(shown) == SAMPLES
    assert shown[0] == "  gate=A at=2024-01-06 00:00:00 kind=in people=-1 share=0.0"


def test_rows_with_the_same_key_are_shown_side_by_side():
    [found] = violations(gates(gate=["A", "B", "A"], at=[AT] * 3), TABLE)
    assert [(sample["gate"], sample["people"]) for sample in found.samples] == [("A", 0), ("A", None)]


@pytest.mark.parametrize(
    ("column", "written"),
    [
        (pl.Series(["A", None], dtype=pl.Categorical), pl.String()),
        (pl.Series(["A", None], dtype=pl.Enum(["B", "A"])), pl.String()),
        (pl.Series([AT, None], dtype=pl.Datetime("ns")), pl.Datetime("us")),
        (pl.Series([AT, None], dtype=pl.Datetime("ms")), pl.Datetime("us")),
        (pl.Series([AT.date(), None]), pl.Date()),
        (pl.Series([1, None], dtype=pl.Int32), pl.Int32()),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
)
def test_types_are_compared_as_they_are_written(column, written):
    frame = column.alias("value").to_frame()
    table = Table("lake", "values", "row", "Values.", (Column("value", written, "A value.", nullable=True),))
    assert violations(frame, table) == []
    assert pl.read_parquet(bytes(to_parquet(frame))).schema == table.schema


def test_categories_are_compared_as_text():
    frame = gates(kind=["up", "in", "out"]).cast({"kind": pl.Enum(["up", "out", "in"]), "gate": pl.Categorical})
    [found] = violations(frame, TABLE)
    assert (found.columns, found.rows) == (("kind",), 1)


@given(
    st.lists(st.tuples(st.sampled_from(["A", "B", None]), st.sampled_from([*range(4), None])), max_size=12),
    st.sampled_from([("gate", "at"), ("at", "gate"), ("at",), ("gate",)]),
    st.booleans(),
    st.booleans(),
)
def test_rows_with_the_same_key_are_found_in_any_order(
    rows: list[tuple[str | None, int | None]], key: Sequence[str], in_order: bool, nulls_last: bool
) -> None:
    columns = (
        Column("gate", pl.String(), "Which.", nullable=True),
        Column("at", pl.Int64(), "When.", nullable=True),
    )
    table = Table("lake", "gates", "gate × moment", "Gates.", columns, key)
    frame = pl.DataFrame(rows, schema=dict(table.schema), orient="row")
    if in_order:
        frame = frame.sort(key, nulls_last=nulls_last)
    counted = Counter(frame.select(key).rows())
    repeated = sum(n for n in counted.values() if n > 1)
    assert described(frame, table) == (
        [(key, "must identify one row, but identifies several", repeated)] if repeated else []
    )


@given(
    st.lists(st.integers(-2, 2) | st.none(), max_size=12), st.lists(st.sampled_from(["in", "up", None]), max_size=12)
)
def test_violations_are_counted_correctly(people: list[int | None], kinds: list[str | None]) -> None:
    size = min(len(people), len(kinds))
    columns = (
        Column("people", pl.Int64(), "How many.", at_least=0, at_most=1),
        Column("kind", pl.String(), "in or out.", nullable=True, one_of=("in", "out")),
    )
    table = Table("lake", "gates", "gate", "Gates.", columns)
    frame = pl.DataFrame({"people": people[:size], "kind": kinds[:size]}, schema=dict(table.schema))
    expected = {
        (("people",), "must not be null"): people[:size].count(None),
        (("people",), "must be at least 0"): sum(n is not None and n < 0 for n in people[:size]),
        (("people",), "must be at most 1"): people[:size].count(2),
        (("kind",), "must be one of in, out"): kinds[:size].count("up"),
    }
    found = violations(frame, table)
    assert {(one.columns, one.wrong): one.rows for one in found} == {rule: n for rule, n in expected.items() if n}
    for one in found:
        assert len(one.samples) == min(one.rows, SAMPLES)


def test_a_legacy_week_with_an_unknown_booth_and_twins_conforms_to_the_contract():
    groups = [legacy_group(f"2012-01-07 {hour:02}", hour, hour) for hour in (0, 4, 4, 8)]
    junk = legacy_line(legacy_group("2012-01-07 00", "x", 1))
    file = legacy_file(legacy_line(*groups), legacy_line(*groups[:2], booth="Z999,R999,00-00-00"), junk)
    staged = stage(file, "2012-01-07", BOOTHS)
    assert staged.rejects.height == 2
    assert violations(staged.readings, TURNSTILE_READINGS) == []
    assert violations(staged.rejects, TURNSTILE_REJECTS) == []
    assert violations(traffic(staged.readings, None, BOOTHS), TURNSTILE_TRAFFIC) == []


@pytest.mark.parametrize("table", contracts().values(), ids=lambda table: f"{table.layer}/{table.name}")
def test_keys_and_rules_fit_the_columns_of_their_table(table):
    assert {*table.key} <= {*table.schema}
    assert len({*table.key}) == len(table.key)
    assert all(column.dtype == pl.String for column in table.columns if column.one_of)
    limited = [column for column in table.columns if (column.at_least, column.at_most) != (None, None)]
    assert all(column.dtype.is_numeric() for column in limited)


def test_all_other_tables_than_these_have_a_key():
    without = {name for (_, name), table in contracts().items() if not table.key}
    assert without == {
        "turnstile_rejects",
        "hourly_ridership",
        "hourly_ridership_rejects",
        "daily_ridership_rejects",
        "subway_stations_rejects",
    }
