"""The share of rejects, and the sentence that people read about it."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.orchestration.checks.rejects import reject_share


def test_reasons_and_unknown_values_are_named_the_most_frequent_first():
    unknown = pl.DataFrame(
        [("payment_method", "contactless", 1_000), ("transit_mode", "ferry", 25)],
        schema=["column", "value", "rows"],
        orient="row",
    )
    share = reject_share({"bad_number": 2, "unknown_value": 1_025}, 207, unknown_values=unknown)
    assert share.shown("rows") == (
        "83.2 % of 1,234 rows rejected: unknown_value 1,025 "
        "(payment_method: 'contactless' 1,000; transit_mode: 'ferry' 25), bad_number 2"
    )


def test_of_many_long_values_the_beginnings_of_some_are_shown():
    values = pl.DataFrame({"column": "kind", "value": [f"{n}{'x' * 99}" for n in range(7)], "rows": 1})
    shown = reject_share({"unknown_value": 7}, 0, unknown_values=values).shown("rows")
    assert shown.count("…' 1") == 5
    assert shown.endswith(" and 2 more)")
    assert len(shown) < 350


def test_nothing_at_all_is_no_reject():
    assert reject_share({}, 0).shown("rows") == "0.0 % of 0 rows rejected"
    assert reject_share({}, 0).is_at_most(0)


@given(rejects=st.integers(2, 1_000), rows=st.integers(0, 1_000), harmless=st.integers(0, 1_000))
def test_the_limit_is_a_share_of_all_rows_and_harmless_rejects_count_as_rows(rejects, rows, harmless):
    share = reject_share({"bad_number": rejects, "duplicate": harmless}, rows, harmless=("duplicate",))
    total = rejects + rows + harmless
    assert share.is_at_most((rejects + 0.5) / total)
    assert not share.is_at_most((rejects - 0.5) / total)


@given(rows=st.integers(0, 100))
def test_a_single_reject_fails_only_if_there_is_nothing_else(rows):
    assert reject_share({"bad_number": 1}, rows).is_at_most(0) == (rows > 0)
