"""What watches the portal and asks for weeks that are new there or were corrected. Only pages are asked for; tables
that are made of them follow by their automation conditions. Without a portal in the settings there is no such sensor.
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
"""After so long a look asks no more; Dagster ends a tick at 60 s."""


class PortalCursor(BaseModel):
    """What a look leaves to the next one, by table."""

    changed: dict[str, str] = {}
    """What the portal said of when each data set last changed."""
    left: dict[str, list[str]] = {}
    """Weeks that have not been asked about since."""


def changed_data_sets_sensor(
    data_sets: Sequence[SodaDataSet], weeks: dg.WeeklyPartitionsDefinition, look_every: int
) -> dg.SensorDefinition:
    """The sensor `changed_data_sets`."""

    @dg.sensor(
        name=SENSOR,
        asset_selection=dg.AssetSelection.assets(*map(raw_key, data_sets)),
        minimum_interval_seconds=look_every,
        description="Asks the portal whether a data set has changed, and if so about each week that has landed or is "
        "newer, and asks for those that are new or were corrected. Where nothing has landed yet, for the newest week.",
    )
    def changed_data_sets(
        context: dg.SensorEvaluationContext, soda: dg.ResourceParam[SodaPortal], raw_layer: Lake
    ) -> dg.SensorResult:
        cursor = PortalCursor.model_validate_json(context.cursor) if context.cursor else PortalCursor()
        api, until = soda.open(fail_fast=True), time.monotonic() + SECONDS_PER_TICK
        requests: list[dg.RunRequest] = []
        faults: list[str] = []
        for data_set in data_sets:
            raw = raw_layer.pages(data_set)
            try:
                _look(raw, api, cursor, weeks.get_partition_keys(), requests, until=until)
            except FeedError as error:  # about this one alone, perhaps: its id may be wrong
                context.log.warning(str(error))
                faults.append(f"asked in vain: {error}")
        left = sum(map(len, cursor.left.values()))
        waiting = [f"{left} weeks are left to ask about"] if left else []
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "; ".join([f"nothing new at {api.host}", *waiting, *faults]),
            cursor=cursor.model_dump_json(),
        )

    return changed_data_sets


def _look(
    raw: SodaRaw,
    api: SodaApi,
    cursor: PortalCursor,
    calendar: Sequence[str],
    requests: list[dg.RunRequest],
    *,
    until: float,
) -> None:
    """Add what is due to `requests`, also if the portal stops answering half-way."""
    table = raw.data_set.table
    changed = " ".join(api.changed_at(source.id) for source in raw.data_set.sources)
    if cursor.changed.get(table) != changed:
        cursor.left[table] = _weeks_to_ask_about(raw, calendar)
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
        requests.extend(_request(raw, changed, stretch) for stretch in contiguous_ranges(due))


def _weeks_to_ask_about(raw: SodaRaw, calendar: Sequence[str]) -> list[str]:
    """Newest first: it is the one people wait for."""
    if not raw.data_set.is_weekly or not calendar:
        return []
    landed = raw.weeks()
    newer = [week for week in calendar if week > max(landed)] if landed else [calendar[-1]]
    return sorted({*landed.intersection(calendar), *newer}, reverse=True)


def _request(raw: SodaRaw, changed: str, stretch: tuple[str, str] | None = None) -> dg.RunRequest:
    """A run for one change: it is asked for once."""
    span = "...".join(stretch) if stretch else "all"
    return dg.RunRequest(
        run_key=f"{raw.data_set.table} {span} {changed}",
        asset_selection=[raw_key(raw.data_set)],
        tags=range_tags(stretch) if stretch else {},
    )
