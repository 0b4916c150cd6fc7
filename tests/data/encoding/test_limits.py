"""Sums over pieces are as exact as over all; memory has limits, and beyond them there is a count or an error."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cut_source import beside, of
from profiles import examples
from torchlogit import TableEncoder
from torchlogit.data.block import as_block, recut
from torchlogit.data.encoding import ids
from torchlogit.data.encoding.column_kind import LearningLimits
from torchlogit.data.encoding.hashing import HashedColumn
from torchlogit.data.encoding.learn_encoder import EncoderOptions, learn_encoder
from torchlogit.data.encoding.numeric import NumericColumn
from torchlogit.errors import DataError

# Sums


EXTREMES = st.one_of(
    st.floats(-1e38, 1e38), st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1e38, -1e38, 1e-300, 3e15, 3e15 + 1])
)


@examples(60)
@given(st.lists(EXTREMES, min_size=2, max_size=40), st.sampled_from([1, 2, 7]))
def test_mean_and_deviation_are_the_exact_ones(values: list[float], rows: int) -> None:
    if len({*values}) == 1:
        return
    blocks = partial(recut, rows=rows)
    encoder, _ = learn_encoder(lambda names: blocks([as_block(pa.table({"x": values}))]), ["x"], EncoderOptions())
    (column,) = encoder.schema.columns
    assert isinstance(column, NumericColumn)
    exact = [Fraction(value) for value in values]
    spread = statistics.pstdev(exact)
    assert column.scale == pytest.approx(float(spread), rel=1e-13, abs=5e-324)
    assert column.scale > 0
    assert abs(Fraction(column.mean) - statistics.mean(exact)) <= Fraction(1e-14) * max(map(abs, exact)) + Fraction(
        5e-324
    )


def test_a_large_mean_does_not_eat_the_digits() -> None:
    values = 1e15 + np.random.default_rng(0).integers(0, 9, 1000).astype(float)
    (column,) = TableEncoder().fit({"x": values}).schema_.columns
    assert isinstance(column, NumericColumn)
    assert column.scale == pytest.approx(float(statistics.pstdev(map(Fraction, values))), rel=1e-13)


@given(st.lists(st.lists(st.integers(-50, 50) | st.sampled_from([0.5, 1e30, 2.0**40]), max_size=9), max_size=9))
def test_distinct_numbers_are_those_that_a_set_finds(chunks: list[list[float]]) -> None:
    seen = ids.DistinctNumbers()
    numbers = [number for chunk in chunks for number in chunk]
    for chunk in chunks:
        seen.update(np.array(chunk, np.float64))
    whole_ones = all(number == math.floor(number) for number in numbers)
    close = not numbers or max(numbers) - min(numbers) < ids.MAX_BITS // 2
    assert seen.differ == (whole_ones and close and len({*numbers}) == len(numbers))


def test_ids_in_any_order_earn_a_warning_and_memory_stays_small() -> None:
    order = np.random.default_rng(0).permutation(np.arange(1_000_000, 1_005_000))
    (warning,) = TableEncoder().fit({"x": order}).warnings_
    assert warning.startswith("column 'x' holds 5000 whole numbers, all different, like an id")
    seen = ids.DistinctNumbers()
    seen.update(np.array([0.0, 1e12]))
    assert not seen.differ


# Limits


def test_more_levels_than_are_kept() -> None:
    limits = LearningLimits(max_levels=30)
    table = beside([f"u{i % 40}" for i in range(400)])
    with pytest.raises(DataError, match=r"^a\.csv, \.\.\.: column 'x' holds 32 different texts in 32 rows, which look"):
        of(table, limits=limits)
    with pytest.raises(
        DataError, match=r"holds 32 different texts and more, each a feature of its own; hash them \(hash"
    ):
        of(table, limits=limits, categorical="x")
    assert of(table, limits=limits, hash_bits=4).encoder.schema.columns[0] == HashedColumn("x", 40)


def test_distinct_texts_are_counted_exactly_and_then_nearly() -> None:
    texts = [None, *(f"user {i * i % 4001}" for i in range(16000))]
    n = len({*texts})
    for rows in (501, 16001):
        limits = LearningLimits(max_sampled_levels=20)
        found = of(beside(texts), rows, limits=limits, block_rows=1000, hash_bits=4)
        assert found.encoder.schema.columns[0] == HashedColumn("x", n)
    few = LearningLimits(max_sampled_levels=20, max_exact_hashes=1000, n_kept_hashes=256)
    orders = (texts, texts[::-1])
    first, second = (
        of(beside(order), rows=700, limits=few, block_rows=1000, hash_bits=4).encoder.schema for order in orders
    )
    assert first == second
    column = first.columns[0]
    assert isinstance(column, HashedColumn)
    assert column.n_levels != n
    assert column.n_levels == pytest.approx(n, rel=4 / 16)


def test_hashed_ids_and_dates_are_refused_beyond_the_sample() -> None:
    limits = LearningLimits(max_sampled_levels=20)
    with pytest.raises(DataError, match=r"holds 2000 different texts in 2000 rows, which look like an id"):
        of(beside([f"id{i}" for i in range(2000)]), limits=limits, hash_bits=4)
    with pytest.raises(DataError, match="holds dates, such as '2020-01-10'"):
        of(beside([f"20{i % 60 + 20}-01-{i % 20 + 10}" for i in range(2000)]), limits=limits, hash_bits=4)


def test_more_words_than_are_kept() -> None:
    with pytest.raises(
        DataError, match="column 'x' holds more than 30 different words, each a feature of its own; hash"
    ):
        of(beside([f"word{i} word{i + 1}" for i in range(60)]), limits=LearningLimits(max_words=30), text="x")
