"""Ids that identify spans across the processes of a run."""

from typing import NamedTuple


class SpanIds(NamedTuple):
    """The trace id and span id of a span. They can be known before the span starts."""

    trace: int
    span: int

    @property
    def traceparent(self) -> str:
        """The ids in the format of the W3C header `traceparent`."""
        return f"00-{self.trace:032x}-{self.span:016x}-01"
