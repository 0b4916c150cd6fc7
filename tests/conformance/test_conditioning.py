"""Columns far from zero, of tiny values, or constant: the parameters returned are the point that was certified."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

from profiles import examples
from torchlogit import LogisticRegression
from torchlogit.conditioning import Conditioning, intercept_at
from torchlogit.records import Status

floats = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.tuples(floats, st.floats(1e3, 1e17)), min_size=1, max_size=4), floats)
@examples(50)
def test_parameters_survive_the_way_there_and_back(columns: list[tuple[float, float]], intercept: float) -> None:
    coef, center = (np.array(part) for part in zip(*columns, strict=True))
    conditioning = Conditioning(center, np.ones(len(center)))
    own_coef, own_intercept = conditioning.own(coef[:, None], np.array([intercept]))
    exact = Fraction(own_intercept[0]) + sum(
        (Fraction(w) * Fraction(c) for w, c in zip(own_coef[:, 0].tolist(), center.tolist(), strict=True)), Fraction(0)
    )
    assert float(exact) == intercept_at(center, own_coef, own_intercept)[0]
    again = conditioning.conditioned(own_coef, own_intercept)
    assert np.array_equal(again[0], own_coef)
    assert again[1][0] == float(exact)
    unit = np.spacing(np.abs(own_intercept[0])) + np.spacing(abs(intercept))
    assert abs(float(exact - Fraction(intercept))) <= unit
    assert own_coef[:, 0] == pytest.approx(coef, rel=1e-13)


def exact_gap(model: LogisticRegression, X: Any, y: Any, l2: float) -> tuple[mpf, mpf]:
    """F at the parameters returned, and min F, for one column, by Newton's method with 120 digits."""
    with mp.workdps(120):
        x = [mpf(float(v)) for v in np.asarray(X)[:, 0]]
        middle = sum(x) / len(x)
        width = max(abs(v - middle) for v in x) or mpf(1)
        t = [(v - middle) / width for v in x]
        label = [int(v) for v in y]

        def value(a: mpf, b: mpf) -> mpf:
            losses = (mp.log1p(mp.exp(-(2 * k - 1) * (a * v + b))) for v, k in zip(t, label, strict=True))
            return mp.fsum(losses) + l2 / 2 * (a / width) ** 2

        a, b = mpf(float(model.coef_[0, 0])) * width, mpf(float(model.intercept_[0]))
        b += mpf(float(model.coef_[0, 0])) * middle
        returned = value(a, b)
        for _ in range(12):
            p = [1 / (1 + mp.exp(-(a * v + b))) for v in t]
            c = [q * (1 - q) for q in p]
            g = mp.matrix([mp.fsum((q - k) * v for q, k, v in zip(p, label, t, strict=True)) + l2 * a / width**2,
                           mp.fsum(q - k for q, k in zip(p, label, strict=True))])  # fmt: skip
            cross = mp.fsum(w * v for w, v in zip(c, t, strict=True))
            square = mp.fsum(w * v * v for w, v in zip(c, t, strict=True)) + l2 / width**2
            h = mp.matrix([[square, cross], [cross, mp.fsum(c)]])
            step = mp.lu_solve(h, -g)
            a, b = a + step[0], b + step[1]
        return returned, value(a, b)


FAR = {
    "seconds": (1.7e9, 3e4), "seconds, nearly the same": (1.7e9, 1e-4), "a millionth": (1.7e9, 1e-6),
    "account numbers": (1e15, 10.0), "nanoseconds": (1.7e18, 1e12), "coordinates": (5.4e6, 100.0),
}  # fmt: skip


@pytest.mark.parametrize("name", FAR)
@pytest.mark.parametrize("l2", [0.0, 1.0])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_the_bound_is_that_of_the_parameters_returned(name: str, l2: float, form: str) -> None:
    mean, spread = FAR[name]
    rng = np.random.default_rng(3)
    x = (mean + spread * rng.standard_normal(40))[:, None]
    y = rng.random(40) < 1 / (1 + np.exp(-(x[:, 0] - mean) / spread))
    model = LogisticRegression(l2=l2).fit(x if form == "dense" else scipy.sparse.csr_array(x), y)
    assert model.certificate_.bound is not None
    returned, least = exact_gap(model, x, y, l2)
    assert returned - least <= model.certificate_.bound
    with mp.workdps(60):
        w, b = mpf(float(model.coef_[0, 0])), mpf(float(model.intercept_[0]))
        exact = [float(mpf(float(v)) * w + b) for v in x[:, 0]]
    assert model.decision_function(x) == pytest.approx(exact, rel=1e-9, abs=1e-9)
    assert model.decision_function(torch.from_numpy(x)).numpy() == pytest.approx(exact, rel=1e-9, abs=1e-9)
    assert model.decision_function(scipy.sparse.csr_array(x)) == pytest.approx(exact, rel=1e-9, abs=1e-9)


def test_account_numbers_in_order() -> None:
    x = (1e15 + np.arange(40.0))[:, None]
    y = np.random.default_rng(0).random(40) < 1 / (1 + np.exp(-(np.arange(40) - 20) / 5))
    model = LogisticRegression(l2=0).fit(x, y)
    returned, least = exact_gap(model, x, y, 0.0)
    assert model.certificate_.bound is not None
    assert returned - least <= model.certificate_.bound


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("factors", [None, [1.0, 0.0]])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("constant", [3.7, 0.1, 1e9 / 3])
def test_a_constant_column_has_coefficient_zero(form: str, factors: Any, n_classes: int, constant: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    y = (rng.random(60) < 1 / (1 + np.exp(-x))).astype(int) + (n_classes == 3) * rng.integers(0, 2, 60)
    table = np.c_[x, np.full(60, constant)]
    model = LogisticRegression(l2=0.0 if factors is None else 1.0, penalty_factors=factors)
    model.fit(table if form == "dense" else scipy.sparse.csr_array(table), y)
    alone = LogisticRegression(l2=0.0 if factors is None else 1.0).fit(table[:, :1], y)
    assert model.certificate_.status is Status.CERTIFIED
    assert not model.coef_[:, 1].any()
    assert model.coef_[:, 0] == pytest.approx(alone.coef_[:, 0], rel=1e-3, abs=1e-3)


def test_a_column_whose_spread_is_below_rounding_is_constant() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    y = (rng.random(60) < 1 / (1 + np.exp(-x))).astype(int)
    noisy = np.where(y == 1, 3.7, np.nextafter(3.7, 4))
    model = LogisticRegression(l2=0).fit(np.c_[x, noisy], y)
    assert not model.coef_[:, 1].any()


@pytest.mark.parametrize("size", [1e-120, 1e-160, 1e-200, 1e-300])
@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_columns_of_tiny_values(size: float, others: bool, n_classes: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 2))
    y = (rng.random(80) < 1 / (1 + np.exp(-x[:, 0]))).astype(int) + (n_classes == 3) * rng.integers(0, 2, 80)
    scale = np.array([size, 1.0 if others else size])
    model = LogisticRegression(l2=0).fit(x * scale, y)
    plain = LogisticRegression(l2=0).fit(x, y)
    assert model.certificate_.status is Status.CERTIFIED
    assert model.coef_ * scale == pytest.approx(plain.coef_, rel=1e-3, abs=1e-3)
    for penalty in ({"l2": 1.0}, {"l1": 1.0}):
        assert LogisticRegression(**penalty).fit(x * scale, y).certificate_.status is Status.CERTIFIED


def test_bounds_hold_exactly_where_columns_are_conditioned() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=30), np.random.default_rng(1).random(30) < 0.5
    model = LogisticRegression(l2=0, bounds=(1, 2)).fit(np.c_[x, np.full(30, 3.7)], y)
    assert ((model.coef_ >= 1) & (model.coef_ <= 2)).all()
    assert model.certificate_.status is Status.CERTIFIED
    model = LogisticRegression(l2=0, bounds=(-0.1, 0.1)).fit((x + 1e9)[:, None], y)
    assert (np.abs(model.coef_) <= 0.1).all()
