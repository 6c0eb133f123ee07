"""Compares two lakes table by table and week by week: by rows, whatever their order, and not by bytes.

`compare_frames` compares the rows of two frames. `compare_parts` reads the parts of two lakes: weeks of tables, and
whole tables without weeks. Memory is bounded by one part of each lake.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import polars as pl

from mta_pipeline.lake.parquet import scan
from mta_pipeline.lake.storage import Part, parts

LAYERS: Final = ("staged", "lake", "marts")
"""The layers that are compared. The raw layer holds what was published, not what the pipeline makes of it."""

IGNORED: Final = ("source_line", "source_row")
"""Columns that differ between copies of the same input, for example with and without a header."""

SECOND: Final = "_second"
"""The suffix of the second lake's values of changed rows."""

_NTH: Final = "_nth"


class Options(NamedTuple):
    """What counts as a difference."""

    ignore: Collection[str] = IGNORED
    """Columns that are not compared, as `column` or `table.column`."""
    tolerance: float = 0.0
    """The largest relative difference of floats that counts as equal."""
    samples: int = 0
    """The number of rows of each kind of difference that PartDifference holds."""


_EXACT: Final = Options()


class FrameDifference(NamedTuple):
    """The differences of two frames."""

    only_first: pl.DataFrame
    only_second: pl.DataFrame
    changed: pl.DataFrame
    """Rows whose key is in both frames: the key, the columns that differ in any row, and these with suffix SECOND."""
    columns: Sequence[str]
    """Columns that only one frame has, or that have other types, each with what is different."""


@dataclass(frozen=True)
class PartDifference:
    """The differences of one part, with the numbers of rows. It is false if there are none."""

    part: Part
    first_rows: int | None
    """The number of rows in the first lake, or None if it lacks the part."""
    second_rows: int | None
    only_first: int = 0
    only_second: int = 0
    changed: int = 0
    columns: Sequence[str] = ()
    """Columns that differ in changed rows, and those that only one lake has or that have other types."""
    samples: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Some rows of each kind of difference that occurs."""

    def __bool__(self) -> bool:
        is_missing = None in (self.first_rows, self.second_rows)
        return bool(is_missing or self.only_first or self.only_second or self.changed or self.columns)


def compare_frames(
    first: pl.DataFrame, second: pl.DataFrame, key: Sequence[str] = (), options: Options = _EXACT
) -> FrameDifference:
    """Compare the rows of two frames. Nulls are equal to each other, and so are NaNs.

    With a key that identifies the rows of both frames, rows with the same key are changed rows if they differ.
    Otherwise all compared columns are the key, and equal rows count as often as they occur.
    """
    names = [name for name in first.columns if name not in options.ignore]
    others = [name for name in second.columns if name not in options.ignore]
    types = {n: (first.schema[n], second.schema[n]) for n in names if n in others}
    columns = [name for name, (one, other) in types.items() if one == other]
    about = [
        *(f"{name} only in the first" for name in names if name not in types),
        *(f"{name} only in the second" for name in others if name not in types),
        *(f"{name} is {one} and {other}" for name, (one, other) in types.items() if one != other),
    ]
    a, b = first.select(columns), second.select(columns)
    if not columns or a.equals(b):
        return FrameDifference(a.clear(), b.clear(), a.clear(), about)
    if not key or not {*key} <= {*columns} or _repeats(a, key) or _repeats(b, key):
        nth = pl.int_range(pl.len()).over(columns).alias(_NTH)
        a, b, key = a.with_columns(nth), b.with_columns(nth), [*columns, _NTH]
    both = a.join(b, on=key, how="inner", suffix=SECOND, nulls_equal=True, maintain_order="left")
    values = [name for name in a.columns if name not in key]
    differs = {name: _differs(name, a.schema[name], options.tolerance) for name in values}
    found = [name for name, differing in differs.items() if both.select(differing.any()).item()]
    changed = both.filter(pl.any_horizontal(differs[name] for name in found)) if found else both.clear()
    return FrameDifference(
        a.join(b, on=key, how="anti", nulls_equal=True, maintain_order="left").select(columns),
        b.join(a, on=key, how="anti", nulls_equal=True, maintain_order="left").select(columns),
        changed.select(*(name for name in key if name != _NTH), *(n for v in found for n in (v, v + SECOND))),
        about,
    )


def parts_of(first: str, second: str) -> dict[Part, tuple[bool, bool]]:
    """Return the parts of both lakes in order, each with whether the first and the second lake has it."""
    here, there = ({part for layer in LAYERS for part in parts(root, layer)} for root in (first, second))
    return {
        part: (part in here, part in there)
        for part in sorted(here | there, key=lambda part: (LAYERS.index(part.layer), part.table, part.week or ""))
    }


def compare_parts(
    first: str,
    second: str,
    wanted: Mapping[Part, tuple[bool, bool]],
    keys: Mapping[str, Sequence[str]],
    options: Options = _EXACT,
) -> Iterator[PartDifference]:
    """Compare parts one by one, given those of `parts_of` and the key columns of tables by name."""
    for part, (in_first, in_second) in wanted.items():
        one, other = (
            scan(part.path(root), in_place=True).collect() if is_there else None
            for root, is_there in ((first, in_first), (second, in_second))
        )
        if one is None or other is None:
            yield PartDifference(part, None if one is None else len(one), None if other is None else len(other))
            continue
        of_table = {name.removeprefix(f"{part.table}.") for name in options.ignore}
        found = compare_frames(one, other, keys.get(part.table, ()), options._replace(ignore=of_table))
        kinds = {
            "only in the first": found.only_first,
            "only in the second": found.only_second,
            "changed": found.changed,
        }
        differing = [name for name in found.changed.columns if name + SECOND in found.changed.columns]
        yield PartDifference(
            part,
            len(one),
            len(other),
            len(found.only_first),
            len(found.only_second),
            len(found.changed),
            [*differing, *found.columns],
            {kind: _copy(rows.head(options.samples)) for kind, rows in kinds.items() if len(rows)},
        )


def _copy(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the same rows without a reference to the frame that they are a part of."""
    return pl.DataFrame(rows.rows(), schema=rows.schema, orient="row")


def _repeats(frame: pl.DataFrame, key: Sequence[str]) -> bool:
    return bool(frame.select(pl.struct(key).is_duplicated().any()).item())


def _differs(name: str, dtype: pl.DataType, tolerance: float) -> pl.Expr:
    one, other = pl.col(name), pl.col(name + SECOND)
    differs = one.ne_missing(other)
    if not (tolerance and dtype.is_float()):
        return differs
    near = (one - other).abs() <= tolerance * pl.max_horizontal(one.abs(), other.abs())
    return differs & ~near.fill_null(value=False)
