"""From features to raw predictions, probabilities and classes, with numpy alone: what a model file predicts with.

A dense matrix is read in blocks whose float64 copy stays in the processor's cache. Each block is multiplied a few rows
at a time, so few that BLAS starts no threads: on a busy machine BLAS's threads wait for each other a hundred times as
long as they work. Products begin at the same rows, counted from the first, so that the same rows give the same bits for
any number of threads, and whether they come at once or in pieces of a multiple of MAX_ROWS rows.
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

BLOCK_VALUES = 1 << 17  # of a block's float64 copy, 1 MiB, which stays in the cache
SMALL = 1 << 13  # values of the rows of a product: OpenBLAS starts threads from 9,216 on
SMALL_WORK = 1 << 18  # multiplications of a product with several outputs, up to which OpenBLAS starts no threads
MAX_ROWS = 1 << 13  # of a block; the rows of blocks and products are powers of two
THREADED_VALUES = 1 << 21  # values from which on several threads of our own save more than they cost


def raw_prediction(features: Features, coef: Array, intercept: Array) -> Array:
    """features @ coef + intercept in float64, (n, n_outputs).

    >>> raw_prediction(np.array([[1.0, 2.0]], np.float32), np.array([[3.0], [4.0]]), np.array([0.5])).tolist()
    [[11.5]]
    """
    if not isinstance(features, np.ndarray):
        return np.asarray(features @ coef + intercept, dtype=np.float64)
    return _by_blocks(features, coef, len(intercept), lambda product: np.add(product, intercept, out=product))


def probability_of(features: Features, coef: Array, intercept: Array) -> Array:
    """The probability of every class from the features, (n, n_classes), block by block."""
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
    e = np.ascontiguousarray(raw.T)  # numpy sums over a few classes faster along the first axis
    e = np.exp(e - e.max(axis=0))
    e /= e.sum(axis=0)
    return np.ascontiguousarray(e.T)


def log_probabilities(raw: Array) -> Array:
    """The logarithm of the probability of every class, (n, n_classes): finite where the raw prediction is.

    >>> log_probabilities(np.array([[-1000.0]])).tolist()
    [[0.0, -1000.0]]
    """
    raw = np.hstack([np.zeros_like(raw), raw]) if raw.shape[1] == 1 else raw
    top = raw - raw.max(axis=1, keepdims=True)
    result: Array = top - np.log(np.exp(top).sum(axis=1, keepdims=True))
    return result


def likeliest(raw: Array) -> NDArray[np.int64]:
    """The index of the class with the largest raw prediction, (n,); of two classes 1 where the logit is positive."""
    return (raw[:, 0] > 0).astype(np.int64) if raw.shape[1] == 1 else raw.argmax(axis=1)


def _by_blocks(features: NDArray[Any], coef: Array, width: int, finish: Callable[[Array], Array]) -> Array:
    """finish(block @ coef) of all blocks of rows, (n, width)."""
    n, d = features.shape
    outputs = coef.shape[1]
    coef = np.ascontiguousarray(coef)  # BLAS rounds otherwise where it reads the same numbers column by column
    coef = np.ascontiguousarray(coef)  # BLAS may round differently for a transposed view: an estimator's coef_.T is one
    few = _power_of_two(min(SMALL // d, SMALL_WORK // (d * outputs)))
    rows = max(few, _power_of_two(min(BLOCK_VALUES // d, MAX_ROWS)))
    result = np.empty((n, width))

    def fill(starts: range) -> None:
        block, product = np.empty((min(n, rows), d)), np.empty((min(n, rows), outputs))
        for start in starts:
            some = features[start : start + rows]
            size = len(some)
            whole = size // few * few
            np.copyto(block[:size], some, casting="unsafe")
            np.matmul(block[:whole].reshape(-1, few, d), coef, out=product[:whole].reshape(-1, few, outputs))
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
