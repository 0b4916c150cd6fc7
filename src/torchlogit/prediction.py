"""Raw predictions, probabilities and classes from features, computed with numpy, without importing torch.

A dense matrix is read in blocks whose float64 copy fits in the processor's cache. Each block is multiplied by the
coefficients a few rows at a time, so few that BLAS starts no threads: on a busy machine the threads of BLAS wait for
each other a hundred times as long as they work. Every product begins at a fixed row index. Therefore the same rows give
the same bits for any number of threads, and also if they are predicted in parts of a multiple of MAX_ROWS rows.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchlogit.conditioning import intercept_at
from torchlogit.data.encoding.features import Matrix

Array = NDArray[np.float64]
Features = NDArray[np.floating[Any]] | Matrix

# Values in a block's float64 copy (1 MiB). A larger copy would no longer fit in the cache.
BLOCK_VALUES = 1 << 17
# The most values in the rows of one product. OpenBLAS starts threads from 9,216 values on.
PRODUCT_VALUES = 1 << 13
# The most multiplications of one product with several outputs; up to this number, OpenBLAS starts no threads.
PRODUCT_MULTIPLICATIONS = 1 << 18
# The most rows of a block. The numbers of rows of blocks and products are powers of two.
MAX_ROWS = 1 << 13
# Values of the matrix from which on several threads of our own save more time than starting them takes.
THREADED_VALUES = 1 << 21


def raw_prediction(features: Features, coef: Array, intercept: Array, center: Array | None = None) -> Array:
    """features @ coef + intercept in float64, (n, n_outputs).

    center (n_features,): it is computed as (features - center) @ coef + (intercept + center @ coef), the last part
    exactly, so that columns far from zero lose no digits.

    >>> raw_prediction(np.array([[1.0, 2.0]], np.float32), np.array([[3.0], [4.0]]), np.array([0.5])).tolist()
    [[11.5]]
    """
    if not isinstance(features, np.ndarray):
        return _sparse_raw(features, coef, intercept, center)
    last = intercept if center is None else intercept_at(center, coef, intercept)
    return _by_blocks(features, coef, center, len(intercept), lambda product: np.add(product, last, out=product))


def probability_of(features: Features, coef: Array, intercept: Array, center: Array | None = None) -> Array:
    """The probability of every class, (n, n_classes), computed from the features block by block."""
    if not isinstance(features, np.ndarray):
        return probabilities(raw_prediction(features, coef, intercept, center))
    n_classes = max(len(intercept), 2)
    last = intercept if center is None else intercept_at(center, coef, intercept)
    finish: Callable[[Array], Array] = lambda product: probabilities(np.add(product, last, out=product))  # noqa: E731
    return _by_blocks(features, coef, center, n_classes, finish)


def _sparse_raw(features: Matrix, coef: Array, intercept: Array, center: Array | None) -> Array:
    """The raw prediction for sparse rows, of which the columns that have a center are made dense."""
    if center is None:
        return np.asarray(features @ coef + intercept, dtype=np.float64)
    moved = np.flatnonzero(center)
    others = coef.copy()
    others[moved] = 0.0
    dense = (features @ np.eye(len(center))[:, moved]) - center[moved]
    return np.asarray(features @ others + dense @ coef[moved] + intercept_at(center, coef, intercept))


def probabilities(raw: Array) -> Array:
    """The probability of every class, (n, n_classes), from the raw prediction (n, n_outputs).

    >>> probabilities(np.array([[0.0]])).tolist()
    [[0.5, 0.5]]
    """
    if raw.shape[1] == 1:
        z = raw[:, 0]
        smaller = np.exp(-np.abs(z))
        larger = 1 / (1 + smaller)
        smaller *= larger
        result = np.empty((len(z), 2))
        first = z < 0
        result[:, 0] = np.where(first, larger, smaller)
        result[:, 1] = np.where(first, smaller, larger)
        return result
    e = np.ascontiguousarray(raw.T)  # numpy sums over a few classes faster along the first axis
    e = np.exp(e - e.max(axis=0))
    e /= e.sum(axis=0)
    return np.ascontiguousarray(e.T)


def log_probabilities(raw: Array) -> Array:
    """The logarithm of the probability of every class, (n, n_classes); finite if the raw prediction is finite.

    >>> log_probabilities(np.array([[-1000.0]])).tolist()
    [[0.0, -1000.0]]
    """
    raw = np.hstack([np.zeros_like(raw), raw]) if raw.shape[1] == 1 else raw
    top = raw - raw.max(axis=1, keepdims=True)
    result: Array = top - np.log(np.exp(top).sum(axis=1, keepdims=True))
    return result


def likeliest(raw: Array) -> NDArray[np.int64]:
    """The index of the class with the largest raw prediction, (n,); for two classes, 1 if the logit is positive."""
    return (raw[:, 0] > 0).astype(np.int64) if raw.shape[1] == 1 else raw.argmax(axis=1)


def _by_blocks(
    features: NDArray[Any], coef: Array, center: Array | None, width: int, finish: Callable[[Array], Array]
) -> Array:
    """finish((block - center) @ coef) for every block of rows, together in one array (n, width)."""
    n, d = features.shape
    outputs = coef.shape[1]
    coef = np.ascontiguousarray(coef)  # BLAS may round differently for a transposed view: an estimator's coef_.T is one
    product_rows = _power_of_two(min(PRODUCT_VALUES // d, PRODUCT_MULTIPLICATIONS // (d * outputs)))
    rows = max(product_rows, _power_of_two(min(BLOCK_VALUES // d, MAX_ROWS)))
    result = np.empty((n, width))

    def fill(starts: range) -> None:
        block, product = np.empty((min(n, rows), d)), np.empty((min(n, rows), outputs))
        for start in starts:
            some = features[start : start + rows]
            size = len(some)
            whole = size // product_rows * product_rows
            np.copyto(block[:size], some, casting="unsafe")
            if center is not None:
                block[:size] -= center
            np.matmul(
                block[:whole].reshape(-1, product_rows, d), coef, out=product[:whole].reshape(-1, product_rows, outputs)
            )
            np.matmul(block[whole:size], coef, out=product[whole:size])
            result[start : start + size] = finish(product[:size])

    starts = range(0, n, rows)
    threads = pa.cpu_count() if features.size >= THREADED_VALUES else 1
    if threads == 1:
        fill(starts)
    else:
        each = -(-len(starts) // threads)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, [starts[at : at + each] for at in range(0, len(starts), each)]))
    return result


def _power_of_two(limit: int) -> int:
    """The largest power of two up to `limit`, at least 1."""
    return 1 << max(0, limit.bit_length() - 1)
