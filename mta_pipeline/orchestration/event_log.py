"""Dagster's SQLite event log with connections that stay open, for a process that executes runs itself.

Dagster's own event log opens several connections per event. Over all weeks, that costs more than computing their
ridership. Files and rows are the same, so other processes, such as the UI, can read and write them as usual.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import StaticPool

from mta_pipeline.orchestration.dagster_internals import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConfigurableClassData,
    DagsterSqliteStorage,
    SqliteEventLogStorage,
)


def with_open_connections(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """The same instance with persistent event log connections. Unchanged if it does not use SQLite files."""
    storage = instance.get_ref().storage_data if instance.is_persistent else None
    if storage is None or storage.class_name != DagsterSqliteStorage.__name__:
        return instance
    ours = ConfigurableClassData(__name__, OpenSqliteStorage.__name__, storage.config_yaml)
    return dg.DagsterInstance.from_ref(instance.get_ref()._replace(storage_data=ours))


class OpenSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with an event log whose connections stay open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = OpenSqliteEventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(  # type: ignore[override]  # as Dagster itself does
        cls, inst_data: ConfigurableClassData, config_value: dict[str, str]
    ) -> "OpenSqliteStorage":
        """Create the storage from its configuration, as Dagster requires."""
        return cls.from_local(inst_data=inst_data, **config_value)


class OpenSqliteEventLog(SqliteEventLogStorage):
    """The event log with one connection per file. A lock gives it to one thread at a time."""

    def __init__(self, base_dir: str) -> None:
        self._engines: dict[str, Engine] = {}
        self._tables: set[str] = set()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engines.get(shard)
            if engine is None:
                engine = self._engines[shard] = create_engine(
                    self.conn_string_for_shard(shard),
                    poolclass=StaticPool,
                    connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
                )
                self._initdb(engine)
            with engine.begin() as connection:
                yield connection

    def has_table(self, table_name: str) -> bool:
        """Whether the log has the table. Positive answers are cached."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        """Close the connections."""
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
        super().dispose()
