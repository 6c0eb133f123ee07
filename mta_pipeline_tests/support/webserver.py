"""Dagster's webserver as its UI uses it: launches backfills and runs by GraphQL and reads their results."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import requests

REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "mta_pipeline"}

_BACKFILL = """
mutation Launch($backfill: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfill) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
LAUNCH_RUN = """
mutation Launch($run: ExecutionParams!) {
  launchRun(executionParams: $run) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_TERMINATE = """
mutation Terminate($run: String!) {
  terminateRun(runId: $run) { __typename ... on PythonError { message } ... on TerminateRunFailure { message } }
}
"""
_RUNS = """
query Runs($filter: RunsFilter) {
  runsOrError(filter: $filter) {
    __typename
    ... on Runs { results { runId jobName status startTime endTime tags { key value } } }
    ... on PythonError { message }
  }
}
"""
_BACKFILL_STATUS = """
query Status($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill { status }
    ... on PythonError { message }
  }
}
"""
_START_SENSOR = """
mutation Start($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) {
    __typename
    ... on Sensor { id }
    ... on PythonError { message }
    ... on SensorNotFoundError { message }
  }
}
"""
_STOP_SENSOR = """
mutation Stop($id: String!) {
  stopSensor(id: $id) { __typename ... on PythonError { message } }
}
"""
_EVENTS = """
query Events($run: ID!) {
  logsForRun(runId: $run) {
    __typename
    ... on PythonError { message }
    ... on EventConnection {
      events {
        ... on MessageEvent { message }
        ... on ErrorEvent { error { message causes { message } } }
      }
    }
  }
}
"""


class RefusedError(AssertionError):
    """The webserver refused a request; the message is its response."""


@dataclass(frozen=True)
class Run:
    """A run as the UI lists it; times are Unix time."""

    id: str
    job: str
    status: str
    started: float | None
    ended: float | None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Webserver:
    """A webserver at an address such as http://127.0.0.1:3000."""

    address: str

    def backfill(self, keys: Iterable[dg.AssetKey], weeks: Sequence[str]) -> str:
        """Launch a backfill of assets over weeks, as *Materialize* does, and return its id."""
        assets = [{"path": key.path} for key in keys]
        params = {"assetSelection": assets, "partitionNames": list(weeks)}
        return str(self._query(_BACKFILL, backfill=params)["backfillId"])

    def launch(self, job: str, **tags: str) -> str:
        """Put a run of a job into the queue and return its id."""
        params = {
            "selector": {**REPOSITORY, "jobName": job},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            "runConfigData": {},
        }
        return str(self._query(LAUNCH_RUN, run=params)["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """Request the termination of a run."""
        self._query(_TERMINATE, run=run_id)

    def start_sensor(self, name: str) -> str:
        """Turn a sensor on and return its id."""
        return str(self._query(_START_SENSOR, sensor={**REPOSITORY, "sensorName": name})["id"])

    def stop_sensor(self, sensor_id: str) -> None:
        """Turn a sensor off."""
        self._query(_STOP_SENSOR, id=sensor_id)

    def runs(self, **filters: Any) -> list[Run]:
        """The runs that match the filters (`tags`, `statuses`, `runIds`), newest first."""
        found = self._query(_RUNS, filter=filters)["results"]
        return [
            Run(
                id=run["runId"],
                job=run["jobName"],
                status=run["status"],
                started=run["startTime"],
                ended=run["endTime"],
                tags={tag["key"]: tag["value"] for tag in run["tags"]},
            )
            for run in found
        ]

    def backfill_status(self, backfill_id: str) -> str:
        """The status of a backfill, such as COMPLETED_SUCCESS."""
        return str(self._query(_BACKFILL_STATUS, id=backfill_id)["status"])

    def log(self, run_id: str) -> str:
        """All messages in the log of a run, including errors and their causes."""
        lines = []
        for event in self._query(_EVENTS, run=run_id)["events"]:
            lines.append(event.get("message") or "")
            if error := event.get("error"):
                lines += [error["message"], *(cause["message"] for cause in error["causes"])]
        return "\n".join(lines)

    def is_up(self) -> bool:
        """Whether the webserver is up. Raises every error but a refused connection."""
        try:
            return "data" in self._post("{ version }", {})
        except requests.ConnectionError:
            return False

    def _query(self, query: str, **variables: Any) -> dict[str, Any]:
        response = self._post(query, variables)
        found: dict[str, Any] = next(iter((response.get("data") or {}).values()), None) or response
        if "message" in found or "errors" in found:
            raise RefusedError(str(found))
        return found

    def _post(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        response = requests.post(f"{self.address}/graphql", json={"query": query, "variables": variables}, timeout=60)
        found: dict[str, Any] = response.json()
        return found
