"""BigQuery's SQL is kept, so that a change of it is seen. UPDATE_SNAPSHOTS=1 keeps the new one."""

import os
from pathlib import Path

import pytest

from mta_pipeline.engines.sql import sql
from mta_pipeline.marts import VIEWS
from mta_pipeline.marts.contract import MARTS

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"


@pytest.mark.parametrize("name", [table.name for table in (*VIEWS, *MARTS)])
def test_bigquery_s_sql_is_the_kept_one(name):
    kept = SNAPSHOTS / f"{name}.sql"
    compiled = sql(name, "bigquery") + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        kept.write_text(compiled)
    assert compiled == kept.read_text()
