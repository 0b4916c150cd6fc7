"""Rows in blocks, hashes of texts, and columns side by side as rows of a matrix."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import murmurhash3_32

from cut_source import Cut
from torchlogit.data.block import Block, FileRows, Location, recut
from torchlogit.data.encoding.features import OneHotColumn, as_sparse, merged, put_dense
from torchlogit.kernels.hashes import hashes_32

# Hashes and one-hot columns


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=9), st.integers(0, 3))
def test_hashes_are_scikit_learns(texts: list[str], start: int) -> None:
    found = hashes_32(pa.array(texts, pa.string()).slice(min(start, len(texts))))
    assert found.tolist() == [murmurhash3_32(text.encode(), seed=0) for text in texts[start:]]


PLACES = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 6), min_size=n, max_size=n), min_size=1, max_size=5)
)


@given(PLACES)
def test_slots_that_meet_are_added(given_places: list[list[int]]) -> None:
    n = len(given_places[0])
    values = [np.where(np.arange(n) % 2 == k % 2, 1, -1).astype(np.float32) for k in range(len(given_places))]
    expected = np.zeros((n, 7), np.float32)
    for places, value in zip(given_places, values, strict=True):
        expected[np.arange(n), places] += value
    columns = merged([OneHotColumn(np.array(p, np.int32), v) for p, v in zip(given_places, values, strict=True)])
    found = as_sparse(columns, (n, 7))
    assert found.has_canonical_format
    np.testing.assert_array_equal(found.toarray(), expected)
    out = np.zeros((n, 7), np.float32)
    put_dense(columns, out)
    np.testing.assert_array_equal(out, expected)
    assert found.nnz == sum(len({*row}) for row in zip(*given_places, strict=True))


# Blocks


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
