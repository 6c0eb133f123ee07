"""A data set of the portal from a dozen lines of YAML: raw, staged and lake tables, with checks.

What may be said of a data set stands in `soda.declaration`; its assets are those of `assets.soda`.
"""

import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import dagster as dg
from pydantic import BaseModel

from mta_pipeline import defs
from mta_pipeline.orchestration.assets.soda import soda_assets
from mta_pipeline.orchestration.checks.soda import soda_checks
from mta_pipeline.orchestration.partitions import calendar
from mta_pipeline.settings import read_settings
from mta_pipeline.sources.socrata.dataset import SodaDataSet

GROUP: Final = "data_sets"
"""Where the catalogue shows declared data sets."""


class DeclarationError(ValueError):
    """A declaration that cannot be used."""


class SodaDataSetScaffolder(dg.Scaffolder[Any]):
    """Writes a defs.yaml that loads as it is, to be filled in."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the file."""
        dg.scaffold_component(
            request,
            {
                "table": request.target_path.name,
                "description": "What the data set holds, in a sentence.",
                "sources": [{"id": "abcd-1234"}],
                "time_column": "day",
                "key": ["day"],
                "columns": [
                    {"name": "day", "field": "date", "type": "date", "required": True, "description": "The day."},
                    {"name": "riders", "type": "integer", "at_least": 0, "description": "People on that day."},
                ],
                "checks": {"rows_at_least": 7, "rejects_at_most": 0},
            },
        )


@dg.scaffold_with(SodaDataSetScaffolder)
class SodaDataSetComponent(dg.Component):
    """One data set of the SODA portal (MTA_SODA): its pages as published, typed rows with rejects, and a table in the
    lake. With a time column it comes by weeks, on the calendar that all weekly tables share; without one it is taken
    whole."""

    def __init__(self, data_set: SodaDataSet) -> None:
        self.data_set = data_set

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """What a defs.yaml may say under `attributes`."""
        return SodaDataSet

    @classmethod
    def load(cls, attributes: SodaDataSet, context: dg.ComponentLoadContext) -> "SodaDataSetComponent":  # type: ignore[override]  # noqa: ARG003
        """The component of a defs.yaml that was found valid."""
        return cls(attributes)

    def on(self, weeks: dg.WeeklyPartitionsDefinition) -> dg.Definitions:
        """Its assets and checks on a deployment's calendar."""
        return dg.Definitions(
            assets=soda_assets(self.data_set, weeks, GROUP), asset_checks=soda_checks(self.data_set, weeks)
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """Its assets and checks by themselves, by the settings in the environment; `build` asks for them by `on`."""
        return self.on(calendar(read_settings().last_week))


@cache
def declared_data_sets(folder: ModuleType = defs) -> Sequence[SodaDataSetComponent]:
    """The data sets that the package `defs` declares, read once by each process.

    Raises:
        DeclarationError: a defs.yaml is not valid; the message has its file and line, and what was expected there.
    """
    tree = dg.ComponentTree.from_module(folder, Path(str(folder.__file__)).parents[2])
    try:
        with warnings.catch_warnings():
            # About how Dagster itself reads YAML.
            warnings.filterwarnings("ignore", "`parse_obj_as` is deprecated", DeprecationWarning)
            return tree.get_all_components(of_type=SodaDataSetComponent)
    except Exception as error:
        # Dagster tells where in the tree it was, and in the innermost cause where in the file.
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise DeclarationError(f"A data set in {folder.__name__} is not declared well: {cause}") from error
