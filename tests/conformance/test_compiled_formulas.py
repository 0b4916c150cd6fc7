"""Compiled copies of a loss's formulas agree with losses.py, which tests hold against exact arithmetic.

losses.py keeps a small probability exact, whatever its size, since certificates need it. The loops of streams and of
dual ascent may lose it beside a probability near 1: they are held to an absolute error of a few roundings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import cases
from torchlogit.kernels.dual_loops import solve_residual
from torchlogit.kernels.expert_loops import likelihoods, losses
from torchlogit.kernels.fast_math import exp_below, log1p_unit
from torchlogit.kernels.newton_loops import _curvatures, residuals
from torchlogit.kernels.softmax_loops import solve_softmax
from torchlogit.losses import loss_for
from torchlogit.prediction import log_probabilities, probabilities

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)
UNDERFLOW = 1e-300  # exp_below(-700) stands for all that is smaller


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a formula: its values at (raw, target), and the error that it may have, relative and absolute."""

    name: str
    n_outputs: tuple[int, ...]
    formula: Callable[[Array, Array], Array]
    of_losses: Callable[[Array, Array], Array]
    relative: float
    absolute: float = UNDERFLOW


def value(raw: Array, target: Array) -> Array:
    """The losses, (n,)."""
    return _loss(raw).value(torch.from_numpy(raw), torch.from_numpy(target)).numpy()


def residual(raw: Array, target: Array) -> Array:
    """probability - target, (n, n_outputs)."""
    return _loss(raw).residual(torch.from_numpy(raw), torch.from_numpy(target)).numpy()


def curvature(raw: Array, target: Array) -> Array:
    """The second derivative along every pair of free directions, (n, n_free, n_free)."""
    loss, y = _loss(raw), torch.from_numpy(target)
    r, basis = torch.from_numpy(residual(raw, target)), loss.basis()
    columns = [loss.curvature_product(r, y, direction.expand_as(r)) @ basis for direction in basis.T]
    return torch.stack(columns, dim=2).numpy()


def log_likelihood_ratio(raw: Array, target: Array) -> Array:
    """exp(-(loss - the least of two predictions' losses)), the second one of a raw prediction of zeros, (2, n)."""
    both = np.stack([value(raw, target), value(np.zeros_like(raw), target)])
    return np.exp(-(both - both.min(axis=0)))


def probability(raw: Array, target: Array) -> Array:
    """The probability of every class, (n, n_classes)."""
    if raw.shape[1] > 1:
        return residual(raw, np.zeros_like(raw))
    return np.hstack([-residual(raw, np.ones_like(raw)), residual(raw, np.zeros_like(raw))])


def _loss(raw: Array) -> cases.Loss:
    return loss_for(max(2, raw.shape[1]))


def _compiled_residuals(raw: Array, target: Array) -> Array:
    out = np.empty_like(raw)
    residuals(raw, target, out)
    return out


def _nearest(raw: Array, target: Array) -> Array:
    return np.array([[solve_residual(z, 0.0, 0.0, y)] for z, y in zip(raw[:, 0], target[:, 0], strict=True)])


def _settled(raw: Array, target: Array) -> Array:
    out, step = np.empty_like(raw), np.empty(raw.shape[1])
    for z, found in zip(raw, out, strict=True):
        solve_softmax(z.copy(), 0.0, z, found, step)
    return out - target


def _compiled_losses(raw: Array, target: Array) -> Array:
    out = np.empty(len(raw))
    losses(raw, target, out)
    return out


def _compiled_likelihoods(raw: Array, target: Array) -> Array:
    out = np.stack([_compiled_losses(raw, target), _compiled_losses(np.zeros_like(raw), target)])
    likelihoods(out, np.ones(len(raw)))
    return out


def _compiled_curvatures(raw: Array, target: Array) -> Array:
    basis = _loss(raw).basis().numpy()
    n_free = basis.shape[1]
    out = np.empty((n_free, n_free, len(raw)))
    for k in range(n_free):
        for m in range(n_free):
            _curvatures(residual(raw, target), target, np.ones(len(raw)), basis, k, m, out[k, m])
    return np.moveaxis(out, 2, 0)


COPIES = [
    Copy("streaming Newton's residuals", (1,), _compiled_residuals, residual, 1e-13),
    Copy("streaming Newton's residuals", (3, 5), _compiled_residuals, residual, 1e-13, 2 * EPS),
    Copy("streaming Newton's curvatures", (1,), _compiled_curvatures, curvature, 1e-13, EPS),
    Copy("streaming Newton's curvatures", (3, 5), _compiled_curvatures, curvature, 1e-13, 8 * EPS),
    Copy("dual ascent's residual", (1,), _nearest, residual, 1e-13),
    Copy("softmax ascent's residual", (3, 5), _settled, residual, 1e-13, 2 * EPS),
    Copy("experts' losses", (1,), _compiled_losses, value, 1e-13),
    Copy("experts' losses", (3, 5), _compiled_losses, value, 1e-13, 4 * EPS),
    Copy("experts' likelihoods", (1, 3, 5), _compiled_likelihoods, log_likelihood_ratio, 1e-11),
    Copy("a model file's probabilities", (1, 3, 5), lambda raw, target: probabilities(raw), probability, 1e-13),
]
BY_OUTPUTS = [
    pytest.param(copy, n_outputs, id=f"{copy.name}, {n_outputs}") for copy in COPIES for n_outputs in copy.n_outputs
]


def arguments(n_outputs: int) -> list[tuple[Array, Array]]:
    """Raw predictions, ordinary, tied, far apart and far out, with targets of one class and in between."""
    random = np.random.default_rng(0)
    ordinary = 3 * random.standard_normal((200, n_outputs))
    far = np.zeros((len(FAR) * n_outputs, n_outputs))
    for k in range(n_outputs):
        far[k * len(FAR) : (k + 1) * len(FAR), k] = FAR
    raw = np.vstack([ordinary, np.zeros((4, n_outputs)), far, far + 1e3 if n_outputs > 1 else far])
    labels = random.integers(max(2, n_outputs), size=len(raw))
    hard = np.eye(n_outputs)[labels] if n_outputs > 1 else labels[:, None].astype(float)
    soft = random.dirichlet(np.ones(max(2, n_outputs)), size=len(raw))[:, -n_outputs:]
    return [(raw, hard), (raw, np.ascontiguousarray(soft))]


FAR = [1e-300, 1e-8, -1e-8, 20.0, -20.0, 36.5, 37.5, 40.0, -40.0, 700.0, -700.0, 745.0, -745.0, 1e4, -1e4]


@pytest.mark.parametrize(("copy", "n_outputs"), BY_OUTPUTS)
def test_a_compiled_copy_agrees_with_the_loss(copy: Copy, n_outputs: int) -> None:
    for raw, target in arguments(n_outputs):
        np.testing.assert_allclose(
            copy.formula(raw, target), copy.of_losses(raw, target), rtol=copy.relative, atol=copy.absolute
        )


@pytest.mark.parametrize("n_outputs", [1, 3, 5])
def test_log_probabilities_are_the_losses_of_labels(n_outputs: int) -> None:
    for raw, _ in arguments(n_outputs):
        logs = log_probabilities(raw)
        for k in range(logs.shape[1]):
            label = np.full((len(raw), 1), float(k)) if n_outputs == 1 else np.tile(np.eye(n_outputs)[k], (len(raw), 1))
            np.testing.assert_allclose(-logs[:, k], value(raw, label), rtol=1e-13, atol=4 * EPS)


def test_polynomials_of_exp_and_log1p_are_those_functions() -> None:
    x = -np.concatenate([np.linspace(0, 1, 1001), np.geomspace(1e-300, 700, 2001)])
    np.testing.assert_allclose([exp_below(z) for z in x], np.exp(x), rtol=1e-14)
    assert exp_below(-1e4) == exp_below(-700.0) < 1e-300
    e = np.concatenate([np.linspace(0, 1, 1001), np.geomspace(1e-300, 1, 2001)])
    np.testing.assert_allclose([log1p_unit(z) for z in e], np.log1p(e), rtol=1e-13)
