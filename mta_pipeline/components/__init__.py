"""What data engineers add without Python: components, declared in `defs/<name>/defs.yaml`."""

from mta_pipeline.components.soda_data_set import SodaDataSetComponent, declared_data_sets

__all__ = ["SodaDataSetComponent", "declared_data_sets"]
