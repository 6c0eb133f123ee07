#!/usr/bin/env python3
"""Tell Cloud Logging that the deployment answers, and which runs have failed since the last time.

The machine has no public address, so that nobody can ask it from outside; terraform/modules/monitoring makes alerts of
what is written here. Runs on the machine every five minutes, with nothing but its own Python and gcloud.
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
    """The runs that failed after a moment, each as its job and id.

    Raises:
        OSError: the webserver does not answer, or not with runs.
    """
    body = json.dumps({"query": FAILED_RUNS, "variables": {"since": since}}).encode()
    request = urllib.request.Request(  # noqa: S310  # the address is ours
        f"{address}/graphql", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        runs = json.load(answer)["data"]["runsOrError"]
    if runs["__typename"] != "Runs":
        raise OSError(f"the webserver does not give its runs: {runs['__typename']}")
    return [f"{run['jobName']} {run['runId']}" for run in runs["results"]]


def write(log: str, message: str, severity: str) -> None:
    """Add an entry to a log of the project."""
    subprocess.run(["gcloud", "logging", "write", log, message, f"--severity={severity}"], check=True)  # noqa: S603, S607


def main() -> None:
    """Ask once, and write what there is to say."""
    now = time.time()
    since = float(SINCE.read_text()) if SINCE.exists() else now - 300
    for run in failed_runs(since):
        write("mta-failed-runs", f"run failed: {run}", "ERROR")
    write("mta-alive", "the webserver answers", "INFO")
    SINCE.write_text(str(now))


if __name__ == "__main__":
    sys.exit(main())
