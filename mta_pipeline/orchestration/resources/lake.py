"""The lake as a Dagster resource: one for everything that reads or writes the lake, so that all share a root."""

import dagster as dg
from pydantic import Field

from mta_pipeline.lake.raw_files import RawFiles
from mta_pipeline.lake.raw_pages import SodaRaw
from mta_pipeline.sources.socrata.dataset import SodaDataSet

LAKE_KEY = "raw_layer"
"""The resource key of the lake. The key is older than the class: it was first used for raw files only."""


class Lake(dg.ConfigurableResource[None]):
    """The root of all tables and raw files."""

    lake_root: str = Field(description="Where the tables are: a directory or a URL such as gs://bucket/prefix.")

    def files(self) -> RawFiles:
        """The raw turnstile files. Nothing is read yet."""
        return RawFiles(self.lake_root)

    def pages(self, data_set: SodaDataSet) -> SodaRaw:
        """The raw pages of a data set. Nothing is read yet."""
        return SodaRaw(self.lake_root, data_set)
