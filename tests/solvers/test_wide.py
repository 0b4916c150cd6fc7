"""More columns than a Hessian is formed for: what preconditions, working sets, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray

import cases
from cases import LOSSES, SMOOTH, LossCase, PenaltyCase
from torchlogit import LogisticRegression
from torchlogit.design import Dense, Sparse
from torchlogit.errors import InputError
from torchlogit.fit import Goal, fit
from torchlogit.losses import Logistic, loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params, Status
from torchlogit.solvers.newton.curvature import ByOutput, Diagonal
from torchlogit.solvers.newton.model_choice import ModelChoice, model_for
from torchlogit.solvers.newton.preconditioned import Preconditioned
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
from torchlogit.solvers.stochastic.tuning_free import SAGA

Array = NDArray[Any]
SPARSE = ModelChoice(wide=1, sparse_share=1.0)  # however few columns, and however dense the rows


@pytest.mark.parametrize("penalty", [c for c in SMOOTH if c.penalty.l2 >= 0.5], ids=cases.named)
@pytest.mark.parametrize("loss", LOSSES, ids=cases.named)
def test_a_diagonal_is_enough_for_wide_rows(loss: LossCase, penalty: PenaltyCase) -> None:
    """Where columns count as many and values as few, whatever the units of the columns."""
    table = cases.table(cases.scarce, n=400, d=4, n_outputs=loss.loss.n_outputs)
    objective = cases.objective_of(table, loss.loss, penalty.penalty, design="csr")
    solver = StochasticNewton(max_dense=1, choice=SPARSE)
    model = model_without_samples(objective, SPARSE)
    assert isinstance(model.estimate, Diagonal)
    result = fit(objective, solver, Goal(tol=1e-9, max_iter=500))
    assert result.certificate.status is Status.CERTIFIED, result.certificate.message
    dense = fit(cases.objective_of(table, loss.loss, penalty.penalty), StochasticNewton(), Goal(tol=1e-9))
    assert result.certificate.objective == pytest.approx(dense.certificate.objective, rel=2e-9)


def model_without_samples(objective: Objective, choice: ModelChoice) -> Preconditioned:
    model = model_for(
        objective,
        lambda: pytest.fail("no sample is drawn"),
        hessian_rows=30,
        max_dense=1,
        growth=1,
        choice=choice,
    )
    assert isinstance(model, Preconditioned)
    return model


def wide(n: int, d: int, seed: int = 0) -> tuple[scipy.sparse.csr_array, Array]:
    """Six ones a row, and labels by chance."""
    rng = np.random.default_rng(seed)
    columns, starts = np.sort(rng.integers(0, d, (n, 6)), axis=1), np.arange(0, 6 * n + 1, 6)
    matrix = scipy.sparse.csr_array((np.ones(6 * n), columns.reshape(-1), starts), shape=(n, d))
    return matrix, rng.integers(0, 2, n)


def test_many_more_columns_than_rows_are_fitted() -> None:
    x, y = wide(300, 200_000)
    model = LogisticRegression().fit(x, y)
    assert model.certificate_.status is Status.CERTIFIED
    some_columns = np.unique(x.indices)
    dense = LogisticRegression().fit(x[:, some_columns].toarray(), y)
    assert model.certificate_.objective == pytest.approx(dense.certificate_.objective, rel=2e-6)
    assert np.abs(model.coef_[:, some_columns] - dense.coef_).max() <= 1e-2
    assert (np.delete(model.coef_, some_columns, axis=1) == 0).all()


def test_more_columns_than_rows_and_no_penalty_is_said_at_once() -> None:
    x, y = wide(300, 20_000)
    with pytest.raises(InputError, match="20,000 columns, more than its 300 rows"):
        LogisticRegression(l2=0).fit(x, y)


def test_many_columns_without_a_penalty_end_without_a_bound() -> None:
    rng = np.random.default_rng(0)
    x = scipy.sparse.csr_array(scipy.sparse.vstack([scipy.sparse.eye_array(10_500)] * 3))
    y = np.concatenate([np.zeros(10_500), np.ones(10_500), rng.integers(0, 2, 10_500)])[:, None]
    objective = Objective.of(Sparse.of(x), torch.from_numpy(y), loss=Logistic(), penalty=ElasticNet())
    certificate = fit(objective, StochasticNewton()).certificate
    assert certificate.status is Status.UNCERTIFIABLE
    assert certificate.bound is None
    share = np.array([1 / 3, 2 / 3])
    best = -10_500 * 3 * float(share @ np.log(share))  # every column has three rows, of which one or two are of a class
    assert certificate.objective == pytest.approx(best, rel=1e-9)


WIDE_PENALTIES = {
    "l1": {"l1": 0.9, "l2": 0.0},
    "l1 that leaves nothing": {"l1": 50.0, "l2": 0.0},
    "elastic net": {"l1": 0.5, "l2": 0.5},
    "bounds": {"l2": 1.0, "bounds": (0.0, 0.3)},
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("penalty", WIDE_PENALTIES.values(), ids=WIDE_PENALTIES)
def test_kinks_on_many_columns(penalty: dict[str, Any], n_classes: int) -> None:
    x, _ = wide(300, 20_000)
    x.indices %= 4000  # some columns in several rows
    x.sum_duplicates()
    y = (x[:, :2000].sum(axis=1) + np.arange(300) % n_classes) % n_classes
    model = LogisticRegression(**penalty).fit(x, y)
    assert model.certificate_.status is Status.CERTIFIED
    some_columns = np.unique(x.indices)
    dense = LogisticRegression(**penalty).fit(x[:, some_columns].toarray(), y)
    assert model.certificate_.objective == pytest.approx(dense.certificate_.objective, rel=2e-6)
    assert (np.delete(model.coef_, some_columns, axis=1) == 0).all()


def test_saga_does_not_form_a_matrix_of_many_columns() -> None:
    x, y = wide(300, 20_000)
    with pytest.raises(InputError, match="SAGA takes"):
        LogisticRegression(solver=SAGA()).fit(x, y)


def test_factors_all_rows_where_the_diagonal_takes_too_many_products() -> None:
    """Levels of columns that nest, as tail numbers do in carriers: their differences are hardly seen by a diagonal."""
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 120, 3000)
    columns = np.stack([fine, 120 + fine // 6, 140 + fine // 30, 144 + rng.integers(0, 12, 3000)], axis=1)
    x = scipy.sparse.csr_array((np.ones(12000), columns.reshape(-1), np.arange(0, 12001, 4)), shape=(3000, 156))
    y = torch.from_numpy((rng.random(3000) < 1 / (1 + np.exp(rng.standard_normal(120)[fine])))[:, None].astype(float))
    objective = Objective.of(Sparse.of(x), y, loss=Logistic(), penalty=ElasticNet(l2=0.01))
    often, never = replace(SPARSE, cube_per_value=1e9), replace(SPARSE, cube_per_value=0.0, cube=0.0)
    assert isinstance(model_without_samples(objective, often).costlier, ByOutput)
    assert model_without_samples(objective, never).costlier is None
    factored = fit(objective, StochasticNewton(max_dense=1, choice=often), Goal(tol=1e-9, max_iter=1000))
    diagonal = fit(objective, StochasticNewton(max_dense=1, choice=never), Goal(tol=1e-9, max_iter=1000))
    assert factored.certificate.status is Status.CERTIFIED
    assert factored.passes < 0.75 * diagonal.passes
    dense = fit(replace(objective, design=Dense.of(torch.from_numpy(x.toarray()))), StochasticNewton(), Goal(tol=1e-9))
    assert factored.certificate.objective == pytest.approx(dense.certificate.objective, rel=2e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("penalty", [ElasticNet(l2=1.0), ElasticNet(l2=1e-3)], ids=["l2", "a little"])
def test_columns_without_a_value_cost_nothing(penalty: ElasticNet, n_classes: int) -> None:
    """As many as hashing leaves empty: the steps are those of the others."""
    table = cases.table(cases.scarce, n=400, d=30, n_outputs=1 if n_classes == 2 else n_classes)
    few = scipy.sparse.csr_array(table.x)
    wide = scipy.sparse.csr_array((few.data, 100 + 100 * few.indices, few.indptr), shape=(400, 5000))
    target, loss = torch.from_numpy(table.target), loss_for(n_classes)
    designs = (Sparse.of(x) for x in (few, wide))
    narrow, padded = (Objective.of(design, target, loss=loss, penalty=penalty) for design in designs)
    one, other = (fit(objective, StochasticNewton(), Goal(tol=1e-10)) for objective in (narrow, padded))
    assert one.certificate.status is other.certificate.status is Status.CERTIFIED
    assert other.certificate.objective == pytest.approx(one.certificate.objective, rel=2e-10)
    assert torch.equal(other.params.coef[100:3100:100].any(dim=1), one.params.coef.any(dim=1))
    assert int(other.params.coef.any(dim=1).sum()) <= 30
    assert len(other.history) <= len(one.history) + 2
    begun = Params(torch.ones(5000, one.params.coef.shape[1], dtype=torch.float64), one.params.intercept)
    again = fit(padded, StochasticNewton(), Goal(tol=1e-10), start=begun)
    assert again.certificate.objective == pytest.approx(one.certificate.objective, rel=2e-10)


def test_more_columns_between_the_kinks_than_a_working_set_holds() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 60))
    y = torch.from_numpy((x @ rng.standard_normal(60) + rng.logistic(size=200) > 0)[:, None].astype(float))
    objective = Objective.of(Dense.of(torch.from_numpy(x)), y, loss=Logistic(), penalty=ElasticNet(l1=1.0))
    whole = fit(objective, StochasticNewton(), Goal(tol=1e-8))
    choice = ModelChoice(wide_with_kinks=30, first_columns=10, max_columns=20)
    parts = fit(objective, StochasticNewton(choice=choice), Goal(tol=1e-6, max_iter=1000))
    assert int((whole.params.coef != 0).sum()) > 20
    assert parts.certificate.status is Status.CERTIFIED
    assert parts.certificate.objective == pytest.approx(whole.certificate.objective, rel=2e-6)


def test_rows_that_balance_exactly_leave_nothing_to_do() -> None:
    """The gradient is zero, not only nearly."""
    rows = np.random.default_rng(0).integers(0, 5, (2, 3000)).astype(float)
    model = LogisticRegression(solver="newton").fit(np.repeat(rows, 2, axis=0), [0, 1, 0, 1])
    assert model.certificate_.status is Status.CERTIFIED
    assert not model.coef_.any()


@pytest.mark.parametrize("dense", [True, False])
def test_rows_twice_in_many_columns_and_next_to_no_penalty(dense: bool) -> None:
    rows = np.random.default_rng(0).standard_normal((20, 3000))
    x = np.vstack([rows, rows])
    given = x if dense else scipy.sparse.csr_array(x)
    model = LogisticRegression(l2=1e-14, solver="newton").fit(given, np.arange(40) % 2)
    assert model.certificate_.objective < 1e-9
