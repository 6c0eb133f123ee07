"""One side of the comparison in a process of its own: `python -m bench.sides SIDE FEED OUT FIRST LAST`.

What a side writes goes to OUT. Its imports are its own: a process's memory and start count for it.
"""

import sys
from pathlib import Path

from mta_pipeline.weeks import weeks_between


def run(side: str, feed: Path, out: Path, weeks: list[str]) -> None:
    """Do the weeks as this side does."""
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
