"""The engine that computes the marts, as a Dagster resource."""

from contextlib import AbstractContextManager
from typing import Literal

import dagster as dg
from pydantic import Field

from mta_pipeline.engines import OpenLake, open_lake
from mta_pipeline.orchestration.resources.lake import Lake


class MartsEngine(dg.ConfigurableResource[None]):
    """The engine that computes the marts from the tables of the lake: DuckDB or Spark (MARTS_ENGINE)."""

    lake: Lake
    engine: Literal["duckdb", "spark"] = Field(default="duckdb", description="Engine that computes the marts.")
    spark_master: str = Field(
        default="local[*]", description="Where Spark runs: local[*], spark://host:port or sc://host:port."
    )

    def open(self) -> AbstractContextManager[OpenLake]:
        """Open the lake on the engine; see `engines.open_lake`."""
        return open_lake(self.lake.lake_root, self.engine, spark_master=self.spark_master)
