"""What data engineers add without Python: components, declared in `defs/<name>/defs.yaml`."""

from mta_pipeline.components.soda_data_set import DeclarationError, SodaDataSetComponent, declared_data_sets

__all__ = ["DeclarationError", "SodaDataSetComponent", "declared_data_sets"]
