"""The warehouse as a Dagster resource: a DuckDB file beside the lake, or BigQuery over a lake in a bucket.

`marts` defines the contents of the warehouse, and `engines` writes it. Engines are slow to import, so they are imported
where they are used.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field

from mta_pipeline.engines.lake_files import LakeIncompleteError
from mta_pipeline.orchestration.resources.lake import Lake

if TYPE_CHECKING:
    from google.cloud import bigquery

    from mta_pipeline.engines import bigquery as engine

Facts = Mapping[str, Any]
"""Metadata of a materialization."""
Log = Callable[[str], None]


class Warehouse(dg.ConfigurableResource[None]):
    """Publishes the star schema and the marts. Errors that a retry cannot solve are raised as dg.Failure."""

    lake: Lake

    @abstractmethod
    def publish(self, log: Log) -> Facts:
        """Bring the star schema up to date with the lake. Return its metadata."""

    @abstractmethod
    def marts(self, log: Log) -> AbstractContextManager[Callable[[str], Facts]]:
        """Yield a function that publishes a mart by its name, before its file is written, and returns its metadata.

        All marts are published when the block ends.
        """


class WarehouseFile(Warehouse):
    """The warehouse (WAREHOUSE): a DuckDB file with views over the files of the lake."""

    file: str | None = Field(description="Path of the DuckDB file. Without one, nothing is published.")

    def publish(self, log: Log) -> Facts:
        """Write the DuckDB file, or nothing if none is set."""
        if self.file is None:
            log(f"No DuckDB file is written: it needs a lake in a directory, but the lake is {self.lake.lake_root}.")
            return {}
        from mta_pipeline.engines.duckdb import WarehouseFileError, write_warehouse  # noqa: PLC0415

        with _without_retries(WarehouseFileError):
            write_warehouse(self.lake.lake_root, Path(self.file))
        return {"path": dg.MetadataValue.path(self.file)}

    @contextmanager
    def marts(self, log: Log) -> Iterator[Callable[[str], Facts]]:
        """Publish all marts at the end. The views of marts read their files, so a single mart needs no work."""
        yield lambda _: {}
        self.publish(log)


class BigQueryWarehouse(Warehouse):
    """The warehouse (WAREHOUSE): datasets in BigQuery. Credentials are the application default credentials."""

    project: str = Field(description="Project that holds the datasets and pays for queries.")
    prefix: str = Field(default="", description="Prefix of the names of the datasets.")
    location: str = Field(
        default="US", description="Location of the datasets. The bucket of the lake must be there too."
    )
    storage: Literal["native", "external"] = Field(
        default="native", description="native loads the lake into BigQuery, external reads it in place."
    )
    max_gib: int = Field(default=200, description="Maximum number of GiB that one query may scan.")

    def publish(self, log: Log) -> Facts:
        """Load new files of the lake, and create the star schema."""
        from mta_pipeline.engines.bigquery import BigQueryError  # noqa: PLC0415

        with self._client() as client, _without_retries(BigQueryError):
            return self._on(client).publish(log)

    @contextmanager
    def marts(self, log: Log) -> Iterator[Callable[[str], Facts]]:
        """Compute each mart in BigQuery, from the published tables."""
        from mta_pipeline.engines.bigquery import BigQueryError  # noqa: PLC0415

        with self._client() as client:
            warehouse = self._on(client)

            def publish(name: str) -> Facts:
                with _without_retries(BigQueryError):
                    facts = warehouse.publish_mart(name)
                cost, scanned = facts["cost_estimate_usd"], facts["bytes_scanned_estimate"]
                log(f"{name} in BigQuery: scans {scanned:,} bytes, about {cost:.4f} USD on demand")
                return facts

            yield publish

    def _client(self) -> "AbstractContextManager[bigquery.Client]":
        from dagster_gcp import BigQueryResource  # noqa: PLC0415

        return BigQueryResource(project=self.project, location=self.location).get_client()

    def _on(self, client: "bigquery.Client") -> "engine.BigQueryWarehouse":
        from mta_pipeline.engines import bigquery  # noqa: PLC0415

        return bigquery.BigQueryWarehouse(
            client, self.lake.lake_root, self.prefix, self.storage, self.max_gib * bigquery.GIB
        )


@contextmanager
def _without_retries(kind: type[Exception]) -> Iterator[None]:
    """Turn errors of this kind, and of an incomplete lake, into failures without retries."""
    try:
        yield
    except (LakeIncompleteError, kind) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
