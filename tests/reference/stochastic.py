"""The stochastic methods as their papers write them: float64 numpy, one row at a time, every gradient kept whole.

Each yields theta after every step, given the rows of each step. What is minimised is F / N, N the sum of the weights,
the mean over the n rows of n s_i loss_i / N, plus sum_j precision_j |theta_j|^2 / (2 N).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from reference.objective import Array, Plain

Rows = Sequence[int]


def _residual(plain: Plain, i: int, theta: Array) -> Array:
    """Probability - target of one row."""
    z, y = theta.T @ plain.x[i], plain.target[i]
    if len(z) == 1:
        return 1 / (1 + np.exp(-z)) - y
    e = np.exp(z - z.max())
    return e / e.sum() - y


def _row_gradient(plain: Plain, i: int, theta: Array) -> Array:
    """The gradient of s_i n loss_i / N: the mean of these over the rows is that of F / N, penalty aside."""
    return plain.weight[i] * len(plain.x) / plain.weight.sum() * np.outer(plain.x[i], _residual(plain, i, theta))


def batch_gradient(plain: Plain, rows: Rows, theta: Array) -> Array:
    """The rows' mean gradient, and the penalty's per unit of weight."""
    losses = sum(_row_gradient(plain, i, theta) for i in rows) / len(rows)
    return losses + plain.precision[:, None] * theta / plain.weight.sum()


def _shrunk(plain: Plain, theta: Array, rate: float) -> Array:
    """argmin_t rate * Omega(t) / N + |t - theta|^2 / 2, coordinate by coordinate."""
    shrunk = theta.copy()
    for j, precision in enumerate(plain.precision):
        shrunk[j] = theta[j] / (1 + rate * precision / plain.weight.sum())
    return shrunk


def sgd(
    plain: Plain, batches: Iterable[Rows], theta: Array, rates: Iterable[float], momentum: float = 0.0
) -> Iterator[Array]:
    """velocity = momentum velocity + gradient; theta = theta - rate velocity."""
    velocity = np.zeros_like(theta)
    for rows, rate in zip(batches, rates, strict=True):
        velocity = momentum * velocity + batch_gradient(plain, rows, theta)
        theta = theta - rate * velocity
        yield theta


def averages(points: Iterable[Array], power: float) -> Iterator[Array]:
    """sum_t c_t theta_t / sum_t c_t with c_t = (t + 1) ... (t + power - 1) t: polynomial-decay averaging, summed up."""
    kept: list[Array] = []
    for point in points:
        kept.append(point)
        c = [np.prod([t + k for k in range(int(power))]) for t in range(1, len(kept) + 1)]
        yield sum(a * p for a, p in zip(c, kept, strict=True)) / sum(c)


def dog(plain: Plain, batches: Iterable[Rows], theta: Array, first_move: float) -> Iterator[Array]:
    """Ivgi, Hinder and Carmon 2023, equation 1: the largest distance so far over the root of all squared gradients."""
    points, gradients = [theta], list[Array]()
    for rows in batches:
        gradients.append(batch_gradient(plain, rows, points[-1]))
        far = max([first_move * (1 + np.sqrt((theta**2).sum())), *(np.sqrt(((p - theta) ** 2).sum()) for p in points)])
        points.append(points[-1] - far / np.sqrt(sum((g**2).sum() for g in gradients)) * gradients[-1])
        yield points[-1]


def implicit(plain: Plain, batches: Iterable[Rows], theta: Array) -> Iterator[Array]:
    """The proximal point of each batch's loss, found by Newton's method on the coefficients; then the penalty's."""
    squares: list[float] = []
    for t, rows in enumerate(batches, start=1):
        squares += [float(plain.x[i] @ plain.x[i]) for i in rows]
        rate = 4 * len(rows) / (np.mean(squares) * np.sqrt(t))
        theta = _shrunk(plain, proximal_point(plain, rows, theta, rate), rate)
        yield theta


def proximal_point(plain: Plain, rows: Rows, theta: Array, rate: float) -> Array:
    """argmin_w mean over the rows of n s_i loss_i(w) / N, plus |w - theta|^2 / (2 rate)."""
    p, k = theta.shape
    w = theta
    for _ in range(500):
        gradient = (w - theta) / rate + sum(_row_gradient(plain, i, w) for i in rows) / len(rows)
        hessian = np.eye(p * k) / rate
        for i in rows:
            q = _residual(plain, i, w) + plain.target[i]
            variance = np.array([[q[0] * (1 - q[0])]]) if k == 1 else np.diag(q) - np.outer(q, q)
            scale = plain.weight[i] * len(plain.x) / plain.weight.sum() / len(rows)
            hessian += scale * np.kron(np.outer(plain.x[i], plain.x[i]), variance)
        step = -np.linalg.solve(hessian, gradient.reshape(-1)).reshape(p, k)
        reach = max(np.ptp(np.append(plain.x[i] @ step, 0.0 if k == 1 else plain.x[i] @ step)) for i in rows)
        w = w + (np.log1p(reach) / reach if reach > 1e-3 else 1.0) * step
        if reach < 1e-10:
            return w
    raise AssertionError("Newton's method did not settle")


def saga(plain: Plain, batches: Iterable[Rows], theta: Array, rate: float) -> Iterator[Array]:
    """Defazio, Bach and Lacoste-Julien 2014, algorithm 1, with every row's whole gradient in the table."""
    n = len(plain.x)
    table = [_row_gradient(plain, i, theta) for i in range(n)]
    for rows in batches:
        fresh = {i: _row_gradient(plain, i, theta) for i in rows}
        direction = sum(fresh[i] - table[i] for i in rows) / len(rows) + sum(table) / n
        theta = _shrunk(plain, theta - rate * direction, rate)
        for i in rows:
            table[i] = fresh[i]
        yield theta


def saga_rate(plain: Plain, size: int) -> float:
    """1 / (3 L), L the expected smoothness of `size` of the rows without replacement."""
    n = len(plain.x)
    variance = (1 / 4 if plain.target.shape[1] == 1 else 1 / 2) * n / plain.weight.sum()
    each = [variance * s * (x @ x) for s, x in zip(plain.weight, plain.x, strict=True)]
    together = variance * np.linalg.norm(np.sqrt(plain.weight)[:, None] * plain.x, 2) ** 2 / n
    expected = n * (size - 1) / (size * (n - 1)) * together + (n - size) / (size * (n - 1)) * max(each)
    return float(1 / (3 * expected))
