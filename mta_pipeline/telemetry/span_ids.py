"""The ids by which processes of one run know each other's spans."""

from typing import NamedTuple


class SpanIds(NamedTuple):
    """What a span is known by in other processes, perhaps before it has begun."""

    trace: int
    span: int

    @property
    def traceparent(self) -> str:
        """The same as W3C's header of that name has it."""
        return f"00-{self.trace:032x}-{self.span:016x}-01"
