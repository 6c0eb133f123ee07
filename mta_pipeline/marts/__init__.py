"""The meaning of the warehouse: its star schema and the marts, as Ibis expressions.

Each table has one function of the same name, whose parameters have the names of its input tables. The package reads and
writes nothing and depends on no engine: `engines` runs the expressions. It never imports dagster. Ibis is slow to
import, so it is imported only where an expression is built.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import polars as pl

from mta_pipeline.marts.contract import DIM_DATE, MARTS, WAREHOUSE
from mta_pipeline.tables import RIDERSHIP

if TYPE_CHECKING:
    import ibis.expr.types as ir

_INPUTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "dim_station": ("station_complexes",),
        "dim_booth": ("control_areas",),
        "fact_turnstile": ("turnstile_traffic",),
        "station_daily": ("complex_daily", "dim_station", "dim_date"),
        "station_peak_hours": ("complex_hourly", "dim_station", "dim_date"),
        "station_week_over_week": ("complex_daily", "dim_station"),
        "system_daily": ("fact_turnstile", "dim_station", "dim_date"),
        "busiest_places": ("complex_hourly", "dim_station", "dim_date"),
        "ridership_estimate": ("complex_daily", "omny_share", "entry_factor", "dim_station", "dim_date"),
        "ridership_reconciliation": (
            "complex_daily",
            "complex_hourly_published",
            "omny_share",
            "entry_factor",
            "dim_station",
            "dim_date",
        ),
        "data_quality_weekly": ("fact_turnstile", "turnstile_rejects", "dim_date"),
    }
)

_CONTRACT: Final = MappingProxyType({table.name: table for table in (*WAREHOUSE, *MARTS)})

VIEWS: Final = tuple(table for table in WAREHOUSE if table.name in _INPUTS)
"""The tables of the star schema that are views over the lake: all except dim_date, which is made from its weeks."""


def inputs(name: str) -> tuple[str, ...]:
    """Return the names of the tables that a mart or a view of the star schema is made from."""
    return _INPUTS[name]


def lake_tables(name: str) -> set[str]:
    """Return the names of the lake's tables that a mart or a table of the star schema is made from."""
    if name == DIM_DATE.name:
        return {table.name for table in RIDERSHIP}
    return {table for needed in _INPUTS.get(name, ()) for table in lake_tables(needed)} or {name}


def expression(name: str, tables: "Mapping[str, ir.Table]") -> "ir.Table":
    """Return a mart, or a view of the star schema, with the contract's columns and types.

    Args:
        name: a name in `MARTS` or `VIEWS`.
        tables: at least the tables that `inputs` names, bound to an engine or not.
    """
    import ibis  # noqa: PLC0415

    module = "star" if name in {view.name for view in VIEWS} else name
    function: Callable[..., ir.Table] = getattr(import_module(f"{__name__}.{module}"), name)
    made = function(**{needed: tables[needed] for needed in inputs(name)})
    schema = ibis.Schema.from_polars(pl.Schema(_CONTRACT[name].schema))
    return made.select(*schema).cast(schema)
