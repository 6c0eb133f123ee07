"""Prefetching: the next items are computed in threads while the current one is written and recorded.

Polars, hashing and unpacking release the GIL, so a run over many weeks keeps two cores busy.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

AT_MOST: Final = 2
"""Maximum number of items in progress besides the current one. Each takes memory; two keep two cores busy."""


def prefetch(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[Future[_Result]]:
    """Apply `work` to the items in threads. Yields a future per item, in order.

    Items are taken in the caller's thread, at most `AT_MOST` ahead of the current one. Each call runs in a copy of the
    caller's context. If the caller stops iterating, calls in progress are awaited and the others are cancelled.
    """
    in_progress: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(AT_MOST, thread_name_prefix="prefetch") as pool:
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
