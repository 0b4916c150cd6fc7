"""Problems that are right and have to be certified: penalties lost in rounding, large raw columns, outliers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from torchlogit import LogisticRegression
from torchlogit.records import Status

Table = tuple[NDArray[np.float64], NDArray[Any]]


def labelled(x: NDArray[np.float64], seed: int = 1) -> Table:
    """The column beside a normal one, and labels that depend on its ranks."""
    rng = np.random.default_rng(seed)
    rank = x.argsort().argsort() / len(x) - 0.5
    return np.c_[x, rng.standard_normal(len(x))], (rng.random(len(x)) < 1 / (1 + np.exp(-2 * rank))).astype(int)


def column(name: str) -> Table:
    rng = np.random.default_rng(0)
    n = 400
    columns = {
        "lognormal with a median of 1e9": 1e9 * np.exp(rng.standard_normal(n)),
        "bytes": np.floor(1e12 * rng.random(n)),
        "gross domestic products": 1e13 * rng.random(n) ** 4,
        "microseconds since 1970": 1.7e15 + 1e10 * rng.random(n),
        "seconds since 1970": 1.7e9 + 1e4 * rng.random(n),
        "size 1e5": 1e5 * rng.standard_normal(n),
        "an outlier of 1e6": np.r_[rng.standard_normal(n - 1), 1e6],
    }
    return labelled(columns[name])


CERTIFIED = [
    ("lognormal with a median of 1e9", {"l2": 1.0}),
    ("bytes", {"l2": 1.0}),
    ("gross domestic products", {"l2": 1.0}),
    ("microseconds since 1970", {"l2": 1.0}),
    ("seconds since 1970", {"l1": 1.0}),
    ("size 1e5", {"l2": 1e-12}),
    ("an outlier of 1e6", {"l2": 0.0}),
]


@pytest.mark.parametrize(("name", "penalty"), CERTIFIED)
@pytest.mark.parametrize("several", [False, True])
def test_a_penalty_lost_in_rounding_does_not_spoil_the_bound(name: str, penalty: Any, several: bool) -> None:
    X, y = column(name)
    y = y + several * (np.arange(len(y)) % 3 == 0)
    model = LogisticRegression(**penalty).fit(X, y)
    certificate = model.certificate_
    assert certificate.status is Status.CERTIFIED, certificate.message
    assert certificate.bound is not None
    assert certificate.bound <= 1e-6 * certificate.objective


def test_iris_with_next_to_no_penalty() -> None:
    """F = 5.949; the penalty's part of the gap was 16,769 nats, and the true gap 6e-21."""
    X, y = load_iris(return_X_y=True)
    certificate = LogisticRegression(l2=1e-10).fit(X, y).certificate_
    assert certificate.status is Status.CERTIFIED, certificate.message
    assert certificate.objective == pytest.approx(5.949, abs=1e-3)


@pytest.mark.parametrize("max_iter", [1, 3])
@pytest.mark.parametrize("l2", [1e-10, 1.0])
def test_a_bound_is_at_most_the_objective(max_iter: int, l2: float) -> None:
    X, y = column("bytes")
    with pytest.warns(ConvergenceWarning, match="not certified"):
        certificate = LogisticRegression(l2=l2, max_iter=max_iter, solver="sgd").fit(X, y).certificate_
    assert certificate.bound is None or certificate.bound <= certificate.objective * (1 + 1e-9) + 1e-9
