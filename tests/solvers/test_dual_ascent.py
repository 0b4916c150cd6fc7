"""Dual ascent: against a slow reference, row by row; what every epoch keeps; and on several threads."""

from __future__ import annotations

import itertools
from itertools import islice

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import cases
from profiles import examples
from reference import dual as reference
from reference.objective import Plain, optimum
from torchlogit.certificate import newton_dual_bound
from torchlogit.design import Sparse
from torchlogit.errors import InputError
from torchlogit.fit import Goal, fit
from torchlogit.kernels import dual as kernels
from torchlogit.losses import Logistic, Softmax
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params, State, Status
from torchlogit.solvers.dual.dual_ascent import DualAscent

Array = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def sparse_table(seed: int, n: int = 60, d: int = 8) -> tuple[Array, Array, Array, Array]:
    """Rows, some of them empty, with targets, soft or hard, weights, some of them zero, and offsets."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.3)
    y = rng.choice([0.0, 1.0, rng.random()], n)
    weight = rng.choice([0.0, 1.0, 1.0, 3.5], n)
    weight[:2] = 1.0
    return x, y, weight, rng.standard_normal(n)


def objective_of(table: tuple[Array, Array, Array, Array], penalty: ElasticNet, *, intercept: bool) -> Objective:
    x, y, weight, offset = table
    return Objective.of(
        Sparse.of(scipy.sparse.csr_array(x), intercept=intercept), torch.from_numpy(y)[:, None], loss=Logistic(),
        penalty=penalty, weight=torch.from_numpy(weight), offset=torch.from_numpy(offset)[:, None],
    )  # fmt: skip


def rows_of(table: tuple[Array, Array, Array, Array]) -> kernels.DualRows:
    x, *rest = table
    csr = scipy.sparse.csr_array(x)
    return kernels.DualRows(csr.indptr, csr.indices, csr.data, *rest, kernels.squared_norms(csr.indptr, csr.data))


def coupling_of(l1: float, l2: float, d: int) -> kernels.Coupling:
    return kernels.Coupling(1 / l2, np.full(d, l1 / l2) if l1 else None, 0.0)


penalties = pytest.mark.parametrize(("l1", "l2"), [(0.0, 1.0), (0.0, 1e-4), (0.0, 1e3), (0.5, 1.0), (2.0, 0.01)])


@penalties
@pytest.mark.parametrize("seed", range(5))
def test_an_epoch_is_the_reference_s(seed: int, l1: float, l2: float) -> None:
    table = sparse_table(seed)
    x, y, weight, offset = table
    point = kernels.DualPoint(np.zeros(len(y)), np.zeros(x.shape[1]), 0.0)
    ours, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
    wanted = point.residual.copy()
    for _ in range(3):
        kernels.epoch(rows_of(table), point, coupling_of(l1, l2, x.shape[1]), ours, 1, 1.0)
        starts, size = kernels.blocks_of(len(y), theirs)
        order = [i for start in starts for i in range(start, min(start + size, len(y)))]
        before = reference.value(x, y, weight, offset, wanted, l1, l2)
        wanted = reference.ascend(x, y, weight, offset, wanted, order, l1, l2)
        after = reference.value(x, y, weight, offset, wanted, l1, l2)
        assert after >= before - 1e-12 * abs(before)
    np.testing.assert_allclose(point.residual, wanted, atol=1e-6)
    np.testing.assert_allclose(point.v, -x.T @ (weight * point.residual) / l2, rtol=1e-10, atol=1e-12 / l2)


@given(
    z=st.floats(-1e4, 1e4), curvature=st.floats(0, 1e8), y=st.sampled_from([0.0, 0.3, 1.0]), share=st.floats(0, 1)
)  # fmt: skip
def test_a_row_is_solved(z: float, curvature: float, y: float, share: float) -> None:
    """In the residual: no further from the root than a shift of the logit by 1e-5 takes it."""
    from torchlogit.kernels import dual_loops

    residual = share - y
    new = dual_loops.solve_residual(z, curvature, residual, y)
    root = reference._root(z, curvature, residual, y)
    near = [reference._sigmoid(root + shift) - y for shift in (-1e-5, 1e-5)]
    rounding = 1e-15 + 1e-15 * abs(z)
    assert near[0] - rounding <= new <= near[1] + rounding


@penalties
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_keep_v_what_the_residuals_make_it(l1: float, l2: float, threads: int) -> None:
    """And no epoch lowers the dual, where each counts its changes once for every thread."""
    torch.set_num_threads(threads)
    table = sparse_table(1, n=500)
    x, y, weight, offset = table
    point, random = kernels.DualPoint(np.zeros(500), np.zeros(8), 0.0), np.random.default_rng(0)
    values = [0.0]
    for _ in range(10):
        kernels.epoch(rows_of(table), point, coupling_of(l1, l2, 8), random, threads, float(threads))
        values.append(reference.value(x, y, weight, offset, point.residual, l1, l2))
    np.testing.assert_allclose(point.v, -x.T @ (weight * point.residual) / l2, rtol=1e-9, atol=1e-11 / l2)
    assert all(later >= earlier - 1e-12 * abs(earlier) for earlier, later in itertools.pairwise(values))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("intercept", [True, False])
def test_same_threads_same_bits(threads: int, intercept: bool) -> None:
    torch.set_num_threads(threads)
    objective = objective_of(sparse_table(0, n=2000, d=30), ElasticNet(l1=0.1, l2=10.0), intercept=intercept)
    runs = [fit(objective, DualAscent(seed=3, values_per_thread=1), Goal(tol=1e-6)) for _ in range(3)]
    assert runs[0].certificate.status is Status.CERTIFIED
    for run in runs[1:]:
        assert torch.equal(run.params.coef, runs[0].params.coef)
        assert torch.equal(run.params.intercept, runs[0].params.intercept)
        assert run.certificate == runs[0].certificate
    other = fit(objective, DualAscent(seed=4, values_per_thread=1), Goal(tol=1e-6))
    assert not torch.equal(other.params.coef, runs[0].params.coef)


@examples(60)
@given(
    seed=seeds, l1=st.sampled_from([0.0, 0.0, 0.3]), l2=st.sampled_from([0.05, 1.0, 20.0]), intercept=st.booleans(),
    factors=st.booleans(),
)  # fmt: skip
def test_no_epoch_s_bound_is_below_the_gap(seed: int, l1: float, l2: float, intercept: bool, factors: bool) -> None:
    rates = torch.linspace(0.5, 2.0, 8, dtype=torch.float64) if factors else None
    objective = objective_of(sparse_table(seed), ElasticNet(l1, l2, rates), intercept=intercept)
    plain = Plain.of(objective)
    best = optimum(plain)
    for state in islice(DualAscent(seed=1).iterates(objective, None), 8):
        theta = objective.theta(state.params)
        assert state.dual_residual is not None
        bound = newton_dual_bound(objective, theta, state.dual_residual)
        gap = float(plain.value(theta.numpy().astype(np.longdouble)) - best.value)
        assert state.objective == pytest.approx(bound.objective, rel=1e-12)
        if bound.value is not None:
            assert bound.value >= gap - best.error
            assert state.expected_bound is not None
            assert bound.value <= 10 * state.expected_bound + 1e-9 * state.objective


def test_rows_without_weight_do_not_count() -> None:
    x, y, weight, offset = sparse_table(5)
    kept = weight > 0
    tables = (x, y, weight, offset), (x[kept], y[kept], weight[kept], offset[kept])
    objectives = [objective_of(table, ElasticNet(l2=1.0), intercept=True) for table in tables]
    coefs = [fit(objective, DualAscent(), Goal(tol=1e-12)).params.coef for objective in objectives]
    torch.testing.assert_close(*coefs, rtol=1e-4, atol=1e-5)


def test_goes_on_from_where_it_ended() -> None:
    objective = objective_of(sparse_table(0, n=500), ElasticNet(l1=0.1, l2=1.0), intercept=True)
    first = fit(objective, DualAscent(), Goal(tol=1e-10))
    again = fit(objective, DualAscent(), Goal(tol=1e-8), start=first.params)
    assert len(again.history) == 1
    assert again.certificate.status is Status.CERTIFIED


def test_a_budget_ends_with_a_bound() -> None:
    objective = objective_of(sparse_table(0, n=500), ElasticNet(l2=0.01), intercept=True)
    result = fit(objective, DualAscent(), Goal(tol=1e-9, max_iter=4))
    assert result.certificate.status is Status.BUDGET
    assert result.certificate.bound is not None


@pytest.mark.parametrize(
    ("penalty", "loss", "words"),
    [
        (ElasticNet(), Logistic(), "a column without l2"),
        (ElasticNet(l1=1.0), Logistic(), "a column without l2"),
        (ElasticNet(l2=1.0, factors=torch.tensor([1.0, 0.0])), Logistic(), "a column without l2"),
        (ElasticNet(l2=1.0, lower=torch.tensor([0.0, 0.0])), Logistic(), "bounds"),
        (ElasticNet(l2=1.0), Softmax(3), "3 classes"),
    ],
)
def test_refuses_what_it_cannot_do(penalty: ElasticNet, loss: Logistic | Softmax, words: str) -> None:
    table = cases.table(d=2, n_outputs=loss.n_outputs)
    objective = cases.objective_of(table, loss, penalty)
    with pytest.raises(InputError, match=f"^{words}: .*; use "):
        next(DualAscent().iterates(objective, None))


def test_states_hold_what_they_say() -> None:
    objective = objective_of(sparse_table(2), ElasticNet(l2=1.0), intercept=True)
    states: list[tuple[State, Params]] = []
    for state in islice(DualAscent().iterates(objective, None), 5):
        theta = objective.theta(state.params)
        assert state.raw is not None
        torch.testing.assert_close(state.raw, objective.raw(theta))
        assert state.objective == pytest.approx(objective.value(theta, objective.raw(theta)), rel=1e-13)
        states.append((state, state.params))
    assert [state.passes for state, _ in states] == [6.0, 11.5, 16.0, 17.5, 19.0]
