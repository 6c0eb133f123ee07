"""What is worked on ahead comes in order, whole, and no earlier than need be."""

from threading import Event

import pytest

from mta_pipeline.orchestration.prefetch import AT_MOST, prefetch


def test_everything_comes_in_the_order_of_the_items():
    assert [done.result() for done in prefetch(lambda n: n * n, range(9))] == [n * n for n in range(9)]
    assert list(prefetch(str, [])) == []


def test_while_one_is_in_hand_the_next_are_under_way_and_no_more_than_that():
    begun = [Event() for _ in range(9)]
    results = prefetch(lambda n: begun[n].set(), range(9))
    next(results).result()
    assert all(event.wait(10) for event in begun[: AT_MOST + 1])
    assert not any(event.is_set() for event in begun[AT_MOST + 1 :])


def test_what_fails_fails_in_its_turn_and_the_others_go_on():
    first, bad, last = prefetch(lambda n: 1 / n, [1, 0, 2])
    assert (first.result(), last.result()) == (1, 0.5)
    with pytest.raises(ZeroDivisionError):
        bad.result()


def test_whoever_stops_listening_leaves_the_rest_undone():
    begun: list[int] = []
    for _ in prefetch(begun.append, range(9)):
        break
    assert len(begun) <= AT_MOST + 1
