"""The contracts of all tables that the project writes as Parquet files, whether declared in code or in YAML."""

from mta_pipeline.components import declared_data_sets
from mta_pipeline.marts.contract import MARTS
from mta_pipeline.schema import Table
from mta_pipeline.tables import TABLES


def contracts() -> dict[tuple[str, str], Table]:
    """Return the contracts by layer and name."""
    data_sets = [component.data_set for component in declared_data_sets()]
    declared = [table for data_set in data_sets for table in (data_set.staged, data_set.rejects, data_set.lake)]
    return {(table.layer, table.name): table for table in (*TABLES, *MARTS, *declared)}
