"""The lake as a Dagster resource. Everything that reads or writes the lake shares it, and so its root."""

import dagster as dg
from pydantic import Field

from mta_pipeline.lake.raw_files import VERSIONS, RawFiles
from mta_pipeline.lake.raw_pages import SodaRaw
from mta_pipeline.sources.socrata.dataset import SodaDataSet

LAKE_KEY = "raw_layer"
"""The resource key of the lake. The key is older than the class: it was first used for raw files only."""


class Lake(dg.ConfigurableResource[None]):
    """The lake (LAKE_ROOT): raw files, tables, marts and the report below one root."""

    lake_root: str = Field(description="Location of the tables: a directory or a URL such as gs://bucket/prefix.")
    raw_versions: int = Field(default=VERSIONS, description="Number of earlier versions of a week's raw file to keep.")

    def files(self) -> RawFiles:
        """Return the raw turnstile files. Reads nothing yet."""
        return RawFiles(self.lake_root, self.raw_versions)

    def pages(self, data_set: SodaDataSet) -> SodaRaw:
        """Return the raw pages of a data set. Reads nothing yet."""
        return SodaRaw(self.lake_root, data_set)
