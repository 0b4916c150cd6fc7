"""Dual coordinate ascent as its paper writes it: float64 numpy, one row at a time, each to rounding by bisection."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ascend(
    x: Array, y: Array, weight: Array, offset: Array, residual: Array, rows: Iterable[int], l1: float, l2: float
) -> Array:
    """The residuals q - y after these rows, one after the other, at the coefficients S(-X'(s r), l1) / l2."""
    residual = residual.copy()
    for i in rows:
        if weight[i] == 0:
            continue
        u = -x.T @ (weight * residual)
        w = np.sign(u) * np.maximum(np.abs(u) - l1, 0) / l2
        z, curvature = x[i] @ w + offset[i], weight[i] * (x[i] @ x[i]) / l2
        residual[i] = _sigmoid(_root(z, curvature, residual[i], y[i])) - y[i]
    return residual


def value(x: Array, y: Array, weight: Array, offset: Array, residual: Array, l1: float, l2: float) -> float:
    """sum s (entropy(q) + r o) - sum (|u| - l1)_+^2 / (2 l2)."""
    q = y + residual
    entropy = -_x_log_x(q) - _x_log_x(1 - q)
    u = -x.T @ (weight * residual)
    return float(weight @ (entropy + residual * offset) - (np.maximum(np.abs(u) - l1, 0) ** 2).sum() / (2 * l2))


def _root(z: float, curvature: float, residual: float, y: float) -> float:
    """The t with t + curvature (sigma(t) - y - residual) = z, by bisection."""
    high = z + curvature * (residual + y)
    low = high - curvature
    for _ in range(200):
        t = (low + high) / 2
        if t + curvature * (_sigmoid(t) - y - residual) > z:
            high = t
        else:
            low = t
    return (low + high) / 2


def _sigmoid(t: float) -> float:
    return float(np.exp(-np.logaddexp(0, -t)))


def _x_log_x(x: Array) -> Array:
    return np.where(x > 0, x * np.log(np.where(x > 0, x, 1)), 0)
