"""The sample's portal with faults on demand, and a record of the requests that it received."""

from collections import Counter
from collections.abc import Callable, Mapping

import polars as pl

from mta_pipeline.sample.portal import Answer, Portal

_KINDS = {"/api/views/": "view", "count%28": "count", "min%28": "days", "offset=": "page"}
"""A part of the address of each kind of request."""

Fault = Callable[[str, Mapping[str, str]], Answer | None]
"""Returns a portal's response for a request's address and headers, or None to let the portal respond normally."""


class FaultyPortal(Portal):
    """The sample's portal with faults that apply before it responds."""

    def __init__(self, data_sets: Mapping[str, pl.DataFrame]) -> None:
        super().__init__(data_sets)
        self.faults: list[Fault] = []
        self.headers: list[Mapping[str, str]] = []

    def answer(self, url: str, headers: Mapping[str, str]) -> Answer:
        self.headers.append(headers)
        for fault in self.faults:
            if (answer := fault(url, headers)) is not None:
                self.asked.append(url)
                return answer
        return super().answer(url, headers)

    def requests(self) -> Counter[str]:
        """Return the number of requests of each kind: view, count, days or page."""
        return Counter(next(kind for text, kind in _KINDS.items() if text in url) for url in self.asked)


def once(answer: Answer, when: str = "offset=500") -> Fault:
    left = [answer]
    return lambda url, _: left.pop() if when in url and left else None


def always(answer: Answer, when: str = "") -> Fault:
    return lambda url, _: answer if when in url else None
