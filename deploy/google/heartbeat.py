#!/usr/bin/env python3
"""Writes a heartbeat of the webserver, and newly failed runs, to Cloud Logging.

The machine has no public address, so it cannot be monitored from outside. terraform/modules/monitoring defines alerts
on these log entries. The script runs on the machine every five minutes. It needs only the system's Python and gcloud.
"""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ADDRESS = "http://127.0.0.1:3000"
SINCE = Path("/run/mta/asked-for-failed-runs")
FAILED_RUNS = """
query FailedRuns($since: Float!) {
  runsOrError(filter: {statuses: [FAILURE], updatedAfter: $since}, limit: 20) {
    __typename
    ... on Runs { results { runId jobName } }
  }
}
"""


def failed_runs(since: float, address: str = ADDRESS) -> list[str]:
    """The runs that failed after the Unix time `since`, each as job name and run id.

    Raises:
        OSError: the webserver does not answer, or its answer contains no runs.
    """
    body = json.dumps({"query": FAILED_RUNS, "variables": {"since": since}}).encode()
    request = urllib.request.Request(  # noqa: S310  # the address is a constant
        f"{address}/graphql", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        runs = json.load(answer)["data"]["runsOrError"]
    if runs["__typename"] != "Runs":
        raise OSError(f"the webserver did not return runs, but {runs['__typename']}")
    return [f"{run['jobName']} {run['runId']}" for run in runs["results"]]


def write(log: str, message: str, severity: str) -> None:
    """Write an entry to a log of the project."""
    subprocess.run(["gcloud", "logging", "write", log, message, f"--severity={severity}"], check=True)  # noqa: S603, S607


def main() -> None:
    """Query the webserver once, and write failed runs and a heartbeat."""
    now = time.time()
    since = float(SINCE.read_text()) if SINCE.exists() else now - 300
    for run in failed_runs(since):
        write("mta-failed-runs", f"run failed: {run}", "ERROR")
    write("mta-alive", "the webserver answers", "INFO")
    SINCE.write_text(str(now))


if __name__ == "__main__":
    sys.exit(main())
