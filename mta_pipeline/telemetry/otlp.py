"""OpenTelemetry's SDK, put together: how spans are made, and sent by OTLP over HTTP. Needs the extra `telemetry`.

A collector that does not answer costs a process a second a minute at most, and the spans of that minute.
"""

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, TraceFlags, set_span_in_context

from mta_pipeline.telemetry.span_ids import SpanIds

_PATIENCE: Final = 1.0
"""Seconds that an export may take."""
_PAUSE: Final = 60.0
"""Seconds without exports after one that failed."""
_DELAY: Final = 1_000
"""Milliseconds that a span which has ended waits for others. What a killed process has not sent is lost."""


class Sender:
    """Makes spans, and sends them once they have ended."""

    def __init__(self) -> None:
        self._chosen = _ChosenIds()
        self._processor = BatchSpanProcessor(_PatientOnce(timeout=_PATIENCE), schedule_delay_millis=_DELAY)
        about = Resource.create({"service.name": "mta_pipeline", "service.version": version("mta-pipeline")})
        provider = TracerProvider(resource=about, id_generator=self._chosen)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("mta_pipeline")

    def start(
        self, name: str, parent: SpanIds | None, ids: SpanIds | None, started_at: float | None, links: Sequence[SpanIds]
    ) -> Span:
        """Start a span; see tracing.begin."""
        context = set_span_in_context(NonRecordingSpan(_elsewhere(parent)), Context()) if parent else Context()
        self._chosen.ids = ids
        try:
            return self._tracer.start_span(
                name,
                context,
                start_time=None if started_at is None else int(started_at * 1e9),
                links=[Link(_elsewhere(link)) for link in links],
            )
        finally:
            self._chosen.ids = None

    def flush(self) -> None:
        """Send what has ended."""
        self._processor.force_flush()


class _ChosenIds(RandomIdGenerator):
    """Chance chooses ids, unless somebody has."""

    ids: SpanIds | None = None

    def generate_trace_id(self) -> int:
        return self.ids.trace if self.ids else super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self.ids.span if self.ids else super().generate_span_id()


class _PatientOnce(OTLPSpanExporter, SpanExporter):
    """An exporter that does not ask again for a while after it got no answer."""

    _silent_until = 0.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if time.monotonic() < self._silent_until:
            return SpanExportResult.FAILURE
        result = super().export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._silent_until = time.monotonic() + _PAUSE
        return result


def _elsewhere(ids: SpanIds) -> SpanContext:
    return SpanContext(ids.trace, ids.span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
