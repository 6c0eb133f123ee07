"""The code location that Dagster loads, with settings from the environment."""

import dagster as dg

from mta_pipeline.build import build_defs
from mta_pipeline.settings import read_settings


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of this deployment."""
    return build_defs(read_settings())
