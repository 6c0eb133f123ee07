"""How many rows or lines of a staged table were rejected, and why. Both feeds use it."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import polars as pl

_SHOWN_VALUES: Final = 5
_LONGEST_VALUE: Final = 40


class RejectShare(NamedTuple):
    """The rejects of a week or table among all its rows or lines."""

    rejects: int
    total: int
    reasons: str
    """The reasons with their numbers, the most frequent first."""

    @property
    def figures(self) -> Mapping[str, float]:
        """The numbers, as metadata that the UI plots."""
        return {"rows": self.total, "rejected": self.rejects, "share": self.rejects / self.total if self.total else 0.0}

    def is_at_most(self, limit: float) -> bool:
        """Whether the share is at most `limit`, or one row of several was rejected."""
        # One row may be one of seven days, or a last line that was cut off.
        return self.rejects <= limit * self.total or self.rejects == 1 < self.total

    def shown(self, unit: str) -> str:
        """The share and the reasons as a sentence, such as `2.0 % of 500 rows rejected: bad_number 10`."""
        percent = 100 * self.rejects / self.total if self.total else 0.0
        return f"{percent:.1f} % of {self.total:,} {unit} rejected{self.reasons and f': {self.reasons}'}"


def reject_share(
    by_reason: Mapping[str, int],
    rows: int,
    *,
    harmless: Sequence[str] = (),
    unknown_values: pl.DataFrame | None = None,
) -> RejectShare:
    """Return the share of rejects.

    Args:
        by_reason: number of rejects by reason.
        rows: number of rows or lines that were not rejected.
        harmless: reasons that do not count as rejects, because the row repeats another.
        unknown_values: column, value and rows of the rejects with reason unknown_value, the most frequent first.
    """
    counted = {reason: count for reason, count in by_reason.items() if reason not in harmless}
    named = {} if unknown_values is None or unknown_values.is_empty() else {"unknown_value": _listed(unknown_values)}
    reasons = (
        f"{reason} {count:,}{f' ({named[reason]})' if reason in named else ''}"
        for reason, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    )
    return RejectShare(sum(counted.values()), rows + sum(by_reason.values()), ", ".join(reasons))


def _listed(unknown_values: pl.DataFrame) -> str:
    columns = unknown_values["column"].unique(maintain_order=True)
    return "; ".join(f"{column}: {_of_column(unknown_values.filter(column=column))}" for column in columns)


def _of_column(values: pl.DataFrame) -> str:
    shown = [
        f"{_shortened(value)!r} {rows:,}" for value, rows in values.select("value", "rows").head(_SHOWN_VALUES).rows()
    ]
    return ", ".join(shown) + (f" and {values.height - _SHOWN_VALUES} more" if values.height > _SHOWN_VALUES else "")


def _shortened(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else f"{value[: _LONGEST_VALUE - 1]}…"
