"""Creates spans with OpenTelemetry's SDK and exports them by OTLP over HTTP. Needs the extra `telemetry`.

A collector that does not answer delays a process by at most one second per minute. The spans of that minute are lost.
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

_TIMEOUT: Final = 1.0
"""Seconds after which an export fails."""
_PAUSE: Final = 60.0
"""Seconds without exports after a failed one."""
_DELAY: Final = 1_000
"""Milliseconds between exports of ended spans. A killed process loses the spans that it has not exported yet."""


class Sender:
    """Starts spans and exports them after they have ended."""

    def __init__(self) -> None:
        self._ids = _PresetIds()
        self._processor = BatchSpanProcessor(_PausingExporter(timeout=_TIMEOUT), schedule_delay_millis=_DELAY)
        attributes = Resource.create({"service.name": "mta_pipeline", "service.version": version("mta-pipeline")})
        provider = TracerProvider(resource=attributes, id_generator=self._ids)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("mta_pipeline")

    def start(
        self, name: str, parent: SpanIds | None, ids: SpanIds | None, started_at: float | None, links: Sequence[SpanIds]
    ) -> Span:
        """Start a span. The arguments are those of `tracing.begin`."""
        context = set_span_in_context(NonRecordingSpan(_remote_context(parent)), Context()) if parent else Context()
        self._ids.preset = ids
        try:
            return self._tracer.start_span(
                name,
                context,
                start_time=None if started_at is None else int(started_at * 1e9),
                links=[Link(_remote_context(link)) for link in links],
            )
        finally:
            self._ids.preset = None

    def flush(self) -> None:
        """Export all spans that have ended."""
        self._processor.force_flush()


class _PresetIds(RandomIdGenerator):
    """Gives a span the preset ids if there are any, otherwise random ids."""

    preset: SpanIds | None = None

    def generate_trace_id(self) -> int:
        return self.preset.trace if self.preset else super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self.preset.span if self.preset else super().generate_span_id()


class _PausingExporter(OTLPSpanExporter, SpanExporter):
    """An exporter that sends nothing for a while after a failed export."""

    _paused_until = 0.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if time.monotonic() < self._paused_until:
            return SpanExportResult.FAILURE
        result = super().export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._paused_until = time.monotonic() + _PAUSE
        return result


def _remote_context(ids: SpanIds) -> SpanContext:
    return SpanContext(ids.trace, ids.span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
