"""The sample feed of the benchmarks: full-size weeks as .gz files, kept in data/bench between benchmarks.

It has no truth files, because benchmarks do not read them.
"""

import gzip
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from mta_pipeline.weeks import FIRST_WEEK, file_name

SEED = 0
_AT_A_TIME = 8


def path(folder: Path, week: str) -> Path:
    """The published file of a week."""
    return folder / f"{file_name(week)}.gz"


def make(folder: Path, weeks: list[str], turnstiles: int) -> None:
    """Create the missing weeks in the folder, using all cores. Each file is written atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [week for week in weeks if not path(folder, week).exists()]
    batches = [missing[n : n + _AT_A_TIME] for n in range(0, len(missing), _AT_A_TIME)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for n, _ in enumerate(pool.map(partial(_publish, folder, turnstiles), batches)):
            print(f"\r{min((n + 1) * _AT_A_TIME, len(missing)):,} of {len(missing):,} sample weeks created", end="")
    print(end="\n" if missing else "", flush=True)


def _publish(folder: Path, turnstiles: int, weeks: list[str]) -> None:
    from mta_pipeline.sample import SampleFeed  # noqa: PLC0415  # only in the workers

    # Every sample starts with the first week of all, so that weeks created later are consistent with existing ones.
    for made in SampleFeed(seed=SEED, turnstiles=turnstiles, first_week=FIRST_WEEK).stream(weeks):
        unfinished = folder / f".{made.week}.{os.getpid()}"
        unfinished.write_bytes(gzip.compress(made.text, compresslevel=4, mtime=0))
        unfinished.rename(path(folder, made.week))
