"""Drives the automation of a project tick by tick: feed sensor, automation conditions and requested runs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.automation_tick_evaluation_context import build_run_requests
from dagster._core.definitions.declarative_automation.serialized_objects import AutomationConditionCursor
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.storage.tags import RUN_KEY_TAG

from mta_pipeline.orchestration.automation.sensors import SENSOR
from mta_pipeline.orchestration.keys import (
    COMPLETE_WEEKS,
    FEED_KEY,
    LAKE_INTACT,
    LANDING_JOB,
    NO_VERSION_PENDING,
    RAW_INTACT,
    SKIP,
    WEEKLY_KEYS,
)
from mta_pipeline.orchestration.run_records import weeks_of
from mta_pipeline_tests.dagster.project import Project

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
TURNSTILE_GROUPS = ("feed", "raw", "staged", "lake", "warehouse", "marts", "report")
LAYERS = ("raw", "staged", "lake")


@dataclass
class Automation:
    """Ticks of a project's sensors. The runs that they request are executed at once, in this process."""

    project: Project
    groups: Sequence[str] | None = TURNSTILE_GROUPS
    """The groups whose conditions are evaluated; None for all. Each group makes every tick slower."""
    sensor_cursor: str | None = None
    conditions_cursor: AutomationConditionCursor | None = None
    reasons: list[str] = field(default_factory=list)
    """The reasons of skipped sensor ticks."""
    check_evaluations: list[dg.AssetCheckEvaluation] = field(default_factory=list)

    def tick_sensor(self) -> list[dg.RunRequest]:
        """Evaluate one tick of the feed sensor; return its run requests without those made before."""
        defs, instance = self.project.defs, self.project.instance
        context = dg.build_sensor_context(instance, self.sensor_cursor, resources=self.project.sensor_resources)
        tick = defs.resolve_sensor_def(SENSOR).evaluate_tick(context)
        self.sensor_cursor = tick.cursor
        if tick.skip_message:
            self.reasons.append(tick.skip_message)
        for event in tick.asset_events:
            if isinstance(event, dg.AssetCheckEvaluation):
                self.check_evaluations.append(event)
            instance.report_runless_asset_event(event)
        known = {run.tags.get(RUN_KEY_TAG) for run in instance.get_runs()}
        return [request for request in tick.run_requests if request.run_key not in known]

    def land(self, requests: Iterable[dg.RunRequest]) -> list[dg.ExecuteInProcessResult]:
        """Execute the requests of a sensor tick."""
        job = self.project.defs.resolve_job_def(LANDING_JOB)
        return [
            job.execute_in_process(
                instance=self.project.instance,
                tags={**request.tags, RUN_KEY_TAG: request.run_key},
                raise_on_error=False,
                run_config=QUIET,
            )
            for request in requests
        ]

    def tick_conditions(self) -> list[dg.RunRequest]:
        """Evaluate one tick of the automation conditions; return its run requests."""
        defs = self.project.defs
        everything = dg.AssetSelection.all(include_sources=True)
        result = dg.evaluate_automation_conditions(
            defs,
            self.project.instance,
            (everything if self.groups is None else dg.AssetSelection.groups(*self.groups))
            | dg.AssetSelection.all_asset_checks(),
            cursor=self.conditions_cursor,
        )
        self.conditions_cursor = result.cursor
        return list(build_run_requests(result._requested_subsets, defs.resolve_asset_graph(), {}, False))

    def follow(self, layers: tuple[str, ...] = LAYERS) -> dict[str, set[str]]:
        """Tick the conditions and execute the requested runs until none is requested; return the weeks made, by table.

        Requests for other layers than these are not executed.
        """
        made: dict[str, set[str]] = {}
        for _ in range(10):
            if not (requests := self.tick_conditions()):
                return made
            for key, weeks in self.execute(requests, layers):
                made.setdefault(key, set()).update(weeks)
        raise AssertionError(f"the conditions still request runs after ten ticks: {requests}")

    def execute(
        self, requests: Iterable[dg.RunRequest], layers: tuple[str, ...] = LAYERS
    ) -> list[tuple[str, list[str]]]:
        """Execute the requests of the conditions; return the weeks made, by table and run."""
        return [made for request in requests for made in self._run(request, layers)]

    def _run(self, request: dg.RunRequest, layers: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
        job = self.project.defs.resolve_job_def("__ASSET_JOB")
        keys = [key for key in request.asset_selection or () if key.path[0] in layers]
        if not keys:
            return
        result = job.execute_in_process(
            instance=self.project.instance,
            asset_selection=keys,
            tags={COMPLETE_WEEKS: SKIP, **request.tags},  # as the sensor does
            partition_key=request.partition_key,
            raise_on_error=False,
            run_config=QUIET,
        )
        weeks = weeks_of(result.dagster_run)
        for key in keys:
            yield key.to_user_string(), weeks

    def settle(self) -> dict[str, set[str]]:
        """One sensor tick, the landing, and everything downstream; returns the weeks made, by weekly table."""
        landed = {week for result in self.land(self.tick_sensor()) for week in weeks_of(result.dagster_run)}
        made = {"raw/turnstile_file": landed} if landed else {}
        return made | {key: weeks for key, weeks in self.follow().items() if weeks}

    def failed_runs(self) -> int:
        """The number of failed runs."""
        return self.project.instance.get_runs_count(dg.RunsFilter(statuses=[DagsterRunStatus.FAILURE]))


def requested_weeks(requests: Iterable[dg.RunRequest]) -> list[tuple[str, ...]]:
    """The weeks of each request: one week, or the first and last of a range."""
    return [tuple(tag for name, tag in request.tags.items() if "partition" in name) for request in requests]


def evaluate_standing_checks(project: Project) -> dict[str, dg.AssetCheckEvaluation]:
    """Evaluate the standing checks of turnstile data; return them by name."""
    job = project.defs.resolve_job_def("__ASSET_JOB")
    keys = project.defs.resolve_asset_graph().asset_check_keys
    standing = (RAW_INTACT, LAKE_INTACT, NO_VERSION_PENDING)
    checks = [
        key for key in keys if key.asset_key == FEED_KEY or (key.asset_key in WEEKLY_KEYS and key.name in standing)
    ]
    subset = job.get_subset(asset_check_selection=set(checks), asset_selection=set())
    result = subset.execute_in_process(instance=project.instance, run_config=QUIET)
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
