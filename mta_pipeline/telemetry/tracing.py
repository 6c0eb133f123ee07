"""Spans: name, attributes and cost of a piece of work. Without a configured endpoint they do nothing.

This module depends neither on Dagster nor, at import, on OpenTelemetry. `run_traces` defines the spans of runs and
steps. `otlp` creates and exports spans.
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
_sums_lock: Final = Lock()
_log = logging.getLogger(__name__)


@dataclass
class Span:
    """A span in progress. Amounts added to it (rows, bytes) are also added to its parent spans."""

    otel: "OtelSpan"
    above: "Span | None" = None
    _sums: dict[str, int] = field(default_factory=dict)
    _lists: dict[str, dict[str, None]] = field(default_factory=dict)
    _processor_seconds: float = field(default_factory=time.process_time)

    @property
    def ids(self) -> SpanIds:
        """The ids that identify the span in other processes."""
        context = self.otel.get_span_context()
        return SpanIds(context.trace_id, context.span_id)

    def add(self, **amounts: int) -> None:
        """Add to the amounts that the work read or wrote: rows_in, rows_out, bytes."""
        with _sums_lock:
            for name, amount in amounts.items():
                self._sums[name] = self._sums.get(name, 0) + amount
        if self.above:
            self.above.add(**amounts)

    def collect(self, name: str, value: str) -> None:
        """Add a value to a list attribute. Duplicates are ignored."""
        self._lists.setdefault(name, {})[value] = None

    def note(self, **attributes: str | int | Sequence[str]) -> None:
        """Set attributes of the span. Their names get the prefix `mta.`."""
        self.otel.set_attributes({f"mta.{key}": value for key, value in attributes.items()})

    def fail(self, kind: str, message: str, stack: str = "") -> None:
        """Mark the span as failed, with the error as an exception event."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        attributes = {"exception.type": kind, "exception.message": message, "exception.stacktrace": stack}
        self.otel.add_event("exception", {key: value for key, value in attributes.items() if value})
        self.otel.set_status(Status(StatusCode.ERROR, f"{kind}: {message}"))

    def end(self) -> None:
        """End the span and set its amounts, CPU seconds and peak memory."""
        self.note(**self._sums, **{name: list(values) for name, values in self._lists.items()})
        self.otel.set_attributes(
            {
                "process.cpu.seconds": round(time.process_time() - self._processor_seconds, 6),
                # The peak of the whole process so far, not only of this span.
                "process.memory.peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
        self.otel.end()


class _Off(Span):
    """A span that does nothing. It replaces real spans where tracing is off."""

    def __init__(self) -> None: ...

    def add(self, **amounts: int) -> None: ...

    def note(self, **attributes: Any) -> None: ...

    def fail(self, kind: str, message: str, stack: str = "") -> None: ...


_OFF: Final = _Off()
_current: ContextVar[Span | None] = ContextVar("span", default=None)


def current_span() -> Span:
    """The span in progress. Outside of a run, a span that does nothing."""
    return _current.get() or _OFF


@contextmanager
def span(name: str, *, inside_of: Span | None = None, **about: str) -> Iterator[Span]:
    """A child span of `inside_of`, or of the current span. Without a current span it does nothing.

    A new thread has no current span unless it runs in a copy of the context of the thread that started it.

    Args:
        name: the name of the span.
        inside_of: the parent; the current span if not given.
        **about: attributes of the span.
    """
    parent = inside_of or current_span()
    if parent is _OFF:
        yield _OFF
        return
    child = begin(name, inside_of=parent, about=about)
    token = _current.set(child)
    try:
        yield child
    except Exception as error:
        child.fail(type(error).__qualname__, str(error))
        raise
    finally:
        _current.reset(token)
        child.end()


def set_current(step: Span | None) -> None:
    """Make this span the parent of spans that start from now on; None for no parent."""
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
    """Start a span. The caller must end it, and must call this only if `is_wanted()`.

    Args:
        name: the name of the span.
        inside_of: the parent, possibly of another process. Without a parent, the span is the root of its trace.
        ids: the trace id and span id; random if not given.
        started_at: the start, in seconds since 1970; now if not given.
        links: related spans of other traces.
        about: attributes of the span.
    """
    above, parent = (inside_of, inside_of.ids) if isinstance(inside_of, Span) else (None, inside_of)
    started = Span(_sender().start(name, parent, ids, started_at, links), above)
    started.note(**about)
    return started


def flush() -> None:
    """Export all ended spans now, for example before the process exits."""
    if is_wanted():
        _sender().flush()


@cache
def is_wanted() -> bool:
    """Whether spans are exported: an endpoint is set and the extra `telemetry` is installed."""
    try:
        if read_telemetry().endpoint is None:
            return False
        _sender()
    except SettingsError as error:
        _log.warning("Traces are off: %s", error)
        return False
    except ImportError:
        _log.warning("Traces are off: the OTLP exporter is missing. Install mta-pipeline[telemetry].")
        return False
    return True


@cache
def _sender() -> "Sender":
    from mta_pipeline.telemetry.otlp import Sender  # noqa: PLC0415  # an extra, and slow to import

    return Sender()
