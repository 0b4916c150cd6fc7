"""From features to raw predictions, probabilities and classes, with numpy alone: the model file's side of the losses.

A dense matrix is read in blocks whose copy in float64 stays in the processor's cache, and each of them as many products
of a few rows: so small that BLAS starts no threads for them, which on a busy machine wait for each other a hundred
times as long as they work. Products are cut at the same rows, counted from the first, so that the same rows give the
same bits whatever the number of threads, in one piece or in pieces of a multiple of MOST_ROWS rows.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchlogit.data.encoding.features import Matrix

Array = NDArray[np.float64]
Features = NDArray[np.floating[Any]] | Matrix

CACHED = 1 << 17  # values of a block: 1 MiB in float64
SMALL = 1 << 13  # values of a product's rows: OpenBLAS uses threads beyond 9,216,
SMALL_WORK = 1 << 18  # and beyond so many multiplications where there are several outputs
MOST_ROWS = 1 << 13  # of a block; a block's rows are a power of two, and a product's, too
WORTH_THREADS = 1 << 21  # values, from which on threads of our own cost less than they save


def raw_prediction(features: Features, coef: Array, intercept: Array) -> Array:
    """features @ coef + intercept in float64, (n, n_outputs).

    >>> raw_prediction(np.array([[1.0, 2.0]], np.float32), np.array([[3.0], [4.0]]), np.array([0.5])).tolist()
    [[11.5]]
    """
    if not isinstance(features, np.ndarray):
        return np.asarray(features @ coef + intercept, dtype=np.float64)
    return _by_blocks(features, coef, len(intercept), lambda product: np.add(product, intercept, out=product))


def probability_of(features: Features, coef: Array, intercept: Array) -> Array:
    """The probability of every class, (n, n_classes): `probabilities` of the raw prediction, block by block."""
    if not isinstance(features, np.ndarray):
        return probabilities(raw_prediction(features, coef, intercept))
    n_classes = max(len(intercept), 2)
    return _by_blocks(features, coef, n_classes, lambda product: probabilities(np.add(product, intercept, out=product)))


def probabilities(raw: Array) -> Array:
    """The probability of every class from the raw prediction, (n, n_classes).

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
    e = np.ascontiguousarray(raw.T)  # sums over a few classes are slow along a row
    e = np.exp(e - e.max(axis=0))
    e /= e.sum(axis=0)
    return np.ascontiguousarray(e.T)


def log_probabilities(raw: Array) -> Array:
    """The logarithms of `probabilities`, finite wherever the raw prediction is.

    >>> log_probabilities(np.array([[-1000.0]])).tolist()
    [[0.0, -1000.0]]
    """
    raw = np.hstack([np.zeros_like(raw), raw]) if raw.shape[1] == 1 else raw
    top = raw - raw.max(axis=1, keepdims=True)
    result: Array = top - np.log(np.exp(top).sum(axis=1, keepdims=True))
    return result


def likeliest(raw: Array) -> NDArray[np.int64]:
    """The index of the class with the largest raw prediction, (n,); of two, the second where the logit is positive."""
    return (raw[:, 0] > 0).astype(np.int64) if raw.shape[1] == 1 else raw.argmax(axis=1)


def _by_blocks(features: NDArray[Any], coef: Array, width: int, finish: Callable[[Array], Array]) -> Array:
    """`finish` of each block's product with coef, one below the other, (n, width)."""
    n, d = features.shape
    outputs = coef.shape[1]
    coef = np.ascontiguousarray(coef)  # BLAS may round differently for a transposed view: an estimator's coef_.T is one
    few = _power_of_two(min(SMALL // d, SMALL_WORK // (d * outputs)))
    rows = max(few, _power_of_two(min(CACHED // d, MOST_ROWS)))
    result = np.empty((n, width))

    def fill(starts: range) -> None:
        block, product = np.empty((min(n, rows), d)), np.empty((min(n, rows), outputs))
        for start in starts:
            given = features[start : start + rows]
            size = len(given)
            whole = size // few * few
            np.copyto(block[:size], given, casting="unsafe")
            np.matmul(block[:whole].reshape(-1, few, d), coef, out=product[:whole].reshape(-1, few, outputs))
            np.matmul(block[whole:size], coef, out=product[whole:size])
            result[start : start + size] = finish(product[:size])

    starts = range(0, n, rows)
    threads = pa.cpu_count() if features.size >= WORTH_THREADS else 1
    if threads == 1:
        fill(starts)
    else:
        each = -(-len(starts) // threads)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, [starts[at : at + each] for at in range(0, len(starts), each)]))
    return result


def _power_of_two(most: int) -> int:
    """The largest power of two up to `most`, at least 1."""
    return 1 << max(0, most.bit_length() - 1)
