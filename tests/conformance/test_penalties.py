"""Every penalty against its definition: derivatives, proximal point, the conjugate's domain, the Fenchel-Young gap."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from torch import Tensor

import cases
from cases import N_FEATURES, PENALTIES, SMOOTH, PenaltyCase
from profiles import examples
from torchlogit.errors import InputError
from torchlogit.penalties import ElasticNet, clipped

every_penalty = pytest.mark.parametrize("case", PENALTIES, ids=cases.named)
seeds = st.integers(0, 2**32 - 1)
sizes = st.sampled_from([1e-12, 1e-6, 1.0, 1e4])

EPS = torch.finfo(torch.float64).eps
NO_ROUNDING = torch.zeros(N_FEATURES, 1, dtype=torch.float64)
INF = math.inf


def point(seed: int, size: float = 1.0) -> Tensor:
    return size * torch.randn(N_FEATURES, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def columns(values: tuple[Tensor, Tensor]) -> list[Tensor]:
    return [value[:, None] for value in values]


def feasible(case: PenaltyCase, seed: int, size: float = 1.0) -> Tensor:
    """Within the bounds; some coefficients zero, some on a bound."""
    coef = point(seed, size)
    coef[point(seed + 1) > 1] = 0
    return clipped(coef, *columns(case.penalty.box(N_FEATURES)))


def within_range(case: PenaltyCase, dual: Tensor) -> Tensor:
    return clipped(dual, *columns(case.penalty.dual_range(N_FEATURES)))


def subgradient(case: PenaltyCase, coef: Tensor, seed: int) -> Tensor:
    """Of the penalty without its bounds, any of them where a coefficient is zero."""
    rate = case.penalty.l1_rates(N_FEATURES)[:, None]
    slope = torch.where(coef == 0, point(seed).clamp(-1, 1), coef.sign())
    return within_range(case, case.penalty.gradient(coef) + rate * slope)


def exact(tensor: Tensor) -> np.ndarray:
    return np.array([[mpf(v) for v in row] for row in tensor.tolist()], dtype=object)


def gap(case: PenaltyCase, coef: np.ndarray, dual: np.ndarray) -> Any:
    """Omega(coef) + Omega*(dual) - <coef, dual>."""
    return case.reference.value(coef) + case.reference.conjugate(dual) - (coef * dual).sum()


def widest(case: PenaltyCase, coef: np.ndarray, dual: np.ndarray, slack: np.ndarray) -> Any:
    """The sum over coefficients of the largest gap at duals within slack, no further out than Omega* is finite."""
    low, high = case.penalty.dual_range(N_FEATURES)
    total = mpf(0)
    for j, row in enumerate(coef):
        phi = case.reference.feature(j, mpf(0))
        for w, u, e in zip(row, dual[j], slack[j], strict=True):
            ends = (min(max(end, mpf(low[j].item())), mpf(high[j].item())) for end in (u - e, u + e))
            total += max(phi.value(w) + phi.conjugate(end) - w * end for end in ends)
    return total


# -- value and derivatives --------------------------------------------------------------------------


@every_penalty
@examples(6)
@given(seed=seeds, size=st.sampled_from([1e-6, 1.0, 1e6]))
def test_value_is_that_of_the_definition(case: PenaltyCase, seed: int, size: float) -> None:
    coef = feasible(case, seed, size)
    with mp.workdps(50):
        wanted = case.reference.value(exact(coef))
        assert case.penalty.value(coef) == pytest.approx(float(wanted), rel=2e-15)


@every_penalty
@examples(6)
@given(seed=seeds)
def test_gradient_is_the_derivative_of_the_quadratic_part(case: PenaltyCase, seed: int) -> None:
    coef = point(seed)
    gradient = case.penalty.gradient(coef)
    assert gradient.shape == coef.shape
    with mp.workdps(50):
        at = exact(coef)
        for j in range(N_FEATURES):
            for k in range(3):

                def along(t: mpf, j: int = j, k: int = k, at: np.ndarray = at) -> mpf:
                    moved = at.copy()
                    moved[j, k] = moved[j, k] + t
                    return case.reference.smooth_value(moved)

                slope = mp.diff(along, 0)
                assert abs(mpf(float(gradient[j, k])) - slope) <= 4 * EPS * abs(slope)


@every_penalty
def test_rates_precision_and_box_are_those_of_the_definition(case: PenaltyCase) -> None:
    rates, precision = case.penalty.l1_rates(N_FEATURES), case.penalty.precision(N_FEATURES)
    lower, upper = case.penalty.box(N_FEATURES)
    for j in range(N_FEATURES):
        phi = case.reference.feature(j)
        assert rates[j] == pytest.approx(phi.rate)
        assert precision[j] == pytest.approx(phi.precision)
        assert (float(lower[j]), float(upper[j])) == (phi.lower, phi.upper)
    for part in (rates, precision, lower, upper):
        assert part.shape == (N_FEATURES,)
        assert part.dtype == torch.float64


def test_only_those_without_kinks_and_bounds_are_smooth() -> None:
    assert [case.name for case in SMOOTH] == [
        "none", "l2", "tiny l2", "large l2", "l2, factors", "l2, factors, ridge"
    ]  # fmt: skip
    assert ElasticNet(l1=1.0, factors=torch.zeros(2)).smooth
    assert ElasticNet(lower=torch.tensor([-INF])).smooth
    assert not ElasticNet(upper=torch.tensor([INF, 3.0])).smooth


@every_penalty
@examples(6)
@given(seed=seeds)
def test_plus_adds_a_ridge(case: PenaltyCase, seed: int) -> None:
    coef, ridge = feasible(case, seed), point(seed + 1)[:, 0].abs()
    once = case.penalty.plus(ridge)
    twice = once.plus(ridge)
    added = float((ridge[:, None] * coef.square()).sum())
    assert once.value(coef) == pytest.approx(case.penalty.value(coef) + added / 2)
    assert twice.value(coef) == pytest.approx(case.penalty.value(coef) + added)
    torch.testing.assert_close(twice.precision(N_FEATURES), case.penalty.precision(N_FEATURES) + 2 * ridge)
    assert torch.equal(once.l1_rates(N_FEATURES), case.penalty.l1_rates(N_FEATURES))


# -- the proximal point -----------------------------------------------------------------------------


@every_penalty
@pytest.mark.parametrize("step", [1e-3, 1.0, 50.0])
def test_prox_is_the_minimiser_found_by_search(case: PenaltyCase, step: float) -> None:
    coef = 2 * point(0)
    ours = case.penalty.prox(coef, step)
    with mp.workdps(60):
        wanted = case.reference.prox(exact(coef), mpf(step))
        for mine, other in zip(ours.ravel().tolist(), wanted.ravel(), strict=True):
            assert mine == pytest.approx(float(other), rel=1e-14, abs=1e-25)
    assert torch.equal(ours, clipped(ours, *columns(case.penalty.box(N_FEATURES))))
    stacked = case.penalty.prox(coef, torch.full((N_FEATURES, 1), step, dtype=torch.float64))
    assert torch.equal(stacked, ours)


def test_prox_gives_exact_zeros_and_bounds() -> None:
    coef = torch.tensor([[0.3, -0.3, 0.7, -9.0]], dtype=torch.float64)
    penalty = ElasticNet(l1=0.1, l2=3.0, lower=torch.tensor([-1.0]), upper=torch.tensor([0.125]))
    assert penalty.prox(coef, 3.0)[0, :2].tolist() == [0.0, 0.0]
    assert penalty.prox(coef, 0.1)[0, 2:].tolist() == [0.125, -1.0]


# -- the conjugate ----------------------------------------------------------------------------------


@every_penalty
def test_the_dual_range_is_where_the_conjugate_is_finite(case: PenaltyCase) -> None:
    low, high = case.penalty.dual_range(N_FEATURES)
    for j in range(N_FEATURES):
        phi = case.reference.feature(j)
        for end, outwards in ((float(low[j]), -INF), (float(high[j]), INF)):
            if math.isinf(end):
                assert end == outwards
                assert math.isfinite(phi.conjugate(math.copysign(1e9, outwards)))
            else:
                assert math.isfinite(phi.conjugate(end))
                assert phi.conjugate(math.nextafter(end, outwards)) == INF


@every_penalty
@examples(6)
@given(seed=seeds, size=sizes)
def test_fenchel_young_is_value_plus_conjugate_less_product(case: PenaltyCase, seed: int, size: float) -> None:
    """And some ulps of the dual and of the penalty's derivative more, but nothing that cancels."""
    coef = feasible(case, seed)
    dual = within_range(case, subgradient(case, coef, seed + 2) + size * point(seed + 3))
    ours = case.penalty.fenchel_young(coef, dual, NO_ROUNDING)
    terms = dual.abs() + case.penalty.l1_rates(N_FEATURES)[:, None] + case.penalty.gradient(coef).abs()
    with mp.workdps(60):
        w, u = exact(coef), exact(dual)
        assert 0 <= gap(case, w, u) <= mpf(ours) * (1 + mpf(4 * EPS))
        assert ours <= (1 + mpf(1e-14)) * widest(case, w, u, exact(5 * EPS * terms))


@every_penalty
@examples(6)
@given(seed=seeds, size=sizes)
def test_fenchel_young_is_nothing_at_a_subgradient(case: PenaltyCase, seed: int, size: float) -> None:
    coef = feasible(case, seed)
    ours = case.penalty.fenchel_young(coef, subgradient(case, coef, seed + 2), NO_ROUNDING)
    order = 1 if bool((case.penalty.l1_rates(N_FEATURES) > 0).any()) else 2
    assert 0 <= ours <= (10 * EPS) ** order * case.penalty.value(coef)


@every_penalty
@examples(6)
@given(seed=seeds, size=sizes)
def test_a_dual_that_pushes_against_a_bound_costs_nothing(case: PenaltyCase, seed: int, size: float) -> None:
    coef = feasible(case, seed)
    lower, upper = columns(case.penalty.box(N_FEATURES))
    push = torch.where(coef == upper, 1.0, 0.0) - torch.where(coef == lower, 1.0, 0.0)
    push = torch.where(lower == upper, point(seed + 3), push * point(seed + 3).abs())
    dual = subgradient(case, coef, seed + 2)
    free = case.penalty.fenchel_young(coef, dual, NO_ROUNDING)
    pushed = case.penalty.fenchel_young(coef, within_range(case, dual + size * push), NO_ROUNDING)
    assert pushed <= free + 20 * EPS * (case.penalty.value(coef) + size * float((push * coef).abs().sum()))


@every_penalty
@examples(6)
@given(seed=seeds, rounding=st.sampled_from([1e-12, 1e-3, 2.0]))
def test_rounding_gives_an_upper_bound(case: PenaltyCase, seed: int, rounding: float) -> None:
    """For every dual that differs by no more than that."""
    coef, dual = feasible(case, seed), within_range(case, point(seed + 2))
    bound = case.penalty.fenchel_young(coef, dual, torch.full((N_FEATURES, 1), rounding, dtype=torch.float64))
    for trial in range(5):
        moved = within_range(case, dual + rounding * point(seed + 3 + trial).clamp(-1, 1))
        with mp.workdps(60):
            assert mpf(bound) * (1 + mpf(4 * EPS)) >= gap(case, exact(coef), exact(moved))


@every_penalty
@examples(6)
@given(seed=seeds)
def test_a_dual_out_of_range_is_infinite_where_more_than_rounding(case: PenaltyCase, seed: int) -> None:
    coef, dual = feasible(case, seed), within_range(case, point(seed + 2))
    low, high = case.penalty.dual_range(N_FEATURES)
    rounding = torch.full((N_FEATURES, 1), 1e-9, dtype=torch.float64)
    assert math.isfinite(case.penalty.fenchel_young(coef, dual, rounding))
    for j in range(N_FEATURES):
        if low[j] == high[j] or math.isinf(high[j]):
            continue
        beyond = dual.clone()
        beyond[j, 1] = high[j] + 3e-9
        assert math.isfinite(case.penalty.fenchel_young(coef, beyond, rounding))
        beyond[j, 1] = high[j] + 1e-6
        assert case.penalty.fenchel_young(coef, beyond, rounding) == INF


@given(seed=seeds)
def test_free_columns_add_nothing_whatever_their_dual(seed: int) -> None:
    assert ElasticNet().fenchel_young(point(seed), point(seed + 1), NO_ROUNDING) == 0.0


@pytest.mark.parametrize("case", [case for case in PENALTIES if "box" not in case.name], ids=cases.named)
def test_zero_costs_nothing(case: PenaltyCase) -> None:
    zero = torch.zeros(N_FEATURES, 3, dtype=torch.float64)
    assert case.penalty.value(zero) == 0.0
    assert torch.equal(case.penalty.gradient(zero), zero)


# -- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["l1", "l2"])
@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf"), -1e-300])
def test_a_strength_that_is_none_is_refused(name: str, strength: float) -> None:
    with pytest.raises(InputError, match=f"{name}={strength}: expected a positive finite number"):
        ElasticNet(**{name: strength})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"factors": [1.0, -1.0]}, "factors: expected finite numbers, none negative"),
        ({"factors": [1.0, INF]}, "factors: expected finite numbers, none negative"),
        ({"ridge": [math.nan]}, "ridge: expected finite numbers, none negative"),
        ({"lower": [0.0, math.nan]}, "lower: expected numbers, not NaN and not inf"),
        ({"lower": [0.0, INF]}, "lower: expected numbers, not NaN and not inf"),
        ({"upper": [-INF]}, "upper: expected numbers, not NaN and not -inf"),
        ({"lower": [0.0, 2.0], "upper": [0.0, 1.5]}, "bounds of feature 1: lower 2 is above upper 1.5"),
        ({"lower": [0.0], "upper": [0.0, 1.5]}, "shapes lower (1,), upper (2,): expected one number for each"),
        ({"factors": [[0.0], [1.0]]}, "shapes factors (2, 1): expected one number for each"),
    ],
)
def test_numbers_that_make_no_penalty_are_refused(given: dict[str, list[float]], message: str) -> None:
    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in given.items()}
    with pytest.raises(InputError) as caught:
        ElasticNet(**tensors)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_penalty_for_other_features_is_refused() -> None:
    penalty = ElasticNet(l2=1.0, factors=torch.ones(3))
    with pytest.raises(InputError, match="penalty with 3 factors or bounds: the data has 4 features"):
        penalty.value(point(0))
