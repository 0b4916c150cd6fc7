"""Small tables to fit, and all that a fit has found, as one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from torchlogit import LogisticRegression

Array = NDArray[np.float64]


def rows(n_classes: int = 2, n: int = 120, d: int = 3, seed: int = 0) -> tuple[Array, NDArray[np.int64]]:
    """Random rows of which no class is separated from the others."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    raw = X @ rng.standard_normal((d, n_classes)) + rng.gumbel(size=(n, n_classes))
    return X, raw.argmax(axis=1)


def coefficients(model: LogisticRegression) -> Array:
    return np.column_stack([model.coef_, model.intercept_])
