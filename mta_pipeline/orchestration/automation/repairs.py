"""The sensor that has damaged files made again from their inputs."""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Final

import dagster as dg

from mta_pipeline.lake.completeness import weeks_to_repair
from mta_pipeline.lake.storage import is_to_repair, parts_to_repair, report_path
from mta_pipeline.orchestration.keys import MARTS_JOB, REFERENCE_JOB, RIDERSHIP_JOB
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.run_records import range_tags
from mta_pipeline.tables import REFERENCE
from mta_pipeline.weeks import contiguous_ranges

SENSOR: Final = "damaged_files"


def damaged_files_sensor(jobs: Sequence[Any], look_every: int) -> dg.SensorDefinition:
    """The sensor `damaged_files`.

    Args:
        jobs: all jobs.
        look_every: seconds between two ticks.
    """

    @dg.sensor(
        name=SENSOR,
        jobs=[job for job in jobs if job.name in (RIDERSHIP_JOB, REFERENCE_JOB, MARTS_JOB)],
        minimum_interval_seconds=look_every,
        description="Requests runs that make damaged files again. A step or check that finds damage sets the file "
        "aside. Each file is requested at most once a day.",
    )
    def damaged_files(raw_layer: Lake) -> dg.SensorResult:
        requests = list(_requests(raw_layer.lake_root, dt.datetime.now(dt.UTC).date()))
        return dg.SensorResult(
            run_requests=requests, skip_reason=None if requests else "No file is set aside because of damage."
        )

    return damaged_files


def _requests(lake_root: str, today: dt.date) -> Iterator[dg.RunRequest]:
    for first, last in contiguous_ranges(weeks_to_repair(lake_root)):
        yield dg.RunRequest(f"{first}...{last} {today}", job_name=RIDERSHIP_JOB, tags=range_tags((first, last)))
    reference = {table.name for table in REFERENCE}
    if any(part.table in reference for part in parts_to_repair(lake_root, "lake")):
        yield dg.RunRequest(f"{REFERENCE_JOB} {today}", job_name=REFERENCE_JOB)
    if parts_to_repair(lake_root, "marts") or is_to_repair(report_path(lake_root)):
        yield dg.RunRequest(f"{MARTS_JOB} {today}", job_name=MARTS_JOB)
