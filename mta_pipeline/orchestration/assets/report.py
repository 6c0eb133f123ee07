"""The asset of the report: one HTML page over the marts, with its main charts as pictures in the metadata."""

import base64
import datetime as dt
from typing import Any

import dagster as dg
import polars as pl

from mta_pipeline.lake.inputs import current_inputs
from mta_pipeline.lake.storage import report_path, write_atomically
from mta_pipeline.orchestration.conditions import once_its_inputs_are_done
from mta_pipeline.orchestration.keys import REPORT_KEY, asset_key
from mta_pipeline.orchestration.resources.lake import Lake
from mta_pipeline.orchestration.specs import OWNERS
from mta_pipeline.report.page import SOURCES, Picture, Sources, render


def report_asset() -> dg.AssetsDefinition:
    """The asset of the report, `<lake_root>/report/index.html`."""

    @dg.asset(
        key=REPORT_KEY,
        description="One HTML page with charts of ridership, which needs no network. It shows the subway over time, "
        "the busiest complexes on a map by hour, the hours of the week, the complexes with the largest changes, and "
        "the quality of the data. Figures are exits, or entries without OMNY taps. Missing weeks are gaps.",
        group_name="report",
        kinds={"html", "vega-lite"},
        owners=OWNERS,
        ins={table.name: dg.AssetIn(asset_key(table), dagster_type=pl.DataFrame) for table in SOURCES},
        automation_condition=once_its_inputs_are_done(),
    )
    def ridership_report(
        context: dg.AssetExecutionContext, raw_layer: Lake, **sources: pl.DataFrame
    ) -> dg.MaterializeResult[None]:
        samples = raw_layer.files().sample_weeks()
        made_from = current_inputs(raw_layer.lake_root, SOURCES).fingerprint
        report = render(Sources(**sources), dt.datetime.now(dt.UTC), made_from, sample_weeks=samples)
        path, page = report_path(raw_layer.lake_root), report.contents
        write_atomically(path, page)
        context.log.info(f"Report written to {path}")
        pictures = {name: _as_metadata(picture) for name, picture in report.pictures.items()}
        return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(path)), "bytes": len(page), **pictures})

    return ridership_report


def _as_metadata(picture: Picture) -> Any:
    """Return a picture as metadata that the catalogue can show."""
    data = base64.b64encode(picture.png).decode()
    return dg.MetadataValue.md(f"{picture.caption}\n\n![{picture.caption}](data:image/png;base64,{data})")
