"""Prefetched results come in order, and not more than a few are computed ahead."""

from threading import Event

import pytest

from mta_pipeline.orchestration.prefetch import AT_MOST, prefetch


def test_results_come_in_the_order_of_the_items():
    assert [done.result() for done in prefetch(lambda n: n * n, range(9))] == [n * n for n in range(9)]
    assert list(prefetch(str, [])) == []


def test_while_one_result_is_used_only_the_next_ones_are_computed():
    started = [Event() for _ in range(9)]
    results = prefetch(lambda n: started[n].set(), range(9))
    next(results).result()
    assert all(event.wait(10) for event in started[: AT_MOST + 1])
    assert not any(event.is_set() for event in started[AT_MOST + 1 :])


def test_a_failure_is_raised_at_its_place_and_the_others_continue():
    first, bad, last = prefetch(lambda n: 1 / n, [1, 0, 2])
    assert (first.result(), last.result()) == (1, 0.5)
    with pytest.raises(ZeroDivisionError):
        bad.result()


def test_items_after_the_end_of_iteration_are_not_processed():
    started: list[int] = []
    for _ in prefetch(started.append, range(9)):
        break
    assert len(started) <= AT_MOST + 1
