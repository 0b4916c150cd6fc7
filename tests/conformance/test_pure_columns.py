"""Columns that separate the classes alone, against the definition; and fits of one-hot columns by the ten thousand."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from torchlogit import LogisticRegression
from torchlogit.design import Dense, Sparse
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.pure_columns import pure_columns

Array = NDArray[np.float64]


def by_definition(x: Array, target: Array, weight: Array, free: dict[int, Array]) -> set[tuple[int, int, int]]:
    """(feature, output, sign) where no margin falls along that coefficient, and some margin grows."""
    found = set()
    several = target.shape[1] > 1
    for j, k, sign in product(range(x.shape[1]), range(target.shape[1]), (1, -1)):
        margins = list[float]()
        for i in np.flatnonzero(weight > 0):
            classes = target[i] if several else np.array([1 - target[i, 0], target[i, 0]])
            move = np.zeros(len(classes))
            move[k if several else 1] = sign * x[i, j]
            for own in np.flatnonzero(classes > 0):
                change = move[own] - np.delete(move, own)
                margins += list(change) + (list(-change) if (classes > 0).sum() > 1 and change.any() else [])
        if free[sign][j] and min(margins) >= 0 and max(margins) > 0:
            found.add((j, k, sign))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_agrees_with_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, p, k = int(rng.integers(4, 9)), 6, int(rng.integers(2, 4))
    x = rng.choice([0.0, 0.0, 0.0, 1.0, -1.0, 1e-300], size=(n, p))
    target = np.eye(k)[rng.integers(0, k, n)]
    target[0] = target[0] if seed % 2 else np.ones(k) / k
    target, weight = target[:, (1 if k == 2 else 0) :], rng.integers(0, 2, n) + np.arange(n) % 2.0
    lower, upper = np.where(rng.random(p) < 0.3, 0.0, -np.inf), np.where(rng.random(p) < 0.3, 1.0, np.inf)
    factors = (rng.random(p) < 0.8).astype(float)
    penalty = ElasticNet(factors=torch.tensor(factors), lower=torch.tensor(lower), upper=torch.tensor(upper))
    objective = Objective.of(
        Sparse.of(scipy.sparse.csr_array(x)), torch.tensor(target), loss=loss_for(k), penalty=penalty,
        weight=torch.tensor(weight),
    )  # fmt: skip
    found = pure_columns(objective)
    expected = by_definition(x, target, weight, {1: np.isinf(upper), -1: np.isinf(lower)})
    assert set(() if found is None else found.directions) == expected


def test_a_penalised_column_is_not_named() -> None:
    x, target = torch.eye(2, dtype=torch.float64), torch.tensor([[0.0], [1.0]])
    sparse = Sparse.of(scipy.sparse.csr_array(x.numpy()))
    for penalty in (ElasticNet(l2=1e-6), ElasticNet(l1=1e-6)):
        assert pure_columns(Objective.of(sparse, target, loss=loss_for(2), penalty=penalty)) is None
    assert pure_columns(Objective.of(Dense.of(x), target, loss=loss_for(2), penalty=ElasticNet())) is None


def levels(count: int, rows: int, pure: int) -> tuple[Any, Array]:
    """A one-hot column of `count` levels of `rows` rows each, a numeric column, and y, 0 in all of `pure` levels."""
    rng = np.random.default_rng(0)
    level = np.repeat(np.arange(count), rows)
    y = np.tile(np.arange(rows) % 2, count) * (level >= pure)
    one_hot = scipy.sparse.csr_array((np.ones(len(level)), level, np.arange(len(level) + 1)))
    return scipy.sparse.hstack([one_hot, scipy.sparse.csr_array(rng.normal(size=(len(y), 1)))], format="csr"), y


def test_levels_of_one_class_by_the_ten_thousand_are_named() -> None:
    X, y = levels(10_050, 4, pure=3)
    with pytest.warns(ConvergenceWarning, match=r"told apart for some of the rows by x0 \(-\), x1 \(-\), x2 \(-\), so"):
        fitted = LogisticRegression(l2=0).fit(X, y)
    assert fitted.certificate_.status == "separated"


def test_what_is_advised_for_ten_thousand_columns_helps() -> None:
    X, y = levels(10_050, 4, pure=0)
    advice = r"so many columns without a penalty; no bound is known\. A small penalty \(l2 > 0\) on every column would"
    with pytest.warns(ConvergenceWarning, match=advice):
        unknown = LogisticRegression(l2=0).fit(X, y).certificate_
    assert unknown.status == "uncertifiable"
    assert unknown.bound is None
    helped = LogisticRegression(l2=1e-3).fit(X, y).certificate_
    assert helped.status == "certified"
    assert helped.objective == pytest.approx(unknown.objective, rel=1e-4)
