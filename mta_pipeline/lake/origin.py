"""What a weekly table is made from and by which rules. Each weekly file records it in its own metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mta_pipeline.schema import Table

MADE_FROM: Final = "made_from"
"""The key in a file's own metadata. Its value says which published contents the table was made from (sha256)."""

RULES: Final = "rules"
"""The key in a file's own metadata. Its value is a JSON object from the names of the table and of the tables that it is
computed from to `Table.rules`. A table that is not in it, or a file without the key, counts as version 1."""


@dataclass(frozen=True)
class Origin:
    """The published contents that a week of a table is made from, and the versions of the rules that made it."""

    made_from: str
    rules: Mapping[str, int] = field(default_factory=dict)
    """Versions by table. Of several weeks of an input, the oldest version counts."""

    def by(self, table: Table) -> "Origin":
        """Return the origin of `table` if the current code computes it from an input with this origin."""
        return Origin(self.made_from, {**self.rules, table.name: table.rules})

    def older_rules(self, current: "Origin") -> list[str]:
        """Say which rules are older than those of `current`, such as `turnstile_traffic 1 -> 2`."""
        return [
            f"{table} {self.rules.get(table, 1)} -> {version}"
            for table, version in current.rules.items()
            if self.rules.get(table, 1) < version
        ]

    def to_metadata(self) -> dict[str, str]:
        """The entries of the metadata of a file."""
        return {MADE_FROM: self.made_from, RULES: json.dumps(self.rules)}

    @classmethod
    def of_metadata(cls, metadata: Mapping[bytes, bytes]) -> "Origin | None":
        """Read the origin from the metadata of a file, or return None if it has none."""
        made_from = metadata.get(MADE_FROM.encode())
        return None if made_from is None else cls(made_from.decode(), json.loads(metadata.get(RULES.encode(), "{}")))


def traffic_origin(carried: Origin | None, readings: Origin) -> Origin:
    """Return the origin of the input of a week's traffic, which is the readings of two weeks (rule 3).

    Args:
        carried: the origin of the readings of the week before, or None if there are none.
        readings: the origin of the readings of the week.
    """
    if carried is None:
        return Origin(f"nothing {readings.made_from}", readings.rules)
    oldest = {
        table: min(carried.rules.get(table, 1), readings.rules.get(table, 1))
        for table in {**carried.rules, **readings.rules}
    }
    return Origin(f"{carried.made_from} {readings.made_from}", oldest)
