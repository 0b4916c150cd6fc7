"""Which step's answer a fit returns, and when it ends: the smallest bound, one more step, objectives that overflow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

import cases
from torchlogit import SGD, LogisticRegression
from torchlogit.checkpoints import Checkpoints
from torchlogit.fit import Goal, fit
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import FitProgress, FitResult, Status
from torchlogit.solvers.dual.softmax_ascent import SoftmaxAscent
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton

Array = NDArray[np.float64]
READ = Goal(tol=1e-6, standard_errors=0.05)  # coefficients are read, with their standard errors


def table(n: int = 300, p: int = 4, k: int = 2) -> tuple[Array, NDArray[Any]]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    return X, (X @ rng.normal(size=(p, k)) + rng.gumbel(size=(n, k))).argmax(axis=1)


def objective(k: int = 2, penalty: ElasticNet | None = None) -> Objective:
    X, y = table(k=k)
    target = np.eye(k)[y][:, (1 if k == 2 else 0) :]
    return cases.objective_of(cases.Table(X, target), loss_for(k), penalty or ElasticNet())


@pytest.mark.parametrize("k", [2, 3])
def test_one_more_step_is_taken_where_coefficients_are_read(k: int) -> None:
    plain, read = (fit(objective(k), StochasticNewton(), goal) for goal in (Goal(tol=1e-6), READ))
    exact = fit(objective(k), StochasticNewton(), Goal(tol=1e-13))
    assert len(read.history) == len(plain.history) + 1
    assert read.certificate.status is Status.CERTIFIED
    np.testing.assert_allclose(read.params.coef, exact.params.coef, rtol=1e-7)


def test_printed_digits_are_right() -> None:
    """webuse repair, in Stata's manual: -ln 9, which the default tolerance alone leaves at -2.19683."""
    rows, shares, count = [[1.0], [1.0], [0.0], [0.0]], [0, 1, 0, 1], [27, 3, 9, 9]
    fitted = LogisticRegression(l2=0).fit(rows, shares, sample_weight=count)
    assert fitted.coef_ == pytest.approx(-np.log(9), rel=1e-7)


def test_many_coefficients_get_no_further_step() -> None:
    """Their covariance is not formed: a further step would cost a pass for nothing."""
    X, y = table(n=200, p=2600)
    goals = Goal(tol=1e-6), READ
    wide = cases.objective_of(cases.Table(X, y[:, None].astype(float)), loss_for(2), ElasticNet(l2=1.0))
    assert len({len(fit(wide, StochasticNewton(), goal).history) for goal in goals}) == 1


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4])
def test_the_further_step_survives_a_stop(stop_at: int, tmp_path: Any) -> None:
    """A fit that is stopped anywhere, also after it met its goal, ends as if it had not been."""
    whole = fit(objective(), StochasticNewton(), READ)
    steps = 0

    def stop(progress: FitProgress) -> bool:
        nonlocal steps
        steps += 1
        return steps == stop_at

    fit(objective(), StochasticNewton(), READ, monitors=[stop], checkpoints=Checkpoints(tmp_path))
    again = fit(objective(), StochasticNewton(), READ, checkpoints=Checkpoints(tmp_path, resume=True))
    assert torch.equal(again.params.coef, whole.params.coef)
    assert again.certificate == whole.certificate


def least(result: FitResult) -> float:
    return min(step.bound for step in result.history if step.bound is not None)


@pytest.mark.parametrize("penalty", [ElasticNet(), ElasticNet(l2=1.0), ElasticNet(l1=10.0)], ids=["none", "l2", "l1"])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_a_worse_bound_does_not_replace_a_better_one(penalty: ElasticNet, k: int) -> None:
    """Below what float64 resolves, later bounds are rounding: the smallest is kept, with its parameters."""
    found = fit(objective(k, penalty), StochasticNewton(), Goal(tol=0.0))
    assert found.certificate.status is Status.UNCERTIFIABLE
    assert found.certificate.bound == least(found)
    looser = fit(objective(k, penalty), StochasticNewton(), Goal(tol=1e-10))
    assert looser.certificate.bound is not None
    assert found.certificate.bound <= 1.01 * looser.certificate.bound
    value = objective(k, penalty)
    theta = value.theta(found.params)
    assert value.value(theta, value.raw(theta)) == pytest.approx(found.certificate.objective, rel=1e-14)
    assert {step.bound for step in found.history if step.objective == found.certificate.objective} >= {least(found)}


def test_a_message_claims_the_least_only_within_rounding() -> None:
    """Near-collinear columns without a penalty: no bound, and no claim."""
    X, y = table()
    with pytest.warns(ConvergenceWarning) as caught:
        LogisticRegression(tol=1e-17).fit(X, y)
    assert "it is the least that float64 can tell apart; at most" in str(caught[0].message)
    near = np.hstack([X, X[:, :1] + 1e-10 * np.random.default_rng(1).normal(size=(len(X), 1))])
    fitted = LogisticRegression(l2=0, tol=1e-17)
    with pytest.warns(ConvergenceWarning) as caught:
        fitted.fit(near, y)
    relative = fitted.certificate_.relative_bound
    assert ("can tell apart" in str(caught[0].message)) == (relative is not None and relative < 1e-13)


@pytest.mark.parametrize("rate", [1e154, 1e300, 1e306, 3e307])
@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_an_objective_that_is_not_finite_is_never_certified(rate: float, l2: float) -> None:
    X, y = table(n=60)
    model = LogisticRegression(l2=l2, solver=SGD(learning_rate=rate, n_epochs=3))
    with pytest.warns(ConvergenceWarning):
        certificate = model.fit(X * 1e10, y).certificate_
    assert certificate.status == "diverged"
    assert certificate.bound is None
    assert np.isfinite(certificate.objective)
    assert "learning" in certificate.message


@dataclass(frozen=True, slots=True)
class Overflows:
    """A solver whose second state has an infinite objective."""

    def iterates(self, objective: Objective, start: Any) -> Any:
        """Two of Newton's states, the second spoilt."""
        for number, state in enumerate(StochasticNewton().iterates(objective, start)):
            yield state if number == 0 else replace(state, objective=float("inf"))


def test_the_last_finite_answer_is_returned() -> None:
    found = fit(objective(), Overflows(), Goal(tol=1e-13))
    assert found.certificate.status is Status.DIVERGED
    assert found.certificate.objective == found.history[0].objective
    assert len(found.history) == 1
    assert not Goal(tol=1e-6).met(replace(found.certificate, objective=float("inf"), bound=1.0))


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_newton_steps_finish_what_dual_ascent_leaves(scale: float) -> None:
    """Dual ascent ends above what float64 resolves; the answer is certified as Newton's method does it."""
    X, y = table(k=3)
    settings = {"l2": 1.0, "tol": 1e-13, "max_iter": 5000}
    rows = scipy.sparse.csr_array(X * scale)
    newton, dual = (LogisticRegression(solver=name, **settings).fit(rows, y) for name in ("newton", "dual"))
    assert newton.certificate_.status == dual.certificate_.status == "certified"
    assert isinstance(dual.solver_, SoftmaxAscent)


def test_histories_count_every_pass() -> None:
    X, y = table(k=3)
    dual = LogisticRegression(solver="dual", tol=1e-13, max_iter=5000).fit(scipy.sparse.csr_array(X), y)
    assert all(later.passes > step.passes for step, later in pairwise(dual.history_))
