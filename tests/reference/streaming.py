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
    """One expert that goes row by row, of two classes.

    Its coefficients are per standard deviation of a column, about its mean, both of all rows so far and the row that is
    predicted. The unit of a column stays until the variance is 1.1 times that at which it was last set.
    """

    rate: float
    coef: Array
    intercept: float = 0.0
    rows: list[Array] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    unit: Array = field(default_factory=lambda: np.zeros(0))
    mean: Array = field(default_factory=lambda: np.zeros(0))

    def predict(self, x: Array, weight: float) -> float:
        if len(self.unit) == 0:
            self.unit, self.mean = np.zeros(len(x)), np.zeros(len(x))
        if weight > 0:
            self.rows.append(x)
            self.weights.append(weight)
            X, w = np.array(self.rows), np.array(self.weights)
            self.mean = w @ X / w.sum()
            variance = w @ (X - self.mean) ** 2 / w.sum()
            self.unit = np.where(variance > 1.1 * self.unit**2, np.sqrt(variance), self.unit)
        return float(self.coef @ self.standardised(x) + self.intercept)

    def standardised(self, x: Array) -> Array:
        return np.divide(x - self.mean, self.unit, out=np.zeros_like(x), where=self.unit > 1e-150)

    def learn(self, x: Array, y: float, weight: float) -> None:
        """The t with the least s loss(t) + |change|^2 / (2 rate), in units of the columns' spread."""
        u = self.standardised(x)
        size, z = 1 + u @ u, float(self.coef @ u + self.intercept)
        pull = self.rate * weight * size
        end = brentq(lambda t: t - z + pull * (sigma(t) - y), z - pull - 1, z + pull + 1, xtol=1e-13, rtol=1e-14)
        move = -self.rate * weight * float(sigma(end) - y)
        self.coef = self.coef + move * u
        self.intercept += move

    def own_units(self) -> tuple[Array, float]:
        """The coefficients per unit of the columns, and the intercept."""
        coef = np.divide(self.coef, self.unit, out=np.zeros_like(self.coef), where=self.unit > 1e-150)
        return coef, self.intercept - float(coef @ self.mean)


@dataclass
class Share:
    """The class share of K classes, and its mixture with another prediction: probabilities by Bayes' rule."""

    counts: Array
    prior: float
    stay: int
    largest: float = 0.0
    ahead: float = 0.0  # by how many nats the other one's loss exceeds the share's, with all switches
    rows: int = 0

    def predict(self, other: Array, weight: float) -> tuple[Array, Array]:
        """The probabilities of the mixture and of the share, from those of the other prediction."""
        self.largest = max(self.largest, weight)
        half = self.largest / 2 if self.largest > 0 else 0.5
        share = (self.counts + half) / (self.counts + half).sum()
        own = self.weight()
        return own * share + (1 - own) * other, share

    def weight(self) -> float:
        odds = np.log(self.prior / (1 - self.prior))
        return float(sigma(odds + (self.ahead / self.largest if self.largest > 0 else 0.0)))

    def learn(self, share: Array, other: Array, target: Array, weight: float) -> None:
        self.counts = self.counts + weight * target
        if weight > 0:
            self.rows += 1
            self.ahead += weight * float(target @ (np.log(share) - np.log(other)))
            own, moved = self.weight(), 1 / (self.stay + self.rows) ** 2
            own += moved * (1 - 2 * own)
            odds = np.log(self.prior / (1 - self.prior))
            self.ahead = self.largest * float(np.log(own / (1 - own)) - odds)


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
