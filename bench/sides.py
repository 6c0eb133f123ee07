"""Runs one side of the comparison in its own process: `python -m bench.sides SIDE FEED OUT FIRST LAST`.

A side writes to OUT. It imports only what it needs, because start time and memory of the process count.
"""

import sys
from pathlib import Path

from mta_pipeline.weeks import weeks_between


def run(side: str, feed: Path, out: Path, weeks: list[str]) -> None:
    """Process the weeks with this side."""
    if side == "pipeline":
        from bench.pipeline import through_dagster as do  # noqa: PLC0415
    elif side == "functions":
        from bench.pipeline import without_dagster as do  # noqa: PLC0415
    elif side == "floor":
        from bench.floor import run as do  # noqa: PLC0415
    elif side == "pandas":
        from bench.alternatives import by_pandas as do  # noqa: PLC0415
    else:
        from bench.alternatives import by_duckdb as do  # noqa: PLC0415
    do(feed, out, weeks)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), weeks_between(*sys.argv[4:]))
