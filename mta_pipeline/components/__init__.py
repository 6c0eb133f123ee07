"""Dagster components, with which data sets are declared in `defs/<name>/defs.yaml`, without Python."""

from mta_pipeline.components.soda_data_set import (
    DeclarationError,
    SodaDataSetComponent,
    component_definitions,
    declared_data_sets,
)

__all__ = ["DeclarationError", "SodaDataSetComponent", "component_definitions", "declared_data_sets"]
