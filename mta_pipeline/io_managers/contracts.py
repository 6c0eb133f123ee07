"""Which contract the table of an asset has: all tables that the project writes, declared in code or in YAML."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from mta_pipeline.components import declared_data_sets
from mta_pipeline.marts.contract import MARTS
from mta_pipeline.tables import TABLES
from mta_pipeline.turnstile.contract import Table


@cache
def contracts() -> Mapping[tuple[str, ...], Table]:
    """The contracts by layer and name."""
    data_sets = [component.data_set for component in declared_data_sets()]
    declared = [table for data_set in data_sets for table in (data_set.staged, data_set.rejects, data_set.lake)]
    return MappingProxyType({(table.layer, table.name): table for table in (*TABLES, *MARTS, *declared)})
