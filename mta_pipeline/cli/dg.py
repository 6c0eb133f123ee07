"""Dagster's `dg` without warnings about the usual setup of this project: `python -m mta_pipeline.cli.dg dev`."""

import logging

import dagster as dg
from dagster_dg_cli.cli import main

from mta_pipeline.orchestration.dagster_internals import skip_older_events


def _is_of_use(record: logging.LogRecord) -> bool:
    # The project's dagster.yaml is used: the directory of the records has a link to it.
    return "dagster.yaml" not in record.getMessage()


if __name__ == "__main__":
    logging.getLogger("dagster").addFilter(_is_of_use)
    with dg.DagsterInstance.get() as instance:
        skip_older_events(instance)
    main()  # type: ignore[no-untyped-call]
