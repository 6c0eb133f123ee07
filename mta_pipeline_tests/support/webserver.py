"""Dagster's webserver as its page uses it: backfills, runs and what became of them, by GraphQL."""

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
_RUN = """
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
    """The webserver did not do what it was asked; the message is its answer."""


@dataclass(frozen=True)
class Run:
    """A run as the page lists it; moments are Unix time."""

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
        """Launch a backfill of assets over weeks, as *Materialize* does; returns its id."""
        assets = [{"path": key.path} for key in keys]
        params = {"assetSelection": assets, "partitionNames": list(weeks)}
        return str(self._asked(_BACKFILL, backfill=params)["backfillId"])

    def launch(self, job: str, **tags: str) -> str:
        """Launch a run of a job, which goes into the queue; returns its id."""
        params = {
            "selector": {**REPOSITORY, "jobName": job},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            "runConfigData": {},
        }
        return str(self._asked(_RUN, run=params)["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """Ask for the end of a run."""
        self._asked(_TERMINATE, run=run_id)

    def start_sensor(self, name: str) -> str:
        """Turn a sensor on; returns its id."""
        return str(self._asked(_START_SENSOR, sensor={**REPOSITORY, "sensorName": name})["id"])

    def stop_sensor(self, sensor_id: str) -> None:
        """Turn a sensor off."""
        self._asked(_STOP_SENSOR, id=sensor_id)

    def runs(self, **filters: Any) -> list[Run]:
        """The runs a filter of the page lets through (`tags`, `statuses`, `runIds`), the last one first."""
        found = self._asked(_RUNS, filter=filters)["results"]
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
        """The status of a backfill, as in COMPLETED_SUCCESS."""
        return str(self._asked(_BACKFILL_STATUS, id=backfill_id)["status"])

    def log(self, run_id: str) -> str:
        """All that the log of a run says, errors and their causes included."""
        lines = []
        for event in self._asked(_EVENTS, run=run_id)["events"]:
            lines.append(event.get("message") or "")
            if error := event.get("error"):
                lines += [error["message"], *(cause["message"] for cause in error["causes"])]
        return "\n".join(lines)

    def answers(self) -> bool:
        """Whether it is up. What else than a refused connection keeps it from answering is raised."""
        try:
            return "data" in self._post("{ version }", {})
        except requests.ConnectionError:
            return False

    def _asked(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = self._post(query, variables)
        found: dict[str, Any] = next(iter((answer.get("data") or {}).values()), None) or answer
        if "message" in found or "errors" in found:
            raise RefusedError(str(found))
        return found

    def _post(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        answer = requests.post(f"{self.address}/graphql", json={"query": query, "variables": variables}, timeout=60)
        found: dict[str, Any] = answer.json()
        return found
