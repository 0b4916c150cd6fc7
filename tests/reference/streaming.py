"""Learning in one pass, row by row and matrix by matrix as the formulae say it, in float64 and slowly."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Array = NDArray[np.float64]


def sigma(z: Array | float) -> Array:
    """The logistic function."""
    return 1 / (1 + np.exp(-np.asarray(z, dtype=np.float64)))


def loss(z: Array, y: Array) -> Array:
    """Log loss of a raw prediction."""
    return np.logaddexp(0, z) - y * z


@dataclass
class NewtonModel:
    """The model theta' A theta / 2 - b' theta of the rows so far, of two classes."""

    A: Array
    b: Array
    theta: Array

    @classmethod
    def empty(cls, p: int) -> NewtonModel:
        return cls(np.zeros((p, p)), np.zeros(p), np.zeros(p))

    def join(self, X: Array, y: Array, weight: Array, precision: Array) -> None:
        """The exact minimiser, by Newton's method with halved steps, and the block's own model there."""

        def value(theta: Array) -> float:
            past = theta @ self.A @ theta / 2 - self.b @ theta + theta @ (precision * theta) / 2
            return float(past + weight @ loss(X @ theta, y))

        theta = self.theta
        for _ in range(200):
            p = sigma(X @ theta)
            gram = (X * (weight * p * (1 - p))[:, None]).T @ X
            gradient = self.A @ theta - self.b + precision * theta + X.T @ (weight * (p - y))
            step = -np.linalg.solve(self.A + gram + np.diag(precision), gradient)
            size = 1.0
            while value(theta + size * step) > value(theta) + 1e-12 and size > 1e-9:
                size /= 2
            theta = theta + size * step
            if np.abs(gradient).max() < 1e-10:
                break
        p = sigma(X @ theta)
        gram = (X * (weight * p * (1 - p))[:, None]).T @ X
        self.A, self.b = self.A + gram, self.b + gram @ theta - X.T @ (weight * (p - y))
        self.theta = theta


@dataclass
class Follower:
    """One expert that goes row by row, with the running mean and variance of the columns, of two classes."""

    rate: float
    coef: Array
    intercept: float = 0.0
    rows: list[Array] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def predict(self, x: Array) -> float:
        return float(self.coef @ x + self.intercept)

    def learn(self, x: Array, y: float, weight: float) -> None:
        """The t with the least s loss(t) + |change|^2 / (2 rate), in units of the columns' spread."""
        self.rows.append(x)
        self.weights.append(weight)
        X, w = np.array(self.rows), np.array(self.weights)
        mean = w @ X / w.sum()
        variance = w @ (X - mean) ** 2 / w.sum()
        direction = np.divide(x - mean, variance, out=np.zeros_like(x), where=variance > 1e-300)
        size, z = 1 + direction @ (x - mean), self.predict(x)
        pull = self.rate * weight * size
        end = brentq(lambda t: t - z + pull * (sigma(t) - y), z - pull - 1, z + pull + 1, xtol=1e-13, rtol=1e-14)
        move = -self.rate * weight * float(sigma(end) - y)
        self.coef = self.coef + move * direction
        self.intercept += move - move * float(direction @ mean)


def scale_free(
    X: Array, y: Array, weight: Array, precision: Array, rate: float, power: float
) -> tuple[Array, Array, list[float]]:
    """ScaleFree with one rate, two classes and an intercept: the last point, the mean point, and what it said."""
    X = np.column_stack([X, np.ones(len(X))])
    p = X.shape[1]
    w, scale, squares = np.zeros(p), np.zeros(p), np.zeros(p)
    held = np.append(precision, 0.0)
    points, by, size, seen, said = [np.zeros(p)], [], 0.0, 0.0, []
    for x, target, s in zip(X, y, weight, strict=True):
        grown = np.abs(x) > scale
        w = np.where(grown & (scale > 0), w * scale / np.where(grown, np.abs(x), 1), w)
        scale = np.maximum(scale, np.abs(x))
        z = float(w @ x)
        said.append(z)
        seen += s
        size += s * float(((x[x != 0] / scale[x != 0]) ** 2).sum())
        squares = squares + s * ((sigma(z) - target) * x) ** 2
        metric = held + np.sqrt(squares) * scale * np.sqrt(size / seen) / rate
        inverse = np.divide(1, metric, out=np.zeros(p), where=(metric > 0) & (x != 0))
        pull = float(s * x**2 @ inverse)
        ends = z - pull - 1, z + pull + 1
        end = brentq(lambda t, z=z, q=pull, v=target: t - z + q * (sigma(t) - v), *ends, xtol=1e-13)
        w = w - s * float(sigma(end) - target) * x * inverse
        points.append(w)
        by.append(s * seen**power)
    mean = np.array(by) @ np.array(points[1:]) / np.sum(by)
    return w, mean, said
