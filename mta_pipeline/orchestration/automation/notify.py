"""The sensor that notifies people: `failure_scan` detects failures, `notifications` formats and delivers messages."""

import datetime as dt
from typing import Final

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mta_pipeline.notifications.delivery import Outbox, Receivers, ReceiversError
from mta_pipeline.notifications.messages import message
from mta_pipeline.orchestration.automation.failure_scan import ScanState, initial_state, scan_records
from mta_pipeline.orchestration.keys import CARRY_IN_PRESENT

NOTIFY_SENSOR: Final = "notify"

_TICK: Final = 30
"""Seconds between two scans of the records."""


class NotifyCursor(BaseModel):
    """The state that a tick leaves for the next one. The alias is the field name in stored cursors."""

    model_config = ConfigDict(serialize_by_alias=True)

    scan: ScanState = Field(alias="look")
    outbox: Outbox = Outbox()


def notify_sensor(notify: SecretStr, ui: str) -> dg.SensorDefinition:
    """The sensor `notify`, which is on by default.

    Args:
        notify: the receivers, see the setting MTA_NOTIFY.
        ui: the address of Dagster's UI.
    """

    @dg.sensor(
        name=NOTIFY_SENSOR,
        minimum_interval_seconds=_TICK,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notifies the receivers in MTA_NOTIFY of incidents: runs that failed for good, failed checks, and "
        "sensors and schedules whose ticks keep failing. Each incident is reported when it starts and when it is "
        "resolved, with reminders. Messages that could not be sent are kept for the next tick.",
    )
    def notify_of_incidents(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        instance, now = context.instance, dt.datetime.now(dt.UTC)
        if not context.cursor:
            return _result(NotifyCursor(look=initial_state(instance)), "Started. Failures are reported from now on.")
        cursor = NotifyCursor.model_validate_json(context.cursor)
        repository = context.repository_def
        assert repository is not None
        scan_records(
            instance,
            cursor.scan,
            checks=[key for key in repository.asset_graph.asset_check_keys if key.name != CARRY_IN_PRESENT],
            assets_of_job=lambda name: repository.get_job(name).asset_layer.selected_asset_keys,
            excluded_sensor=NOTIFY_SENSOR,
            now=now,
        )
        notices = list(cursor.scan.incidents.pending(now))
        known = len(cursor.scan.incidents.known)
        if not notices and not cursor.outbox.waiting:
            return _result(cursor, f"Nothing to send, {known or 'no'} open incident{'s' if known != 1 else ''}")
        receivers = Receivers(notify)
        for notice in notices:
            cursor.outbox.add(notice.incident.key, message(notice, ui), receivers.names)
        sent, failed = cursor.outbox.send(receivers)
        reasons = "; ".join(f"receiver {name}: {reason}" for name, reason in failed.items())
        if failed and not sent and not notices:
            # The cursor need not change, so the tick can fail, which the UI shows.
            raise ReceiversError(f"Messages wait for the next tick: {reasons}")
        waiting = f"; others wait for the next tick: {reasons}" if failed else ""
        return _result(cursor, f"{sent} message{'s' if sent != 1 else ''} sent{waiting}")

    return notify_of_incidents


def _result(cursor: NotifyCursor, reason: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=cursor.model_dump_json())
