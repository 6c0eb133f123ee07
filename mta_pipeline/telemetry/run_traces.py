"""The trace of a run: a span for the run, one for each step, and below these the spans that the code starts.

The trace id is the run id, and the id of the run's span is derived from it, so the processes of a run need not
exchange ids. Dagster's events say when a run or step starts and ends. `RunTraces` receives them as a log handler, which
`dagster.yaml` configures for every process of a run. `tracing` creates and exports the spans.
"""

import hashlib
import logging
import os
import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mta_pipeline.telemetry import tracing
from mta_pipeline.telemetry.span_ids import SpanIds
from mta_pipeline.telemetry.tracing import Span

if TYPE_CHECKING:
    import dagster as dg
    from dagster_shared.error import SerializableErrorInfo

TRACEPARENT: Final = "traceparent"
"""Run tag: the span of another trace that requested the run, in the format of the W3C header `traceparent`."""

_PARENT_RUN: Final = "dagster/parent_run_id"
_PARTITION: Final = "dagster/partition"
_HEADER: Final = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")
_RANGE: Final = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

_HANDLER: Final = {"class": "mta_pipeline.telemetry.run_traces.RunTraces"}
LOG_SETTINGS: Final = {
    "python_logs": {
        "managed_python_loggers": ["mta_pipeline"],
        "dagster_handler_config": {"handlers": {"traces": _HANDLER}},
    }
}
"""Settings of an instance without a `dagster.yaml`: they configure the same loggers and handler."""


def run_ids(run_id: str) -> SpanIds:
    """The trace id and span id of a run's span, both derived from the run id."""
    return SpanIds(uuid.UUID(run_id).int, int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8]))


class RunTraces(logging.Handler):
    """A handler of Dagster's log that starts and ends the spans of runs and steps in this process."""

    # Class variables, because Dagster creates several handlers per run.
    _runs: ClassVar[dict[str, Span]] = {}
    _steps: ClassVar[dict[tuple[str, str], Span]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Handle a record of Dagster's log. Records without an event are ignored."""
        event: dg.DagsterEvent | None = getattr(record, "dagster_event", None)
        if event is None or not tracing.is_wanted():
            return
        try:
            self._handle(event, record.dagster_meta)  # type: ignore[attr-defined]  # Dagster's records have it
        except Exception:
            self.handleError(record)

    def _handle(self, event: "dg.DagsterEvent", meta: Mapping[str, Any]) -> None:
        run_id, step = meta["run_id"], (meta["run_id"], event.step_key or "")
        match event.event_type_value:
            case "PIPELINE_START":
                self._runs[run_id] = _run_span(run_id, meta["job_name"], meta["job_tags"])
            case "STEP_START":
                attributes = _attributes(run_id, meta["job_tags"])
                started = tracing.begin(event.step_key or "", inside_of=run_ids(run_id), about=attributes)
                self._steps[step] = started
                tracing.set_current(started)
                # For child processes of the step.
                os.environ["TRACEPARENT"] = started.ids.traceparent
            case "ASSET_MATERIALIZATION" if step in self._steps:
                self._steps[step].collect("assets", event.asset_key.to_user_string() if event.asset_key else "")
            case "STEP_SUCCESS" | "STEP_SKIPPED":
                self._end(self._steps, step)
            case "STEP_FAILURE":
                self._end(self._steps, step, event.step_failure_data.error)
            case "STEP_UP_FOR_RETRY":
                self._end(self._steps, step, event.step_retry_data.error)
            case "PIPELINE_SUCCESS":
                self._end(self._runs, run_id)
            case "PIPELINE_FAILURE":
                data = event.job_failure_data
                failed = data.first_step_failure_event and data.first_step_failure_event.step_failure_data.error
                self._end(self._runs, run_id, data.error or failed, event.message or "failed")
            case "PIPELINE_CANCELED":
                self._end(self._runs, run_id, None, "canceled")

    @staticmethod
    def _end(in_progress: dict[Any, Span], key: Any, error: Any = None, message: str = "") -> None:
        ended = in_progress.pop(key, None)
        if ended is None:
            return
        if error is not None:
            cause = _root_cause(error)
            ended.fail(cause.cls_name or "Error", cause.message.strip(), error.to_string())
        elif message:
            ended.fail("Run", message)
        ended.end()
        tracing.set_current(None)
        os.environ.pop("TRACEPARENT", None)
        tracing.flush()


def tell_of_dead_run(instance: "dg.DagsterInstance", run: "dg.DagsterRun", reason: str) -> None:
    """Export the span of a run whose process died. The process that detects this calls it."""
    record = instance.get_run_record_by_id(run.run_id)
    if record is None or record.start_time is None or not tracing.is_wanted():
        return
    dead = _run_span(run.run_id, run.job_name, run.tags, started_at=record.start_time)
    dead.fail("ProcessDied", reason)
    dead.otel.end()  # The CPU time and memory of the dead process are unknown.
    tracing.flush()


def _run_span(run_id: str, job: str, tags: Mapping[str, str], started_at: float | None = None) -> Span:
    links = [run_ids(tags[_PARENT_RUN])] if _PARENT_RUN in tags else []
    if requested_by := _read_traceparent(tags.get(TRACEPARENT, "")):
        links.append(requested_by)
    attributes = _attributes(run_id, tags)
    return tracing.begin(job, ids=run_ids(run_id), links=links, started_at=started_at, about=attributes)


def _attributes(run_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    attributes = {"run_id": run_id}
    if _PARTITION in tags:
        attributes["partition"] = tags[_PARTITION]
    elif _RANGE[0] in tags:
        attributes["partition"] = "...".join(tags[end] for end in _RANGE)
    return attributes


def _read_traceparent(header: str) -> SpanIds | None:
    match = _HEADER.fullmatch(header)
    return match and SpanIds(int(match["trace"], 16), int(match["span"], 16))


def _root_cause(error: "SerializableErrorInfo") -> "SerializableErrorInfo":
    """The innermost cause of an error. The outer errors only say that a step failed."""
    while error.cause is not None:
        error = error.cause
    return error
