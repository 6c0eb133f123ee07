"""The sensor that checks the portal and requests runs for new or corrected weeks.

It requests the pages only. Tables made from them follow by their automation conditions. Without a portal in the
settings, the sensor does not exist.
"""

import time
from collections.abc import Sequence
from typing import Final

import dagster as dg
from pydantic import BaseModel

from mta_pipeline.lake.raw_pages import SodaRaw
from mta_pipeline.orchestration.keys import raw_key
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.resources.soda import SodaPortal
from mta_pipeline.orchestration.run_records import range_tags
from mta_pipeline.sources.errors import FeedError
from mta_pipeline.sources.socrata.client import SodaApi
from mta_pipeline.sources.socrata.dataset import SodaDataSet
from mta_pipeline.weeks import contiguous_ranges

SENSOR: Final = "changed_data_sets"

SECONDS_PER_TICK: Final = 20.0
"""Time limit for requests to the portal in one tick. Dagster ends a tick after 60 s."""


class PortalCursor(BaseModel):
    """The state that a tick leaves for the next one, by table."""

    changed: dict[str, str] = {}
    """The last change of each data set, as reported by the portal."""
    left: dict[str, list[str]] = {}
    """Weeks that have not been checked since that change."""


def changed_data_sets_sensor(
    data_sets: Sequence[SodaDataSet], weeks: dg.WeeklyPartitionsDefinition, look_every: int
) -> dg.SensorDefinition:
    """The sensor `changed_data_sets`."""

    @dg.sensor(
        name=SENSOR,
        asset_selection=dg.AssetSelection.assets(*map(raw_key, data_sets)),
        minimum_interval_seconds=look_every,
        description="Checks the portal for changed data sets. If one has changed, the sensor checks each landed or "
        "newer week of it, and requests runs for new and corrected weeks. If no week has landed yet, it checks the "
        "newest one.",
    )
    def changed_data_sets(
        context: dg.SensorEvaluationContext, soda: dg.ResourceParam[SodaPortal], raw_layer: Lake
    ) -> dg.SensorResult:
        cursor = PortalCursor.model_validate_json(context.cursor) if context.cursor else PortalCursor()
        api, until = soda.open(fail_fast=True), time.monotonic() + SECONDS_PER_TICK
        requests: list[dg.RunRequest] = []
        failures: list[str] = []
        for data_set in data_sets:
            raw = raw_layer.pages(data_set)
            try:
                _find_due(raw, api, cursor, weeks.get_partition_keys(), requests, until=until)
            except FeedError as error:  # may concern this data set only, for example if its id is wrong
                context.log.warning(str(error))
                failures.append(f"request failed: {error}")
        left = sum(map(len, cursor.left.values()))
        waiting = [f"{left} weeks still to check"] if left else []
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "; ".join([f"nothing new at {api.host}", *waiting, *failures]),
            cursor=cursor.model_dump_json(),
        )

    return changed_data_sets


def _find_due(
    raw: SodaRaw,
    api: SodaApi,
    cursor: PortalCursor,
    calendar: Sequence[str],
    requests: list[dg.RunRequest],
    *,
    until: float,
) -> None:
    """Add runs for due weeks to `requests`, including those found before the portal stopped answering."""
    table = raw.data_set.table
    changed = " ".join(api.changed_at(source.id) for source in raw.data_set.sources)
    if cursor.changed.get(table) != changed:
        cursor.left[table] = _weeks_to_check(raw, calendar)
        if not raw.data_set.is_weekly:
            requests.append(_request(raw, changed))
        cursor.changed[table] = changed
    due, left = list[str](), cursor.left[table]
    try:
        while left and time.monotonic() < until:
            if raw.is_due(api, left[0]):
                due.append(left[0])
            left.pop(0)
    finally:
        requests.extend(_request(raw, changed, range_) for range_ in contiguous_ranges(due))


def _weeks_to_check(raw: SodaRaw, calendar: Sequence[str]) -> list[str]:
    """The landed and newer weeks, newest first, because people wait for the newest week."""
    if not raw.data_set.is_weekly or not calendar:
        return []
    landed = raw.weeks()
    newer = [week for week in calendar if week > max(landed)] if landed else [calendar[-1]]
    return sorted({*landed.intersection(calendar), *newer}, reverse=True)


def _request(raw: SodaRaw, changed: str, weeks: tuple[str, str] | None = None) -> dg.RunRequest:
    """A run request for one change. Its run key ensures that the run is launched only once."""
    span = "...".join(weeks) if weeks else "all"
    return dg.RunRequest(
        run_key=f"{raw.data_set.table} {span} {changed}",
        asset_selection=[raw_key(raw.data_set)],
        tags=range_tags(weeks) if weeks else {},
    )
