"""Two lakes are compared by rows: what only one of them has, and what has changed."""

import datetime as dt
from collections import Counter
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.cli import main
from mta_pipeline.cli.exit_codes import ExitCode
from mta_pipeline.lake.comparison import SECOND, FrameDifference, Options, compare_frames, compare_parts, parts_of
from mta_pipeline.lake.parquet import to_parquet
from mta_pipeline.lake.storage import Part, part_path, write_atomically
from mta_pipeline.marts.contract import SYSTEM_DAILY
from mta_pipeline.turnstile.contract import COMPLEX_DAILY, TURNSTILE_REJECTS
from mta_pipeline_tests.support.small_lake import SmallLake, interval

FIRST, SECOND_WEEK = "2024-01-06", "2024-01-13"
KEY = ("k", "l")
SCHEMA = {"k": pl.Int64, "l": pl.String, "x": pl.Float64, "y": pl.Int64}

cells = st.tuples(st.none() | st.floats(allow_nan=True, width=16), st.none() | st.integers(0, 2))
tables = st.dictionaries(st.tuples(st.none() | st.integers(0, 3), st.sampled_from(["a", None])), cells)


def frame(rows: object, schema: object = None) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema or SCHEMA, orient="row")


def of(table: dict) -> pl.DataFrame:
    return frame([(*key, *values) for key, values in table.items()])


def same(one: object, other: object) -> bool:
    return one == other or (one != one and other != other)  # noqa: PLR0124  # NaN is equal to NaN


def sizes(found: FrameDifference) -> tuple[int, int, int]:
    return len(found.only_first), len(found.only_second), len(found.changed)


# --- frames ---


@given(tables, tables, st.randoms())
def test_rows_with_a_key_are_only_in_one_frame_changed_or_equal_in_any_order(first, second, random):
    shuffled = of(second).sample(fraction=1, shuffle=True, seed=random.randrange(1000))
    found = compare_frames(of(first), shuffled, KEY)
    changed = {key for key in first.keys() & second.keys() if not all(map(same, first[key], second[key]))}
    assert set(found.only_first.select(KEY).iter_rows()) == first.keys() - second.keys()
    assert set(found.only_second.select(KEY).iter_rows()) == second.keys() - first.keys()
    assert set(found.changed.select(KEY).iter_rows()) == changed
    assert sizes(found) == (len(first.keys() - second.keys()), len(second.keys() - first.keys()), len(changed))


rows = st.lists(st.tuples(st.none() | st.integers(0, 2), st.sampled_from(["a", "b", None])))


@given(rows, rows)
def test_rows_without_a_key_count_as_often_as_they_occur(first, second):
    schema = {"k": pl.Int64, "l": pl.String}
    found = compare_frames(frame(first, schema), frame(second, schema))
    assert Counter(found.only_first.iter_rows()) == Counter(first) - Counter(second)
    assert Counter(found.only_second.iter_rows()) == Counter(second) - Counter(first)
    assert not len(found.changed)


def test_changed_rows_show_the_key_and_both_values_of_the_columns_that_differ():
    found = compare_frames(
        frame([(1, "a", 0.5, 1), (2, "b", 0.5, 2)]), frame([(2, "b", 0.5, 3), (1, "a", 0.5, 1)]), KEY
    )
    assert found.changed.to_dicts() == [{"k": 2, "l": "b", "y": 2, f"y{SECOND}": 3}]


def test_floats_are_compared_exactly_unless_a_tolerance_is_given():
    first, second = frame([(1, "a", 100.0, 1), (2, "a", None, 1)]), frame([(1, "a", 100.5, 1), (2, "a", 1.0, 1)])
    assert sizes(compare_frames(first, second, KEY)) == (0, 0, 2)
    assert sizes(compare_frames(first, second, KEY, Options(tolerance=0.01))) == (0, 0, 1)


def test_a_key_that_does_not_identify_rows_is_not_used():
    first, second = frame([(1, "a", 0.5, 1), (1, "a", 0.5, 2)]), frame([(1, "a", 0.5, 2), (1, "a", 0.5, 3)])
    assert sizes(compare_frames(first, second, KEY)) == (1, 1, 0)


def test_columns_of_one_frame_only_and_other_types_are_named_and_the_other_columns_are_compared():
    first = frame([(1, "a", 0.5, 1)]).with_columns(here=1)
    second = frame([(1, "a", 0.5, 1)]).with_columns(pl.col("y").cast(pl.Int32), there=1)
    found = compare_frames(first, second, KEY)
    assert sizes(found) == (0, 0, 0)
    assert found.columns == ["here only in the first", "there only in the second", "y is Int64 and Int32"]


def test_ignored_columns_are_not_compared_even_if_they_are_part_of_the_key():
    first, second = frame([(1, "a", 0.5, 1)]), frame([(9, "a", 0.5, 1)])
    assert sizes(compare_frames(first, second, KEY, Options(ignore=["k"]))) == (0, 0, 0)


# --- lakes ---


@pytest.fixture
def lakes(tmp_path: Path) -> tuple[SmallLake, SmallLake]:
    """Two lakes with the same two weeks, a mart and a table that no contract has."""
    made = tuple(SmallLake(tmp_path / name) for name in ("one", "other"))
    for lake in made:
        for week in (FIRST, SECOND_WEEK):
            at = dt.datetime.fromisoformat(week)
            hours = [f"{at + dt.timedelta(hours=hour):%Y-%m-%d %H}" for hour in (0, 4, 8)]
            lake.week(week, *(interval(*pair, 1, 1) for pair in pairwise(hours)), rejects=["duplicate"])
        lake.put(SYSTEM_DAILY, pl.DataFrame(schema=dict(SYSTEM_DAILY.schema)))
        write_atomically(part_path(str(lake.root), "lake", "own"), to_parquet(pl.DataFrame({"n": [1, 2]})))
    return made


def compare(lakes: tuple[SmallLake, SmallLake], *options: str) -> Result:
    return command(*(str(lake.root) for lake in lakes), *options)


def command(*words: str) -> Result:
    return CliRunner().invoke(main, ["compare", *words], env={"COLUMNS": "200"})


def changed(lake: SmallLake, table, week: str, **columns: pl.Expr) -> None:
    lake.put(table, pl.read_parquet(lake.path(table, week)).with_columns(**columns), week)


def test_equal_lakes_have_no_differences_whatever_the_order_of_rows_and_line_numbers(lakes):
    changed(lakes[1], TURNSTILE_REJECTS, FIRST, source_line=pl.col("source_line") + 7)
    own = part_path(str(lakes[1].root), "lake", "own")
    write_atomically(own, to_parquet(pl.DataFrame({"n": [2, 1]})))
    result = compare(lakes)
    assert result.output == "No differences in 12 files of 8 tables and 2 weeks.\n"
    assert result.exit_code == ExitCode.SUCCESS


def test_parts_of_all_layers_are_compared_but_not_the_raw_layer(lakes):
    (lakes[0].root / "raw" / "turnstile_file" / f"week={FIRST}").mkdir(parents=True)
    found = list(parts_of(*(str(lake.root) for lake in lakes)))
    assert {part.layer for part in found} == {"staged", "lake", "marts"}
    assert {Part("lake", "own", None), Part("lake", "complex_daily", FIRST)} <= {*found}


def test_differences_are_shown_per_table_and_week_with_sample_rows(lakes):
    changed(lakes[1], COMPLEX_DAILY, FIRST, entries=pl.col("entries") + 1)
    lakes[1].path(TURNSTILE_REJECTS, SECOND_WEEK).unlink()
    result = compare(lakes, "--rows", "1")
    assert result.exit_code == ExitCode.PROBLEMS
    lines = [line.split() for line in result.output.splitlines()]
    assert ["lake/complex_daily", FIRST, "1", "1", "1", "entries"] in lines
    assert ["staged/turnstile_rejects", SECOND_WEEK, "1", "missing"] in lines
    assert ["613", FIRST, "2", "3"] in lines
    assert "2 of 12 files of 8 tables and 2 weeks differ. In one lake only: 1." in result.output
    assert "lake/complex_hourly" not in result.output


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--ignore", "complex_daily.entries"), ExitCode.SUCCESS),
        (("--ignore", "entries"), ExitCode.SUCCESS),
        (("--ignore", "own.entries"), ExitCode.PROBLEMS),
        (("--tables", "own", "--tables", "complex_hourly"), ExitCode.SUCCESS),
        (("--tables", "complex_daily"), ExitCode.PROBLEMS),
        (("--weeks", SECOND_WEEK), ExitCode.SUCCESS),
        (("--weeks", f"{FIRST}...{SECOND_WEEK}"), ExitCode.PROBLEMS),
        (("--tables", "no_such_table"), ExitCode.USAGE),
    ],
)
def test_options_limit_what_is_compared(lakes, options, code):
    changed(lakes[1], COMPLEX_DAILY, FIRST, entries=pl.col("entries") + 1)
    assert compare(lakes, *options).exit_code == code


def test_a_folder_without_tables_is_no_lake(lakes, tmp_path):
    (tmp_path / "empty").mkdir()
    result = command(str(lakes[0].root), str(tmp_path / "empty"))
    assert result.exit_code == ExitCode.UNUSABLE_INPUT
    assert "is not a lake" in result.output


def test_only_samples_of_the_differing_rows_are_kept(lakes):
    changed(lakes[1], COMPLEX_DAILY, FIRST, entries=pl.col("entries") + 1)
    roots = [str(lake.root) for lake in lakes]
    for samples in (0, 1):
        found = [part for part in compare_parts(*roots, parts_of(*roots), {}, Options(samples=samples)) if part]
        assert [(part.only_first, part.only_second) for part in found] == [(1, 1)]
        assert {len(rows) for rows in found[0].samples.values()} == {samples}
