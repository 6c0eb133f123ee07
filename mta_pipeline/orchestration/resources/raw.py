"""The raw layer for assets: where the published files are kept."""

import dagster as dg

from mta_pipeline.lake.raw_files import RawFiles


class RawLayer(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The landed files below a lake's root."""

    lake_root: str

    def files(self) -> RawFiles:
        """The landed files; opening them costs nothing."""
        return RawFiles(self.lake_root)
