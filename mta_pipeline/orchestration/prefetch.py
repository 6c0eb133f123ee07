"""Working ahead: what comes next is computed in threads while its predecessor is written and recorded.

Polars, hashing and unpacking leave the interpreter to others, so a run over many weeks keeps two cores busy. What is
computed does not belong here.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

AT_MOST: Final = 2
"""How many are under way beside the one in hand: memory grows with each, and two keep two cores busy."""


def prefetch(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[Future[_Result]]:
    """Work on the items: a future for each, in order, while those after the one in hand are begun already.

    Items are taken in the caller's thread, at most `AT_MOST` before their turn, and context variables are as there.
    Whoever stops listening waits for what is under way.
    """
    in_progress: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(AT_MOST, thread_name_prefix="ahead") as pool:
        try:
            for item in items:
                in_progress.append(pool.submit(copy_context().run, work, item))
                if len(in_progress) > AT_MOST:
                    yield in_progress.popleft()
            while in_progress:
                yield in_progress.popleft()
        finally:
            for future in in_progress:
                future.cancel()
