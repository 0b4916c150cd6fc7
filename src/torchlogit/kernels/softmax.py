"""The compiled epoch of dual ascent for softmax. numba is imported on the first call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchlogit.kernels.parallel import Array


def epoch(
    rows: Any,
    order: NDArray[np.int64],
    weight: Array,
    variance: Array,
    of_intercept: float,
    offset: Array,
    coef: Array,
    intercept: Array,
    dual: Array,
) -> None:
    """Visits every row of a csr_array in this order; moves coef (d, K), intercept (K,) and dual (n, K) in place.

    weight (n,). variance (d,): 1 / precision of each row of coef; of_intercept: that of the intercept. offset (n, K).
    """
    from torchlogit.kernels import softmax_loops

    parts = rows.indptr, rows.indices, rows.data
    softmax_loops.epoch(*parts, order, weight, variance, of_intercept, offset, coef, intercept, dual)
