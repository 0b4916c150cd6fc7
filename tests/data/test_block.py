"""Blocks hold all rows in order, and know the file and the row that each came from."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cut_source import Cut
from torchlogit.data.block import Block, FileRows, Location, recut


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 9), st.integers(1, 9))
def test_blocks_hold_all_rows_in_order_and_know_where_they_came_from(cuts: list[int], rows: int, size: int) -> None:
    table = pa.table({"x": range(30)})
    found = list(recut(Cut(table, cuts, rows).as_read(), size))
    assert [len(block) for block in found] == [min(size, 30 - at) for at in range(0, 30, size)]
    assert [block.first for block in found] == list(range(0, 30, size))
    assert [block.last for block in found] == [False] * (len(found) - 1) + [True]
    ends = [min(end, 30) for end in np.cumsum([*cuts, 30])]
    expected = [
        (start + row, (f"{'abcdefgh'[file]}.csv", row))
        for file, (start, end) in enumerate(itertools.pairwise([0, *ends]))
        for row in range(end - start)
    ]
    assert [each for block in found for each in located(block)] == expected
    kept = [block.where(np.array(block.table.column("x")) % 3 != 1) for block in found]
    assert [each for block in kept for each in located(block)] == [each for each in expected if each[0] % 3 != 1]
    again = [each for block in recut(kept, size) for each in located(block)]
    assert again == [each for each in expected if each[0] % 3 != 1]


def located(block: Block) -> list[tuple[int, Location]]:
    """The value in each row, and where the row came from."""
    return [(value, block.location(row)) for row, value in enumerate(block.table.column("x").to_pylist())]


def test_locations_count_rows_across_empty_files() -> None:
    parts = tuple(FileRows(name, range(rows)) for name, rows in zip("abcde", (2, 0, 1, 0, 0), strict=True))
    block = Block(pa.table({"x": range(3)}), parts)
    assert [block.location(row) for row in range(3)] == [("a", 0), ("a", 1), ("c", 0)]
    for row in (-1, 3):
        with pytest.raises(IndexError):
            block.location(row)
