"""Coordinate descent against the optimality conditions in extended precision, and against a slow plain descent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from torchlogit.quadratic import Descent, Factor, RoughFactor, coordinate_descent, factor, rough_factor

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)
INF = np.inf


@dataclass(frozen=True, slots=True)
class Boxed:
    """1/2 x'Hx + linear'x + sum rates |x| within the bounds; `unit`: the roots of H's diagonal, 1 where it is zero."""

    hessian: Array
    linear: Array
    rates: Array
    lower: Array
    upper: Array

    @property
    def unit(self) -> Array:
        diagonal = self.hessian.diagonal()
        return np.sqrt(np.where(diagonal > 0, diagonal, 1))

    def solve(self, start: Array | None = None, *, tol: float = 0.0, max_sweeps: int = 20_000) -> Descent:
        start = np.zeros(len(self.linear)) if start is None else start
        parts = (self.hessian, self.linear, start, self.rates, self.lower, self.upper)
        return coordinate_descent(
            *(torch.from_numpy(np.ascontiguousarray(part)) for part in parts), tol=tol, max_sweeps=max_sweeps
        )

    def distance(self, x: Array) -> float:
        """From -(Hx + linear) to the subdifferential, the largest entry, in units; in extended precision."""
        slope = -(self.hessian.astype(np.longdouble) @ x.astype(np.longdouble) + self.linear)
        low = np.where(x <= self.lower, -INF, np.where(x > 0, self.rates, -self.rates))
        high = np.where(x >= self.upper, INF, np.where(x < 0, -self.rates, self.rates))
        return float((np.maximum(0, np.maximum(low - slope, slope - high)) / self.unit).max())

    def size(self, x: Array) -> float:
        """Of the terms of that gradient, in units."""
        return float((np.abs(x) * self.unit).sum() + (np.abs(self.linear) / self.unit).max())

    def plain_descent(self, sweeps: int) -> Array:
        """One coordinate after the other."""
        x = np.clip(np.zeros(len(self.linear)), self.lower, self.upper)
        for _ in range(sweeps):
            for j, curvature in enumerate(self.hessian.diagonal()):
                pull = curvature * x[j] - self.hessian[j] @ x - self.linear[j]
                peak = np.sign(pull) * max(abs(pull) - self.rates[j], 0) / curvature
                x[j] = min(max(peak, self.lower[j]), self.upper[j])
        return x


def spread(rng: np.random.Generator, rows: int, size: int) -> Array:
    """A table of this many rows; at times with equal, summed, empty or nearly equal columns."""
    x = rng.standard_normal((rows, size))
    if size > 2 and rng.random() < 0.3:
        x[:, 1], x[:, -1] = 2 * x[:, 0], x[:, 0] + x[:, 2]
    if rng.random() < 0.2:
        x = x.cumsum(axis=1)
    if rng.random() < 0.2:
        x += 30 * rng.standard_normal((rows, 1))
    if rng.random() < 0.2:
        x *= rng.random(size) < 0.7
    return x


def bounds(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    """None, a sign, a box around zero for some, a box anywhere or a fixed value for some."""
    lower, upper = np.full(size, -INF), np.full(size, INF)
    kind = rng.integers(4)
    if kind == 1:
        lower[:] = 0
    if kind >= 2:
        lower = np.where(rng.random(size) < 0.5, -rng.random(size) / 2, lower)
        upper = np.where(rng.random(size) < 0.5, rng.random(size) / 2, upper)
    if kind == 3:
        fixed, apart = rng.random(size) < 0.2, rng.random(size) < 0.2
        lower = np.where(apart, 0.1, np.where(fixed, rng.standard_normal(size) / 10, lower))
        upper = np.where(apart, 0.3, np.where(fixed, lower, upper))
    return lower, upper


def problem(seed: int) -> tuple[Boxed, Array]:
    """Any rank, any scales, any rates, and a start."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 40))
    rows = int(rng.integers(0, 2 * size + 1))
    decades = rng.choice([0, 3, 6])
    x = spread(rng, rows, size) * 10 ** rng.uniform(-decades, decades, size)
    scale = 10 ** rng.uniform(-6, 6)
    hessian, linear = x.T @ x, -scale * x.T @ rng.standard_normal(rows)
    unit = np.sqrt(np.where(hessian.diagonal() > 0, hessian.diagonal(), 1))
    rates = rng.choice([0, 1e-6, 0.1, 1], size=size) * rng.random(size) * scale * unit
    lower, upper = (bound * scale / unit for bound in bounds(rng, size))
    start = rng.standard_normal(size) * scale / unit if rng.random() < 0.5 else np.zeros(size)
    return Boxed(hessian, linear, rates, lower, upper), start


@given(seed=seeds)
@example(seed=3)  # these and others go round in circles where a step that was stopped is not followed by another
@example(seed=12)
@example(seed=285)
def test_optimality_conditions_hold_to_rounding(seed: int) -> None:
    boxed, start = problem(seed)
    found = boxed.solve(start)
    x = found.solution.numpy()
    assert found.sweeps < 4000
    assert (x >= boxed.lower).all()
    assert (x <= boxed.upper).all()
    assert boxed.distance(x) <= 1e-14 * boxed.size(x)


def well_conditioned(seed: int) -> Boxed:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 12))
    unit = 10 ** rng.uniform(-6, 6, size)
    x = (rng.standard_normal((4 * size, size)) + rng.standard_normal((4 * size, 1))) * unit
    hessian, linear = x.T @ x, -x.T @ rng.standard_normal(4 * size)
    rates = rng.choice([0, 0.3, 3], size=size) * rng.random(size) * unit
    lower, upper = (bound / unit for bound in bounds(rng, size))
    return Boxed(hessian, linear, rates, lower, upper)


@given(seed=seeds)
def test_agrees_with_plain_descent_in_zeros_bounds_and_values(seed: int) -> None:
    boxed = well_conditioned(seed)
    ours, plain = boxed.solve().solution.numpy(), boxed.plain_descent(400)
    assert np.abs((ours - plain) * boxed.unit).max() <= 1e-12 * boxed.size(plain)
    for at in (np.zeros_like(ours), boxed.lower, boxed.upper):
        clear = (np.abs(plain - at) * boxed.unit > 1e-9) | (plain == at)
        assert ((ours == at) == (plain == at))[clear].all()


@given(seed=seeds)
def test_units_make_no_difference(seed: int) -> None:
    """Powers of two: not a bit."""
    boxed, start = problem(seed)
    unit = 4.0 ** np.random.default_rng(seed).integers(-20, 20, len(start))
    scaled = Boxed(boxed.hessian * unit * unit[:, None], boxed.linear * unit, boxed.rates * unit, boxed.lower / unit,
                   boxed.upper / unit)  # fmt: skip
    flat = boxed.hessian.diagonal() == 0  # has no unit
    ours, other = boxed.solve(start, max_sweeps=60), scaled.solve(start / unit, max_sweeps=60)
    if not flat.any():
        assert np.array_equal(other.solution.numpy() * unit, ours.solution.numpy())
        assert other.violation == ours.violation


@given(seed=seeds, tol=st.sampled_from([0.3, 1e-2, 1e-6]))
def test_ends_at_this_share_of_the_violation_at_the_start(seed: int, tol: float) -> None:
    boxed, start = problem(seed)
    begin = boxed.solve(start, max_sweeps=0)
    found, best = boxed.solve(start, tol=tol), boxed.solve(start)
    assert begin.sweeps == 0
    assert found.violation <= max(tol * begin.violation, 1e-14 * boxed.size(found.solution.numpy()))
    assert found.sweeps <= best.sweeps
    assert found.solution.isfinite().all()


@given(seed=seeds)
def test_a_solution_is_left_alone(seed: int) -> None:
    boxed = well_conditioned(seed)
    best = boxed.solve()
    again = boxed.solve(best.solution.numpy())
    assert again.sweeps <= 50
    assert np.abs((again.solution - best.solution).numpy() * boxed.unit).max() <= 1e-12 * boxed.size(
        best.solution.numpy()
    )


def test_gives_up_after_max_sweeps() -> None:
    boxed, start = problem(3)
    assert boxed.solve(start, max_sweeps=7).sweeps == 7


def test_hundreds_of_columns_nearly_the_same() -> None:
    """A random walk over the columns: plain descent would take tens of thousands of sweeps."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((900, 300)).cumsum(axis=1)
    hessian, linear = x.T @ x, -x.T @ (x[:, ::30].sum(axis=1) + rng.standard_normal(900))
    unit = np.sqrt(hessian.diagonal())
    rates = 1e-4 * np.abs(linear / unit).max() * unit
    boxed = Boxed(hessian, linear, rates, np.full(300, -INF), np.full(300, INF))
    found = boxed.solve()
    x = found.solution.numpy()
    assert found.sweeps <= 2000
    assert boxed.distance(x) <= 1e-14 * boxed.size(x)
    assert 10 <= (x != 0).sum() <= 200
    positive = replace(boxed, rates=0 * rates, lower=np.zeros(300))
    x = positive.solve().solution.numpy()
    assert positive.distance(x) <= 1e-14 * positive.size(x)
    assert (x == 0).any()


def test_a_coordinate_without_curvature_goes_where_its_slope_drives_it() -> None:
    zero = np.zeros(4)
    boxed = Boxed(np.diag(zero), np.array([1.0, -1.0, 0.3, 0.0]), np.array([0.5, 0.5, 0.5, 0.0]), zero - 2, zero + 3)
    assert boxed.solve().solution.tolist() == [-2.0, 3.0, 0.0, 0.0]


def test_no_coordinates() -> None:
    empty = np.zeros(0)
    assert Boxed(np.zeros((0, 0)), empty, empty, empty, empty).solve().solution.shape == (0,)


@pytest.mark.parametrize("part", ["hessian", "linear"])
def test_not_a_number_comes_back_as_such(part: str) -> None:
    boxed = Boxed(np.eye(2), np.ones(2), np.zeros(2), np.full(2, -INF), np.full(2, INF))
    assert np.isnan(replace(boxed, **{part: np.nan * getattr(boxed, part)}).solve().violation)


def test_a_coordinate_of_infinite_curvature_stays_where_it_starts() -> None:
    free, infinite = np.full(2, INF), np.array([[INF, 0.0], [0.0, 2.0]])
    boxed = Boxed(infinite, np.array([1.0, -1.0]), np.zeros(2), -free, free)
    assert boxed.solve(np.array([3.0, 0.0])).solution.numpy() == pytest.approx([3.0, 0.5])
    solution = factor(torch.from_numpy(infinite)).solve(torch.ones(2, 1, dtype=torch.float64))
    assert solution.numpy()[:, 0] == pytest.approx([0.0, 0.5])


@pytest.mark.parametrize("factored", [factor, rough_factor])
def test_a_matrix_with_nan_has_a_factor_of_nan(factored: Callable[[torch.Tensor], Factor | RoughFactor]) -> None:
    matrix = torch.tensor([[1.0, torch.nan], [torch.nan, 1.0]], dtype=torch.float64)
    assert bool(factored(matrix).solve(torch.ones(2, 1, dtype=torch.float64)).isnan().any())
