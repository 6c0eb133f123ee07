"""What the warehouse means: its star schema and the marts, as Ibis expressions.

Tables in, table out, one function each, named as the table it gives; its parameters are named as the tables it needs.
No engine is named here and nothing is read or written: that is the business of `engines`. Never imports dagster, and
ibis, which is slow to import, only where an expression is made.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

import polars as pl

from mta_pipeline.marts.contract import MARTS, WAREHOUSE

if TYPE_CHECKING:
    import ibis.expr.types as ir

_MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "dim_station": "star",
        "dim_booth": "star",
        "fact_turnstile": "star",
        **{mart.name: mart.name for mart in MARTS},
    }
)

_CONTRACT: Final = MappingProxyType({table.name: table for table in (*WAREHOUSE, *MARTS)})

VIEWS: Final = tuple(table for table in WAREHOUSE if table.name in _MODULES)
"""The tables of the star that are views of the lake: all but dim_date, which is made from the weeks it has."""


def inputs(name: str) -> tuple[str, ...]:
    """The names of the tables that a mart or a view of the star is made from."""
    return tuple(signature(_function(name)).parameters)


def expression(name: str, tables: "Mapping[str, ir.Table]") -> "ir.Table":
    """A mart, or a view of the star, over these tables, in the contract's columns and types.

    Args:
        name: a name in `MARTS` or `VIEWS`.
        tables: at least those that `inputs` names, bound to an engine or not.
    """
    import ibis  # noqa: PLC0415

    made = _function(name)(**{needed: tables[needed] for needed in inputs(name)})
    schema = ibis.Schema.from_polars(pl.Schema(_CONTRACT[name].schema))
    return made.select(*schema).cast(schema)


def _function(name: str) -> "Callable[..., ir.Table]":
    function = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return cast("Callable[..., ir.Table]", function)
