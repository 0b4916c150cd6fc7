"""Every penalty: its gradient and precision are its derivatives, its Fenchel-Young gap that of its conjugate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from torch import Tensor

import cases
from cases import PENALTIES, PenaltyCase
from torchlogit.errors import InputError
from torchlogit.penalties import L2, NoPenalty, penalty_for

every_penalty = pytest.mark.parametrize("case", PENALTIES, ids=cases.named)
seeds = st.integers(0, 2**32 - 1)


def point(seed: int, size: float = 1.0) -> Tensor:
    return size * torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exact(tensor: Tensor) -> np.ndarray:
    return np.array([[mpf(v) for v in row] for row in tensor.tolist()], dtype=object)


EPS = torch.finfo(torch.float64).eps
NO_ROUNDING = torch.zeros(4, 1, dtype=torch.float64)


@every_penalty
@given(seed=seeds, size=st.sampled_from([1e-6, 1.0, 1e6]))
def test_value_is_that_of_the_definition(case: PenaltyCase, seed: int, size: float) -> None:
    coef = point(seed, size)
    with mp.workdps(50):
        wanted = case.reference.value(exact(coef))
        assert case.penalty.value(coef) == pytest.approx(float(wanted), rel=1e-15)


@every_penalty
@given(seed=seeds)
def test_gradient_is_the_derivative_of_value(case: PenaltyCase, seed: int) -> None:
    coef = point(seed)
    gradient = case.penalty.gradient(coef)
    assert gradient.shape == coef.shape
    with mp.workdps(50):
        at = exact(coef)
        for j in range(4):
            for k in range(3):

                def along(t: mpf, j: int = j, k: int = k, at: np.ndarray = at) -> mpf:
                    moved = at.copy()
                    moved[j, k] = moved[j, k] + t
                    return case.reference.value(moved)

                slope = mp.diff(along, 0)
                assert abs(mpf(float(gradient[j, k])) - slope) <= 1e-15 * abs(slope)


@every_penalty
def test_precision_is_the_derivative_of_gradient(case: PenaltyCase) -> None:
    coef, step = point(0), point(1)
    change = case.penalty.gradient(coef + step) - case.penalty.gradient(coef)
    precision = case.penalty.precision(4)
    assert precision.shape == (4,)
    torch.testing.assert_close(change, precision[:, None] * step, rtol=1e-12, atol=1e-12)
    assert case.reference.curvature() == pytest.approx(float(precision[0]))


@every_penalty
@given(seed=seeds, size=st.sampled_from([1e-8, 1.0, 1e4]))
def test_fenchel_young_is_value_plus_conjugate_less_product(case: PenaltyCase, seed: int, size: float) -> None:
    coef = point(seed)
    dual = case.penalty.gradient(coef) + size * point(seed + 1)
    if not bool((case.penalty.precision(4) > 0).all()):
        dual = torch.zeros_like(dual)
    ours = case.penalty.fenchel_young(coef, dual, NO_ROUNDING)
    with mp.workdps(60):
        w, u = exact(coef), exact(dual)
        wanted = case.reference.value(w) + case.reference.conjugate(u) - (w * u).sum()
        assert wanted >= 0
        # some ulps of dual and gradient may be lost in their difference, or allowed for
        strength = case.reference.strength
        ulps = [5 * EPS * (abs(a) + abs(b * strength)) for a, b in zip(u.ravel(), w.ravel(), strict=True)]
        away = [abs(a - b * strength) for a, b in zip(u.ravel(), w.ravel(), strict=True)]
        slack = sum((d + e) ** 2 - d**2 for d, e in zip(away, ulps, strict=True)) / (2 * strength) if strength else 0
        assert abs(mpf(ours) - wanted) <= 1e-14 * wanted + slack
    assert ours >= 0


@every_penalty
@given(seed=seeds)
def test_fenchel_young_is_zero_at_the_gradient(case: PenaltyCase, seed: int) -> None:
    coef = point(seed)
    nothing = case.penalty.fenchel_young(coef, case.penalty.gradient(coef), NO_ROUNDING)
    assert 0 <= nothing <= (10 * EPS) ** 2 * case.penalty.value(coef)
    if bool((case.penalty.precision(4) > 0).all()):
        assert case.penalty.fenchel_young(coef, case.penalty.gradient(coef) + point(seed + 1), NO_ROUNDING) > 0


@every_penalty
@given(seed=seeds, rounding=st.sampled_from([1e-12, 1e-3, 2.0]))
def test_rounding_gives_an_upper_bound(case: PenaltyCase, seed: int, rounding: float) -> None:
    """For every dual that differs by no more than that."""
    coef, dual = point(seed), point(seed + 1)
    bound = case.penalty.fenchel_young(coef, dual, torch.full((4, 1), rounding, dtype=torch.float64))
    for trial in range(5):
        moved = dual + rounding * point(seed + 2 + trial).clamp(-1, 1)
        assert bound >= case.penalty.fenchel_young(coef, moved, NO_ROUNDING)


@every_penalty
def test_zero_costs_nothing(case: PenaltyCase) -> None:
    zero = torch.zeros(4, 3, dtype=torch.float64)
    assert case.penalty.value(zero) == 0.0
    assert torch.equal(case.penalty.gradient(zero), zero)


def test_penalty_for_a_strength() -> None:
    assert penalty_for(0) == NoPenalty()
    assert penalty_for(0.0) == NoPenalty()
    assert penalty_for(3) == L2(3.0)


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf"), -1e-300])
def test_a_strength_that_is_none_is_refused(strength: float) -> None:
    with pytest.raises(InputError, match="expected a positive finite number"):
        penalty_for(strength)
