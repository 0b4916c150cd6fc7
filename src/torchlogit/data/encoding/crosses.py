"""Crosses: a cross of two columns is a further column whose levels are pairs of their levels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from torchlogit.data.columns import as_levels
from torchlogit.data.wording import examples, suggestion
from torchlogit.errors import DataError


def checked_cross(cross: str, columns: Sequence[str]) -> tuple[str, str]:
    """The names of the two columns of a cross "A:B"; DataError if there are no such columns."""
    splits = [(cross[:at], cross[at + 1 :]) for at, letter in enumerate(cross) if letter == ":"]
    pairs = [pair for pair in splits if pair[0] in columns and pair[1] in columns]
    if not pairs:
        unknown = next((name for name in (splits[0] if splits else ()) if name not in columns), cross)
        reason = suggestion(unknown, columns) if splits else f"the columns are {examples(columns, limit=10)}"
        raise DataError(f"crosses names {cross!r}, where two columns A:B were expected; {reason}")
    if cross in columns:
        raise DataError(f"the cross {cross!r} and a column have the same name; rename the column", column=cross)
    return pairs[0]


def with_crosses(table: pa.Table, crosses: Iterable[tuple[str, str]]) -> pa.Table:
    """The table with one column A:B per cross, which holds the text "a:b" for levels a and b, null if one is missing.

    >>> with_crosses(pa.table({"a": ["x", None], "b": [1.0, 2.0]}), [("a", "b")]).column("a:b").to_pylist()
    ['x:1', None]
    """
    for first, second in crosses:
        texts = (_as_text(table.column(name)) for name in (first, second))
        table = table.append_column(f"{first}:{second}", pc.binary_join_element_wise(*texts, ":"))
    return table


def _as_text(column: pa.ChunkedArray) -> pa.Array:
    levels = as_levels(column)
    return levels.texts.take(pa.array(levels.codes, mask=levels.codes < 0))
