"""Leaving rows out, one after the other: by fitting the others, and by one Newton step from the fit of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reference.objective import Array, Plain, optimum


def without(plain: Plain, row: int, unit: Array) -> Plain:
    """The problem with so much less weight on a row."""
    weight = plain.weight.copy()
    weight[row] -= unit[row]
    return replace(plain, weight=weight)


def refitted(plain: Plain, unit: Array) -> Array:
    """Every row's loss in the fit that has not seen it (or this unit of its weight), (n,)."""
    return np.array(
        [float(plain.losses(plain.raw(optimum(without(plain, i, unit)).theta))[i]) for i in range(len(plain.x))]
    )


def stepped(plain: Plain, theta: Array, unit: Array) -> Array:
    """The same where Newton's first step from theta, the optimum with all rows, stands for the fit without one."""
    losses = []
    for i in range(len(plain.x)):
        less = without(plain, i, unit)
        slope = -unit[i] * plain.x[i][:, None] * plain.residual(plain.raw(theta))[i]
        n, p, k = len(plain.x), *theta.shape
        assert n == len(less.weight)
        basis = less.basis()
        hessian = np.einsum("kalb,kf,lg->fagb", less.hessian(theta), basis, basis).astype(float)
        size = basis.shape[1] * p
        free = -np.linalg.solve(hessian.reshape(size, size), (slope @ basis).T.reshape(-1).astype(float))
        moved = theta + free.reshape(-1, p).T @ basis.T
        assert moved.shape == (p, k)
        losses.append(float(plain.losses(plain.raw(moved))[i]))
    return np.array(losses)


def degrees_of_freedom(plain: Plain, theta: Array) -> float:
    """tr(H^-1 (H - penalty)) in free coordinates."""
    basis = plain.basis()
    size = basis.shape[1] * len(theta)
    hessian = np.einsum("kalb,kf,lg->fagb", plain.hessian(theta), basis, basis).astype(float).reshape(size, size)
    penalty = np.diag(np.tile(plain.precision.astype(float), basis.shape[1]))
    return float(np.trace(np.linalg.solve(hessian, hessian - penalty)))
