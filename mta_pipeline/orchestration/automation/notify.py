"""The sensor that notifies people: `failure_scan` detects failures, `notifications` formats and delivers messages."""

import datetime as dt
from typing import Final

import dagster as dg
from pydantic import BaseModel, SecretStr

from mta_pipeline.notifications.delivery import Outbox, Receivers, ReceiversError
from mta_pipeline.notifications.messages import message
from mta_pipeline.orchestration.automation.failure_scan import ScanState, initial_state, scan_records
from mta_pipeline.orchestration.keys import CARRY_IN_PRESENT

NOTIFY_SENSOR: Final = "notify"

_TICK: Final = 30
"""Seconds between two looks at the records."""


class NotifyCursor(BaseModel):
    """What a tick leaves to the next one."""

    look: ScanState
    outbox: Outbox = Outbox()


def notify_sensor(notify: SecretStr, ui: str) -> dg.SensorDefinition:
    """The sensor `notify`; it is on as soon as there is someone to tell.

    Args:
        notify: who is told; see the setting.
        ui: the address of Dagster's UI.
    """

    @dg.sensor(
        name=NOTIFY_SENSOR,
        minimum_interval_seconds=_TICK,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells those in MTA_NOTIFY what is wrong: runs that failed for good, failed checks, sensors and "
        "schedules whose ticks keep failing; once, and once more when it is well again. What could not be sent is "
        "kept for the next tick.",
    )
    def notify_of_faults(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        instance, now = context.instance, dt.datetime.now(dt.UTC)
        if not context.cursor:
            return _result(NotifyCursor(look=initial_state(instance)), "From now on it tells what goes wrong")
        cursor = NotifyCursor.model_validate_json(context.cursor)
        repository = context.repository_def
        assert repository is not None
        scan_records(
            instance,
            cursor.look,
            checks=[key for key in repository.asset_graph.asset_check_keys if key.name != CARRY_IN_PRESENT],
            assets_of_job=lambda name: repository.get_job(name).asset_layer.selected_asset_keys,
            besides=NOTIFY_SENSOR,
            now=now,
        )
        news = list(cursor.look.faults.pending(now))
        wrong = len(cursor.look.faults.known)
        if not news and not cursor.outbox.waiting:
            return _result(cursor, f"Nothing to tell, {wrong or 'no'} known fault{'s' if wrong != 1 else ''}")
        receivers = Receivers(notify)
        for item in news:
            cursor.outbox.add(item.fault.key, message(item, ui), receivers.names)
        taken, refused = cursor.outbox.send(receivers)
        reasons = "; ".join(f"receiver {name}: {reason}" for name, reason in refused.items())
        if refused and not taken and not news:
            # Nothing has changed, so the cursor may stay; a failed tick shows.
            raise ReceiversError(f"Messages wait for the next tick: {reasons}")
        waiting = f"; others wait for the next tick: {reasons}" if refused else ""
        return _result(cursor, f"{taken} message{'s' if taken != 1 else ''} sent{waiting}")

    return notify_of_faults


def _result(cursor: NotifyCursor, word: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=word, cursor=cursor.model_dump_json())
