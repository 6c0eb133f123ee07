"""The lake in Spark: on this machine, on a standalone cluster, or on a Spark Connect server. Needs the extra `spark`.

It also needs Java 17 or later, except with Spark Connect, where only the server runs Java.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import ibis

from mta_pipeline.engines import OpenLake
from mta_pipeline.engines.lake_files import EngineMissingError, is_there, schema, weeks_in_lake
from mta_pipeline.lake.storage import local_path, location
from mta_pipeline.marts import VIEWS, expression
from mta_pipeline.marts.contract import DIM_DATE
from mta_pipeline.marts.star import dim_date
from mta_pipeline.schema import Table
from mta_pipeline.settings import java
from mta_pipeline.tables import TABLES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SESSION: Final = {
    # Keep wall-clock times unchanged, regardless of the machine's time zone.
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # A year of weeks is small: the default of 200 tasks per shuffle would take longer than the work.
    "spark.sql.shuffle.partitions": "16",
}
_PROCESS: Final = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
"""Options of the driver. A Spark Connect server has its driver already."""

_CONNECT: Final = "sc://"

_LITERALLY: Final = {"__globPaths__": "false"}
"""Makes Spark take a path literally. Escapes do not suffice: Spark cannot match a pattern against a folder like a:b."""


@contextmanager
def opened(lake_root: str, master: str) -> Iterator[OpenLake]:
    """Open the lake and its star schema in a Spark session that ends with the block.

    Raises:
        LakeIncompleteError: a reference table is missing.
        EngineMissingError: pyspark or Java is not installed.
    """
    session = _start(master)
    try:
        backend = ibis.pyspark.connect(session)
        for table in TABLES:
            _read(session, lake_root, table).createOrReplaceTempView(table.name)
        calendar = dim_date(weeks_in_lake(lake_root))
        session.createDataFrame(calendar.to_arrow()).createOrReplaceTempView(DIM_DATE.name)
        tables = {name: backend.table(name) for name in (*(table.name for table in TABLES), DIM_DATE.name)}
        tables |= {view.name: expression(view.name, tables) for view in VIEWS}
        yield OpenLake(tables, lambda name: expression(name, tables).to_pyarrow())
    finally:
        session.stop()


def _start(master: str) -> "SparkSession":
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415
    except ImportError as error:
        raise EngineMissingError(
            "Spark is not installed. Run: pip install 'mta-pipeline[spark]', or make .venv/.spark"
        ) from error
    builder = SparkSession.builder.appName("mta_pipeline")
    for key, value in _SESSION.items():
        builder = builder.config(key, value)
    if master.startswith(_CONNECT):
        return _connected(builder, master)
    if java() is None:
        raise EngineMissingError(
            "Spark needs Java 17 or later, but java is neither on the PATH nor in JAVA_HOME. "
            "Install Java, or set JAVA_HOME."
        )
    for key, value in _PROCESS.items():
        builder = builder.config(key, value)
    session: SparkSession = builder.master(master).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def _connected(builder: Any, server: str) -> "SparkSession":
    try:
        session: SparkSession = builder.remote(server).create()
    except ImportError as error:
        raise EngineMissingError(
            f"Spark Connect needs a package that is not installed: {error}. Run: make .venv/.spark"
        ) from error
    return session


def _read(session: "SparkSession", lake_root: str, table: Table) -> "DataFrame":
    from ibis.backends.pyspark.datatypes import PySparkSchema  # noqa: PLC0415  # needs pyspark

    columns = schema(table)
    spark_schema = PySparkSchema.from_ibis(ibis.Schema.from_polars(columns))
    if is_there(lake_root, table):
        folder = location(lake_root) / table.layer / table.name
        # Not an encoded URI, because Spark does not decode it.
        uri = f"file://{folder.path}" if local_path(folder) else str(folder)
        # With a schema, Spark reads null for columns that a file lacks because it is older than they are.
        return session.read.options(**_LITERALLY).schema(spark_schema).parquet(uri).select(*columns)
    return session.createDataFrame([], spark_schema)
