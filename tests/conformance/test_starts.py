"""Fits from bad starts: offsets and starts that predict every row with certainty, right or wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from numpy.typing import NDArray

from torchlogit import LogisticRegression
from torchlogit.design import Dense
from torchlogit.losses import Logistic, Softmax
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet

Array = NDArray[np.float64]
N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 1))
Y = (RNG.random(N) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
CLASSES = RNG.integers(0, 3, N)
PENALTIES: list[dict[str, float]] = [{"l1": 0, "l2": 0}, {"l1": 0, "l2": 1}, {"l1": 1, "l2": 0}, {"l1": 1, "l2": 0.1}]


def fitted(y: Array, offset: Array, **settings: Any) -> LogisticRegression:
    return LogisticRegression(**settings).fit(X, y, offset=offset)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("level", [40.0, 720.0, 1000.0, -1000.0, 1e5])
def test_a_constant_offset_moves_the_intercept_alone(penalty: dict[str, float], level: float) -> None:
    without, shifted = (fitted(Y, np.full(N, value), **penalty) for value in (0.0, level))
    assert shifted.certificate_.status == "certified"
    assert shifted.certificate_.objective == pytest.approx(without.certificate_.objective, rel=1e-9)
    assert shifted.coef_ == pytest.approx(without.coef_, rel=1e-5)
    assert shifted.intercept_ + level == pytest.approx(without.intercept_, rel=1e-5)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_an_offset_of_one_class(penalty: dict[str, float]) -> None:
    without, shifted = (fitted(CLASSES, value * np.eye(3)[[0] * N], **penalty) for value in (0.0, 1000.0))
    assert shifted.certificate_.status == "certified"
    assert shifted.certificate_.objective == pytest.approx(without.certificate_.objective, rel=1e-7)


def minimum_in_line(offset: Array, l1: float, l2: float, intercept: bool) -> float:
    """The minimum of F by nested golden sections, F being convex in the coefficient and in the intercept."""

    def objective(coef: float, constant: float) -> float:
        losses = np.logaddexp(0, offset + coef * X[:, 0] + constant) - Y * (offset + coef * X[:, 0] + constant)
        return float(losses.sum()) + l1 * abs(coef) + l2 / 2 * coef**2

    def best(coef: float) -> float:
        if not intercept:
            return objective(coef, 0.0)
        return float(scipy.optimize.minimize_scalar(lambda b: objective(coef, b), (-1100, 1100), tol=1e-13).fun)

    return float(scipy.optimize.minimize_scalar(best, (-1000, 1000), tol=1e-12).fun)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "no intercept"])
def test_offsets_of_a_thousand_on_both_sides(penalty: dict[str, float], intercept: bool) -> None:
    """Most rows are predicted wrongly with certainty, at the start and at the optimum."""
    offset = np.where(np.random.default_rng(1).random(N) < 0.5, 1000.0, -1000.0)
    found = fitted(Y, offset, fit_intercept=intercept, **penalty).certificate_
    assert found.status == "certified"
    assert found.objective == pytest.approx(minimum_in_line(offset, **penalty, intercept=intercept), rel=2e-6)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_no_intercept_takes_up_a_constant_offset(penalty: dict[str, float]) -> None:
    offset = np.full(N, 1000.0)
    found = fitted(Y, offset, fit_intercept=False, **penalty).certificate_
    assert found.status == "certified"
    assert found.objective == pytest.approx(minimum_in_line(offset, **penalty, intercept=False), rel=2e-6)


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_offsets_of_a_thousand_for_several_classes(penalty: dict[str, float]) -> None:
    offset = np.random.default_rng(2).normal(size=(N, 3)) * 1000
    assert fitted(CLASSES, offset, **penalty).certificate_.status == "certified"


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("size", [1e3, 1e5, 1e300])
def test_a_start_that_predicts_with_certainty(penalty: dict[str, float], size: float) -> None:
    model = LogisticRegression(warm_start=True, **penalty).fit(X, Y)
    expected = model.certificate_.objective
    for intercept in (-size, size):
        model.coef_, model.intercept_ = np.array([[size]]), np.array([intercept])
        assert model.fit(X, Y).certificate_.status == "certified"
        assert model.certificate_.objective == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*not certified")
@pytest.mark.filterwarnings("ignore:.*separated")
@pytest.mark.parametrize("seed", range(20))
def test_no_numbers_end_in_nan(seed: int) -> None:
    """Offsets and columns of any size, many rows hopeless: a finite objective, no worse than the empty model's."""
    rng = np.random.default_rng(seed)
    n, p, k = 40, 3, int(rng.integers(2, 5))
    x = rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-8, 8, p)
    offset = rng.normal(size=(n, k) if k > 2 else n) * 10.0 ** rng.uniform(0, 200)
    y = np.append(np.arange(k), rng.integers(0, k, n - k))
    penalty = PENALTIES[seed % len(PENALTIES)]
    model = LogisticRegression(**penalty, fit_intercept=bool(seed % 3), max_iter=30).fit(x, y, offset=offset)
    assert np.isfinite(model.certificate_.objective)
    assert np.isfinite(model.coef_).all()


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("size", [0.0, 1.0, 1000.0])
def test_the_empty_model_with_an_offset(k: int, size: float) -> None:
    """The intercept of `start` is the best one: no direction lowers the losses by more than rounding."""
    rng = np.random.default_rng(k)
    offset = torch.from_numpy(rng.normal(size=(N, k if k > 2 else 1)) * size)
    target = torch.from_numpy(np.eye(k)[rng.integers(0, k, N)])[:, (0 if k > 2 else 1) :]
    loss = Softmax(k) if k > 2 else Logistic()
    design, weight = Dense.of(torch.from_numpy(X)), torch.from_numpy(rng.random(N) + 0.5)
    objective = Objective.of(design, target, loss=loss, penalty=ElasticNet(), weight=weight, offset=offset)
    theta = objective.start()
    value = objective.value(theta, objective.raw(theta))
    for direction in torch.cat([loss.basis().T, -loss.basis().T]):
        for step in (1e-2, 1.0, 100.0):
            moved = theta.clone()
            moved[-1] += step * direction
            assert objective.value(moved, objective.raw(moved)) >= value * (1 - (1e-9 if k == 2 else 2e-3))


@pytest.mark.parametrize("scale", [1e-200, 1e-160])
@pytest.mark.parametrize("all_columns", [False, True])
def test_columns_whose_squares_underflow(scale: float, all_columns: bool) -> None:
    second = np.random.default_rng(3).normal(size=(N, 1))
    expected = LogisticRegression(l2=0).fit(np.hstack([X, second]), Y)
    scales = np.array([scale if all_columns else 1.0, scale])
    found = LogisticRegression(l2=0).fit(np.hstack([X, second]) * scales, Y)
    assert found.certificate_.status == "certified"
    assert found.coef_ * scales == pytest.approx(expected.coef_, rel=1e-5)


@pytest.mark.filterwarnings("ignore:.*not certified")
@pytest.mark.filterwarnings("ignore:.*separated")
def test_coefficients_beyond_the_range_of_floats_end_at_its_largest() -> None:
    fitted = LogisticRegression(l2=0).fit(X * 1e-315, Y)
    assert np.isfinite(fitted.coef_).all()
    assert np.isfinite(fitted.certificate_.objective)
