"""The warehouse, as Dagster knows it: a DuckDB file beside the lake, or BigQuery over one in a bucket.

What a warehouse holds stands in `marts`, how it is written in `engines`; those are slow to import, and are when used.
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
Say = Callable[[str], None]


class Warehouse(dg.ConfigurableResource[None]):
    """Where the star and the marts are published for analysts. What cannot be done is a Failure that says why."""

    lake: Lake

    @abstractmethod
    def publish(self, say: Say) -> Facts:
        """Bring the star up to date with the lake; returns what the catalogue shows of it."""

    @abstractmethod
    def marts(self, say: Say) -> AbstractContextManager[Callable[[str], Facts]]:
        """Gives what publishes a mart, by its name, before its file is written; all are there when the block ends."""


class WarehouseFile(Warehouse):
    """Views of the lake in one DuckDB file."""

    file: str | None = Field(description="The file; without one, nothing is published.")

    def publish(self, say: Say) -> Facts:
        """Write the file, if there is to be one."""
        if self.file is None:
            say(f"No DuckDB file: its views need files in a directory, and the lake is {self.lake.lake_root}.")
            return {}
        from mta_pipeline.engines.duckdb import WarehouseFileError, write_warehouse  # noqa: PLC0415

        with _failing_for_good(WarehouseFileError):
            write_warehouse(self.lake.lake_root, Path(self.file))
        return {"path": dg.MetadataValue.path(self.file)}

    @contextmanager
    def marts(self, say: Say) -> Iterator[Callable[[str], Facts]]:
        """Views of marts read their files, so there is nothing to do for each; new ones get theirs at the end."""
        yield lambda _: {}
        self.publish(say)


class BigQueryWarehouse(Warehouse):
    """Datasets in BigQuery. Credentials are the application's default ones."""

    project: str = Field(description="The project that holds the datasets and pays for queries.")
    prefix: str = Field(default="", description="What the datasets' names begin with.")
    location: str = Field(default="US", description="Where the datasets are; the lake's bucket must be there, too.")
    storage: Literal["native", "external"] = Field(default="native", description="Load the lake, or read it in place.")
    max_gib: int = Field(default=200, description="What a query may scan at most.")

    def publish(self, say: Say) -> Facts:
        """Load what is new in the lake, and make the star."""
        from mta_pipeline.engines.bigquery import BigQueryError  # noqa: PLC0415

        with self._client() as client, _failing_for_good(BigQueryError):
            return self._on(client).publish(say)

    @contextmanager
    def marts(self, say: Say) -> Iterator[Callable[[str], Facts]]:
        """Each mart is made in BigQuery, from what has been published."""
        from mta_pipeline.engines.bigquery import BigQueryError  # noqa: PLC0415

        with self._client() as client:
            warehouse = self._on(client)

            def publish(name: str) -> Facts:
                with _failing_for_good(BigQueryError):
                    facts = warehouse.publish_mart(name)
                cost, scanned = facts["cost_estimate_usd"], facts["bytes_scanned_estimate"]
                say(f"{name} in BigQuery: scans {scanned:,} bytes, about {cost:.4f} USD on demand")
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
def _failing_for_good(kind: type[Exception]) -> Iterator[None]:
    """What trying again would not change."""
    try:
        yield
    except (LakeIncompleteError, kind) as error:
        raise dg.Failure(str(error), allow_retries=False) from error
