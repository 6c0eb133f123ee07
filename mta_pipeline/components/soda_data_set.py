"""The component that defines a data set of the portal in YAML: raw, staged and lake tables, with checks.

`sources.socrata.dataset` defines the attributes of a declaration, and `orchestration.assets.soda` its assets.
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
from mta_pipeline.orchestration.dagster_internals import component_catalogue
from mta_pipeline.orchestration.partitions import calendar
from mta_pipeline.settings import read_settings
from mta_pipeline.sources.socrata.dataset import SodaDataSet

GROUP: Final = "data_sets"
"""The asset group of declared data sets."""


class DeclarationError(ValueError):
    """A defs.yaml is not valid."""


class SodaDataSetScaffolder(dg.Scaffolder[Any]):
    """Writes a defs.yaml with example values. It loads without changes."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the file, with the name of its folder as the name of the table."""
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
    """One data set of the SODA portal (MTA_SODA): raw pages, typed rows with rejects, and a table in the lake.

    With a time column, its tables have weekly partitions, which all weekly tables share. Without one, the data set is
    fetched as a whole.
    """

    def __init__(self, data_set: SodaDataSet, file: Path) -> None:
        self.data_set = data_set
        self.file = file

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The model of `attributes` in a defs.yaml."""
        return SodaDataSet

    @classmethod
    def load(cls, attributes: SodaDataSet, context: dg.ComponentLoadContext) -> "SodaDataSetComponent":  # type: ignore[override]
        """Return the component of a valid defs.yaml."""
        return cls(attributes, context.path / "defs.yaml")

    def on(self, weeks: dg.WeeklyPartitionsDefinition) -> dg.Definitions:
        """Return the assets and checks of the data set with the weekly partitions of a deployment."""
        declaration = dg.CodeReferencesMetadataValue(
            code_references=[dg.LocalFileCodeReference(file_path=str(self.file), line_number=1)]
        )
        return dg.Definitions(
            assets=soda_assets(self.data_set, weeks, GROUP), asset_checks=soda_checks(self.data_set, weeks)
        ).map_asset_specs(func=lambda spec: spec.merge_attributes(metadata={"dagster/code_references": declaration}))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """Return the same as `on`, with settings from the environment, for Dagster's own tools. `build` calls `on`."""
        return self.on(calendar(read_settings().last_week))


@cache
def declared_data_sets(folder: ModuleType = defs) -> Sequence[SodaDataSetComponent]:
    """Return the data sets that the package `defs` declares. Each process reads them once.

    Raises:
        DeclarationError: a defs.yaml is not valid. The message names file, line and reason.
    """
    try:
        with warnings.catch_warnings():
            # Dagster's own YAML reader causes this warning.
            warnings.filterwarnings("ignore", "`parse_obj_as` is deprecated", DeprecationWarning)
            return _tree(folder).get_all_components(of_type=SodaDataSetComponent)
    except Exception as error:
        # The innermost cause names the file and line. The outer errors only name the place in the tree.
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise DeclarationError(f"Invalid data set in {folder.__name__}: {cause}") from error


@cache
def component_definitions() -> dg.Definitions:
    """Return definitions without assets that show the component and its declared data sets in the UI."""
    return component_catalogue(_tree(defs), SodaDataSetComponent)


@cache
def _tree(folder: ModuleType) -> dg.ComponentTree:
    return dg.ComponentTree.from_module(folder, Path(str(folder.__file__)).parents[2])
