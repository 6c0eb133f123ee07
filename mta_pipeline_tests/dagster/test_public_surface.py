"""What users have stored or configured by name: none of it may be renamed or removed, and what is added is recorded.

The record is snapshots/public_surface.json; UPDATE_SNAPSHOTS=1 writes it again.
"""

import datetime as dt
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from mta_pipeline.build import build_defs
from mta_pipeline.cli import main
from mta_pipeline.components import SodaDataSetComponent
from mta_pipeline.lake.discovery import DiscoveryCursor
from mta_pipeline.lake.exports import ExportManifest
from mta_pipeline.lake.origin import MADE_FROM, RULES
from mta_pipeline.lake.raw_files import FileManifest
from mta_pipeline.lake.raw_pages import PagesManifest
from mta_pipeline.marts.contract import MARTS, WAREHOUSE
from mta_pipeline.monitoring.health import CheckCounts, Daemon, EndedRun, Health, RunInProgress, Ticks, Weeks
from mta_pipeline.monitoring.metrics import registry
from mta_pipeline.orchestration.automation.notify import NotifyCursor
from mta_pipeline.orchestration.automation.portal import PortalCursor
from mta_pipeline.orchestration.automation.schedules import _SWEPT_ON as SWEPT_ON
from mta_pipeline.orchestration.keys import (
    COMPLETE_WEEKS,
    CPUS_TAG,
    FAILED_WEEKS,
    MEMORY_TAG,
    PROCESS_ID,
    REDO,
    SHOWN_PROCESS_ID,
    SKIP,
    WAREHOUSE_POOL,
    WEEKS_POOL,
)
from mta_pipeline.settings import Settings
from mta_pipeline.sources.socrata.dataset import RejectReason as SodaRejectReason
from mta_pipeline.tables import TABLES
from mta_pipeline.telemetry.run_traces import TRACEPARENT
from mta_pipeline.turnstile.contract import RejectReason, Status
from mta_pipeline_tests.conftest import REPOSITORY

NOW = dt.datetime(2024, 1, 27, tzinfo=dt.UTC)
RECORD = Path(__file__).parents[1] / "snapshots" / "public_surface.json"


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    """The definitions with every optional part."""
    return build_defs(Settings(feed="feed", lake_root="lake", soda="https://portal.example", notify="json://example"))


@pytest.fixture(scope="module")
def surface(defs) -> dict[str, Any]:
    return json.loads(
        json.dumps(
            {
                "assets": assets(defs),
                "checks": checks(defs),
                "jobs": jobs(defs),
                "sensors": sensors(defs),
                "schedules": schedules(defs),
                "resources": sorted(defs.resources or ()),
                "tables": tables(),
                "metrics": metrics(),
                "settings": settings(),
                "commands": commands(main, "mta-pipeline"),
                "component": fields(SodaDataSetComponent.get_model_cls()),
                "stored": stored(),
                "compose": compose(),
            },
            default=str,
        )
    )


def test_nothing_that_users_have_stored_or_configured_is_renamed_or_removed(surface):
    if os.environ.get("UPDATE_SNAPSHOTS"):
        RECORD.write_text(json.dumps(surface, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    recorded = json.loads(RECORD.read_text())
    assert list(differences(recorded, surface)) == []


def differences(recorded: Any, found: Any, place: str = "") -> Iterable[str]:
    """Where two records differ, by the path of each place."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        for key in sorted(recorded.keys() | found.keys()):
            if key not in found:
                yield f"{place}/{key} was removed or renamed"
            elif key not in recorded:
                yield f"{place}/{key} is new: record it with UPDATE_SNAPSHOTS=1"
            else:
                yield from differences(recorded[key], found[key], f"{place}/{key}")
    elif recorded != found:
        yield f"{place} was {recorded!r} and is {found!r}"


def assets(defs: dg.Definitions) -> dict[str, Any]:
    graph = defs.resolve_asset_graph()
    ops = {
        key: made.op.name for made in defs.assets or () if isinstance(made, dg.AssetsDefinition) for key in made.keys
    }
    return {
        node.key.to_user_string(): {
            "dependencies": {
                parent.to_user_string(): repr(node.partition_mappings.get(parent)) for parent in node.parent_keys
            },
            "metadata": sorted(node.metadata),
            "partitions": str(node.partitions_def),
            "backfill": repr(node.backfill_policy),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "pools": sorted(node.pools or ()),
            "tags": {key: value for key, value in node.tags.items() if not key.startswith("dagster/kind/")},
            "op": ops.get(node.key),
        }
        for node in map(graph.get, sorted(graph.get_all_asset_keys()))
    }


def checks(defs: dg.Definitions) -> dict[str, Any]:
    graph = defs.resolve_asset_graph()
    specs = (graph.get_check_spec(key) for key in sorted(graph.asset_check_keys))
    return {
        f"{spec.asset_key.to_user_string()}: {spec.name}": {
            "blocking": spec.blocking,
            "partitions": str(spec.partitions_def),
            "dependencies": sorted(dep.asset_key.to_user_string() for dep in spec.additional_deps),
        }
        for spec in specs
    }


def jobs(defs: dg.Definitions) -> dict[str, Any]:
    resolved = (defs.resolve_job_def(job.name) for job in defs.jobs or ())
    return {
        job.name: {
            "assets": sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys),
            "tags": dict(job.tags),
        }
        for job in resolved
    }


def sensors(defs: dg.Definitions) -> dict[str, Any]:
    return {
        sensor.name: {"kind": sensor.sensor_type.value, "default": sensor.default_status.value}
        for sensor in defs.sensors or ()
    }


def schedules(defs: dg.Definitions) -> dict[str, Any]:
    return {
        schedule.name: {
            "job": schedule.job_name,
            "cron": schedule.cron_schedule,
            "timezone": schedule.execution_timezone,
            "default": schedule.default_status.value,
        }
        for schedule in defs.schedules or ()
    }


def tables() -> dict[str, Any]:
    return {
        f"{table.layer}/{table.name}": {
            column.name: f"{column.dtype}{' or null' if column.nullable else ''}" for column in table.columns
        }
        for table in (*TABLES, *WAREHOUSE, *MARTS)
    }


def metrics() -> dict[str, Any]:
    health = Health(
        at=NOW,
        jobs=["weekly_ridership"],
        ended=[EndedRun("weekly_ridership", dg.DagsterRunStatus.SUCCESS, 1.0, 1)],
        in_progress=[RunInProgress("0", "weekly_ridership", dg.DagsterRunStatus.QUEUED, NOW)],
        daemons=[Daemon("sensor", True, NOW)],
        ticks=[Ticks("sensor", "published_weeks", True, {"success": NOW}, 0, "")],
        weeks=Weeks(["2024-01-06"], ["2024-01-06"], ["2024-01-06"]),
        checks={dg.AssetCheckKey(dg.AssetKey("table"), "check"): CheckCounts(1, 0)},
        failed_checks=[],
        made_at={"table": NOW},
        newest={"readings": 1.0, "turnstiles": 1.0, "entries": 1.0, "exits": 1.0},
        newest_rejects={"duplicate": 1},
    )
    return {
        family.name: {
            "type": family.type,
            "labels": sorted({label for sample in family.samples for label in sample.labels}),
            "values": sorted(
                {value for sample in family.samples for key, value in sample.labels.items() if key != "version"}
            ),
        }
        for family in registry(lambda: health).collect()
    }


def settings() -> dict[str, Any]:
    return {
        str(field.alias): {
            "type": str(field.annotation),
            "default": field.default if field.default is not PydanticUndefined else None,
        }
        for field in Settings.model_fields.values()
    }


def commands(command: click.Command, name: str) -> dict[str, Any]:
    found = {
        name: {
            "/".join(parameter.opts): {
                "type": parameter.type.name,
                "required": parameter.required,
                "default": parameter.default if isinstance(parameter.default, str | int | float | bool) else None,
            }
            for parameter in command.params
        }
    }
    if isinstance(command, click.Group):
        for each in command.commands.values():
            found |= commands(each, f"{name} {each.name}")
    return found


def stored() -> dict[str, Any]:
    """Tags and metadata of runs, the values in tables, cursors of sensors, manifests, names of pools."""
    return {
        "tags of runs": sorted(
            [COMPLETE_WEEKS, PROCESS_ID, SHOWN_PROCESS_ID, MEMORY_TAG, CPUS_TAG, TRACEPARENT, SWEPT_ON]
        ),
        "values of the tag for complete weeks": sorted([SKIP, REDO]),
        "metadata of failed steps": [FAILED_WEEKS],
        "metadata of files": [MADE_FROM, RULES],
        "pools": sorted([WEEKS_POOL, WAREHOUSE_POOL]),
        "reasons for rejects": sorted(RejectReason),
        "reasons for rejects of the portal": sorted(SodaRejectReason),
        "statuses": sorted(Status),
        "cursor of published_weeks": fields(DiscoveryCursor),
        "cursor of changed_data_sets": fields(PortalCursor),
        "cursor of notify": fields(NotifyCursor),
        "manifest of a weekly file": fields(FileManifest),
        "manifest of pages": fields(PagesManifest),
        "manifest of an export": fields(ExportManifest),
    }


def fields(model: type[BaseModel]) -> Any:
    """The names and types of what is stored of a model, without the names of classes."""
    schema = model.model_json_schema(mode="serialization")
    known = schema.pop("$defs", {})

    def plain(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return plain(known[part["$ref"].rpartition("/")[2]])
            return {
                key: plain(value)
                for key, value in part.items()
                if key not in ("title", "description") or isinstance(value, dict)
            }
        return [plain(each) for each in part] if isinstance(part, list) else part

    return plain(schema)


def compose() -> dict[str, Any]:
    found = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
    return {
        "services": {name: sorted(service.get("profiles", ())) for name, service in found["services"].items()},
        "volumes": sorted(found["volumes"]),
        "networks": sorted(found["networks"]),
    }
