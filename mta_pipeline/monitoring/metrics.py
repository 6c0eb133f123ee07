"""Health as Prometheus metrics. Needs the extra `telemetry`.

Names and units follow the conventions of Prometheus. Each label has few values: never a week, a run or a message.
"""

import bisect
import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mta_pipeline.monitoring.health import ENDED, IN_PROGRESS, EndedRun, Health
from mta_pipeline.weeks import week_start

_BUCKETS: Final = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0)
"""Upper bounds of run durations in seconds, from a run over one week to a run over all weeks."""

_ASSET_RUNS: Final = "assets"


def registry(read: Callable[[], Health]) -> CollectorRegistry:
    """A registry of the metrics. Each scrape reads the figures again."""
    created = CollectorRegistry(auto_describe=False)
    created.register(_HealthCollector(read))
    return created


class _HealthCollector(Collector):
    def __init__(self, read: Callable[[], Health]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        """Declare no metrics in advance, so that registration reads nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the figures and yield all metrics."""
        health = self._read()
        yield InfoMetricFamily("mta_pipeline", "Version of mta_pipeline.", {"version": version("mta-pipeline")})
        yield from _runs(health)
        yield from _automation(health)
        yield from _weeks(health)
        yield from _checks(health)


def _runs(health: Health) -> Iterator[Metric]:
    now = GaugeMetricFamily("mta_runs_under_way", "Runs in progress, by status.", labels=["status"])
    counted = Counter(run.status for run in health.in_progress)
    for status in IN_PROGRESS:
        now.add_metric([status.value.lower()], counted[status])
    yield now
    oldest = GaugeMetricFamily(
        "mta_runs_oldest_timestamp_seconds", "Creation time of the oldest run with this status.", labels=["status"]
    )
    for status in counted:
        since = min(run.since for run in health.in_progress if run.status is status)
        oldest.add_metric([status.value.lower()], since.timestamp())
    yield oldest
    ended = CounterMetricFamily("mta_runs_ended", "Finished runs.", labels=["job", "status"])
    weeks = CounterMetricFamily("mta_run_weeks", "Weeks requested by finished runs.", labels=["job", "status"])
    seconds = HistogramMetricFamily("mta_run_duration_seconds", "Duration of finished runs.", labels=["job", "status"])
    # Export zeros, so that the first failure is visible as an increase.
    groups: dict[tuple[str, str], list[EndedRun]] = defaultdict(list)
    groups |= {(job, status.value.lower()): [] for job in {*map(_job, health.jobs), _ASSET_RUNS} for status in ENDED}
    for run in health.ended:
        groups[_job(run.job), run.status.value.lower()].append(run)
    for labels, runs in sorted(groups.items()):
        ended.add_metric(labels, len(runs))
        weeks.add_metric(labels, sum(run.weeks for run in runs))
        seconds.add_metric(labels, *_histogram([run.seconds for run in runs if run.seconds is not None]))
    yield from (ended, weeks, seconds)


def _histogram(seconds: list[float]) -> tuple[list[tuple[str, float]], float]:
    ordered = sorted(seconds)
    buckets = [(str(bound), float(bisect.bisect_right(ordered, bound))) for bound in _BUCKETS]
    return [*buckets, ("+Inf", float(len(ordered)))], sum(ordered)


def _job(name: str) -> str:
    """A job's name. All jobs that Dagster generates for runs of selected assets share one name."""
    return _ASSET_RUNS if name.startswith("__") else name


def _automation(health: Health) -> Iterator[Metric]:
    healthy = GaugeMetricFamily("mta_daemon_healthy", "Whether a Dagster daemon is healthy.", labels=["daemon"])
    beat = GaugeMetricFamily("mta_daemon_heartbeat_timestamp_seconds", "Time of the last heartbeat.", labels=["daemon"])
    for daemon in health.daemons:
        healthy.add_metric([daemon.name], daemon.is_healthy)
        if daemon.heartbeat:
            beat.add_metric([daemon.name], daemon.heartbeat.timestamp())
    yield from (healthy, beat)
    names = ["kind", "name"]
    running = GaugeMetricFamily("mta_automation_running", "Whether a sensor or schedule is enabled.", labels=names)
    failing = GaugeMetricFamily("mta_tick_failures_in_a_row", "Number of consecutive failed ticks.", labels=names)
    last = GaugeMetricFamily(
        "mta_tick_timestamp_seconds", "Time of the last tick with this status.", labels=[*names, "status"]
    )
    for ticks in health.ticks:
        running.add_metric([ticks.kind, ticks.name], ticks.is_running)
        failing.add_metric([ticks.kind, ticks.name], ticks.failures_in_a_row)
        for status, at in ticks.last.items():
            last.add_metric([ticks.kind, ticks.name, status], at.timestamp())
    yield from (running, failing, last)
    made = GaugeMetricFamily("mta_table_made_timestamp_seconds", "Time of the last materialization.", labels=["table"])
    for table, at in sorted(health.made_at.items()):
        made.add_metric([table], at.timestamp())
    yield made


def _weeks(health: Health) -> Iterator[Metric]:
    weeks = health.weeks
    states = {
        "on_offer": weeks.available,
        "landed": weeks.landed,
        "complete": weeks.complete,
        "unfinished": weeks.unfinished,
        "missing": weeks.missing,
    }
    counts = GaugeMetricFamily("mta_weeks", "Number of weeks, by state.", labels=["state"])
    newest = GaugeMetricFamily(
        "mta_newest_week_timestamp_seconds", "First day of the newest week, by state.", labels=["state"]
    )
    for state, found in states.items():
        counts.add_metric([state], len(found))
        if found:
            newest.add_metric([state], dt.datetime.combine(week_start(found[-1]), dt.time(), dt.UTC).timestamp())
    yield from (counts, newest)
    for name, value in health.newest.items():
        yield GaugeMetricFamily(f"mta_newest_week_{name}", f"{name.title()} of the newest complete week.", value=value)
    rejects = GaugeMetricFamily(
        "mta_newest_week_rejects", "Rejected lines of the newest complete week, by reason.", labels=["reason"]
    )
    for reason, count in sorted(health.newest_rejects.items()):
        rejects.add_metric([reason], count)
    yield rejects


def _checks(health: Health) -> Iterator[Metric]:
    results = GaugeMetricFamily(
        "mta_check_results",
        "Latest results of each check, one per week for weekly checks.",
        labels=["asset", "check", "result"],
    )
    for key, counts in sorted(health.checks.items(), key=lambda item: item[0].to_user_string()):
        for result, count in counts._asdict().items():
            results.add_metric([key.asset_key.to_user_string(), key.name, result], count)
    yield results
