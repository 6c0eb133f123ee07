"""Spans: what a piece of work took, and of what. They are sent if an endpoint is set, else they cost nothing.

Knows neither Dagster nor OpenTelemetry: which spans a run and its steps have is said in run_traces, how they are made
and sent in otlp.
"""

import logging
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from mta_pipeline.settings import SettingsError, read_telemetry
from mta_pipeline.telemetry.span_ids import SpanIds

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan

    from mta_pipeline.telemetry.otlp import Sender

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_one_at_a_time: Final = Lock()
_log = logging.getLogger(__name__)


@dataclass
class Span:
    """A piece of work under way. What is added to it, rows and bytes, counts for the spans around it, too."""

    otel: "OtelSpan"
    above: "Span | None" = None
    _sums: dict[str, int] = field(default_factory=dict)
    _lists: dict[str, dict[str, None]] = field(default_factory=dict)
    _processor_seconds: float = field(default_factory=time.process_time)

    @property
    def ids(self) -> SpanIds:
        """What it is known by in other processes."""
        context = self.otel.get_span_context()
        return SpanIds(context.trace_id, context.span_id)

    def add(self, **amounts: int) -> None:
        """Add to what the work has taken in or given: rows_in, rows_out, bytes."""
        with _one_at_a_time:
            for name, amount in amounts.items():
                self._sums[name] = self._sums.get(name, 0) + amount
        if self.above:
            self.above.add(**amounts)

    def collect(self, name: str, value: str) -> None:
        """Add to a list of what the work is about."""
        self._lists.setdefault(name, {})[value] = None

    def note(self, **attributes: str | int | Sequence[str]) -> None:
        """Say of what the work is."""
        self.otel.set_attributes({f"mta.{key}": value for key, value in attributes.items()})

    def fail(self, kind: str, message: str, stack: str = "") -> None:
        """Say that the work has failed, and of what."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        facts = {"exception.type": kind, "exception.message": message, "exception.stacktrace": stack}
        self.otel.add_event("exception", {key: fact for key, fact in facts.items() if fact})
        self.otel.set_status(Status(StatusCode.ERROR, f"{kind}: {message}"))

    def end(self) -> None:
        """The work is over: note what it took."""
        self.note(**self._sums, **{name: list(values) for name, values in self._lists.items()})
        self.otel.set_attributes(
            {
                "process.cpu.seconds": round(time.process_time() - self._processor_seconds, 6),
                # Of the process up to now, whatever made it so.
                "process.memory.peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
        self.otel.end()


class _Off(Span):
    """What there is instead of a span where none is wanted."""

    def __init__(self) -> None: ...

    def add(self, **amounts: int) -> None: ...

    def note(self, **attributes: Any) -> None: ...

    def fail(self, kind: str, message: str, stack: str = "") -> None: ...


_OFF: Final = _Off()
_current: ContextVar[Span | None] = ContextVar("span", default=None)


def current_span() -> Span:
    """The span that is under way; one that tells nothing where none is, as outside of a run."""
    return _current.get() or _OFF


@contextmanager
def span(name: str, *, inside_of: Span | None = None, **about: str) -> Iterator[Span]:
    """A span inside of another, or of the one that is under way; where none is, there is nothing to tell.

    Threads do not know what is under way where they were begun, unless they are given a copy of its context.
    """
    above = inside_of or current_span()
    if above is _OFF:
        yield _OFF
        return
    inside = begin(name, inside_of=above, about=about)
    token = _current.set(inside)
    try:
        yield inside
    except Exception as error:
        inside.fail(type(error).__qualname__, str(error))
        raise
    finally:
        _current.reset(token)
        inside.end()


def set_current(step: Span | None) -> None:
    """From now on, spans begin inside of this one."""
    _current.set(step)


def begin(
    name: str,
    *,
    inside_of: Span | SpanIds | None = None,
    ids: SpanIds | None = None,
    started_at: float | None = None,
    links: Sequence[SpanIds] = (),
    about: Mapping[str, str] = _NOTHING,
) -> Span:
    """Begin a span; whoever does so ends it. To be asked for only if spans are wanted.

    Args:
        name: what the work is.
        inside_of: the span around it, perhaps of another process; without one it is the first of its trace.
        ids: what it shall be known by; without them, chance chooses.
        started_at: when the work began, in seconds since 1970; now if not given.
        links: spans of other traces that have to do with it.
        about: of what the work is.
    """
    above, parent = (inside_of, inside_of.ids) if isinstance(inside_of, Span) else (None, inside_of)
    begun = Span(_sender().start(name, parent, ids, started_at, links), above)
    begun.note(**about)
    return begun


def flush() -> None:
    """Send what has ended, as before the process does."""
    if is_wanted():
        _sender().flush()


@cache
def is_wanted() -> bool:
    """Whether spans are sent: an endpoint is set, and what sends to it is installed."""
    try:
        if read_telemetry().endpoint is None:
            return False
        _sender()
    except SettingsError as error:
        _log.warning("There are no traces: %s", error)
        return False
    except ImportError:
        _log.warning("There are no traces: what sends them is not installed, mta-pipeline[telemetry]")
        return False
    return True


@cache
def _sender() -> "Sender":
    from mta_pipeline.telemetry.otlp import Sender  # noqa: PLC0415  # an extra, and slow to import

    return Sender()
