"""Snapshots of BigQuery's SQL, so that every change is visible. UPDATE_SNAPSHOTS=1 writes them again."""

import os
from pathlib import Path

import pytest

from mta_pipeline.engines.sql import sql
from mta_pipeline.marts import VIEWS
from mta_pipeline.marts.contract import MARTS

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"


@pytest.mark.parametrize("name", [table.name for table in (*VIEWS, *MARTS)])
def test_the_sql_for_bigquery_equals_its_snapshot(name):
    snapshot = SNAPSHOTS / f"{name}.sql"
    compiled = sql(name, "bigquery") + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        snapshot.write_text(compiled)
    assert compiled == snapshot.read_text()
