"""Columns whose features may be the same, merged: dense and sparse, equal to the sum of the columns."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from torchlogit.data.encoding.features import OneHotColumn, as_sparse, merged, put_dense

PLACES = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 6), min_size=n, max_size=n), min_size=1, max_size=5)
)


@given(PLACES)
def test_values_of_the_same_feature_are_added(given_places: list[list[int]]) -> None:
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
