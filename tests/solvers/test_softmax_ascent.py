"""SoftmaxAscent: its row steps are the dual's maxima, its answers the reference optimum, its gaps never too small."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

import cases
from cases import PROBLEMS, Problem
from profiles import examples
from reference.objective import Plain, Real, optimum
from torchlogit.certificate import newton_dual_bound
from torchlogit.design import Sparse
from torchlogit.errors import InputError
from torchlogit.fit import Goal, fit
from torchlogit.kernels import softmax_loops
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Status
from torchlogit.solvers.dual.softmax_ascent import SoftmaxAscent
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton

Array = NDArray[np.float64]

TAKEN = [p for p in PROBLEMS if p.n_classes > 2 and p.l2 >= 1 and p.plain_scale]
MORE = [
    Problem("factors", lambda: cases.table(cases.scarce, n_outputs=3), n_classes=3, factors=(1.0, 0.5, 3.0, 2.0, 0.7)),
    Problem("offsets", lambda: cases.table(cases.scarce, n_outputs=3, offsets=True), n_classes=3, design="csr"),
    Problem("uneven weights", lambda: cases.table(cases.scarce, n_outputs=4, weights=cases.uneven), n_classes=4,
            l2=300.0, design="csr"),
    Problem("strong signal", lambda: cases.table(n_outputs=3, signal=8.0), n_classes=3, l2=0.3),
    Problem("imbalanced", lambda: cases.table(cases.scarce, n_outputs=3, base_rate=np.array([0.0, -4.0, 2.0])),
            n_classes=3),
]  # fmt: skip
every_problem = pytest.mark.parametrize("problem", TAKEN + MORE, ids=cases.named)


@every_problem
def test_reaches_the_reference_optimum_and_proves_it(problem: Problem) -> None:
    objective, best = problem.objective(), optimum(Plain.of(problem.objective()))
    result = fit(objective, SoftmaxAscent(), Goal(tol=1e-8, max_iter=1500))
    assert result.certificate.status is Status.CERTIFIED, result.certificate.message
    theta = objective.theta(result.params).numpy().astype(Real)
    gap = float(Plain.of(objective).value(theta) - best.value)
    assert -best.error <= gap <= 1e-8 * float(best.value)
    assert result.certificate.bound is not None
    assert gap <= result.certificate.bound


def dual_step(x: Array, precision: Array, weight: float, raw: Array, old: Array) -> Array:
    """The q that maximises the dual over one row: the least of q ln q - q raw + pull |q - old|^2 / 2.

    By a general minimiser, over q = softmax(u).
    """
    pull = weight * float((x * x / precision).sum())

    def value(u: Array) -> tuple[float, Array]:
        q = np.exp(u - np.logaddexp.reduce(u))
        slope = np.log(q) - raw + pull * (q - old)
        return float(q @ np.log(q) - q @ raw + pull / 2 * ((q - old) ** 2).sum()), q * (slope - q @ slope)

    best = minimize(value, np.log(old), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return np.exp(best - np.logaddexp.reduce(best))


@pytest.mark.parametrize("pull", [1e-6, 0.1, 1.0, 30.0, 1e3])
def test_a_visit_is_the_maximum_of_the_dual_over_that_row(pull: float) -> None:
    rng = np.random.default_rng(0)
    x, coef, intercept = rng.standard_normal((1, 3)), rng.standard_normal((3, 4)), rng.standard_normal(4)
    precision, weight, old = np.array([1.0, 2.0, 0.5]), 0.7, rng.dirichlet(np.ones(4))
    precision *= weight * float((x[0] ** 2 / precision).sum()) / pull
    raw = x[0] @ coef + intercept
    wanted = dual_step(x[0], precision, weight, raw, old)
    moved, dual, offset = coef.copy(), old[None].copy(), np.zeros((1, 4))
    csr = scipy.sparse.csr_array(x)
    rows = csr.indptr, csr.indices, csr.data
    for _ in range(3):  # an inner equation is solved to a share only, and the next visit solves it anew
        softmax_loops.epoch(
            *rows, np.array([0]), np.array([weight]), 1 / precision, 0.0, offset, moved, intercept, dual
        )
    assert dual[0] == pytest.approx(wanted, abs=1e-5)
    change = weight * (old - dual[0])
    assert moved == pytest.approx(coef + x.T / precision[:, None] * change, abs=1e-12)


@st.composite
def problems(draw: st.DrawFn) -> Objective:
    """Small tables, whatever the penalty's strength."""
    outputs, seed = draw(st.integers(3, 5)), draw(st.integers(0, 2**31))
    table = cases.table(
        draw(st.sampled_from([cases.scarce, cases.standard_normal, cases.rare, cases.heavy_tails])),
        n=draw(st.integers(20, 60)),
        d=draw(st.integers(2, 6)),
        n_outputs=outputs,
        signal=draw(st.sampled_from([0.0, 1.0, 10.0])),
        targets=draw(st.sampled_from([cases.labels, cases.soft])),
        weights=draw(st.sampled_from([None, cases.small_counts, cases.uneven])),
        seed=seed,
    )
    if table.weight is not None:
        table.weight[0] = 1.0
    penalty = ElasticNet(l2=draw(st.sampled_from([1e-3, 0.1, 1.0, 100.0])))
    intercept, design = draw(st.booleans()), draw(st.sampled_from(list(cases.DESIGNS)))
    return cases.objective_of(table, loss_for(outputs), penalty, intercept=intercept, design=design)


@given(objective=problems())
@examples(40)
def test_no_bound_is_below_the_gap(objective: Objective) -> None:
    """After every epoch, however far from the optimum, and the coefficients follow from the duals."""
    plain = Plain.of(objective)
    best = optimum(plain)
    for state in islice(SoftmaxAscent().iterates(objective, None), 8):
        theta = objective.theta(state.params)
        gap = float(plain.value(theta.numpy().astype(Real)) - best.value)
        if state.dual_residual is not None:
            bound = newton_dual_bound(objective, theta, state.dual_residual)
            assert bound.value is None or gap <= bound.value + best.error
            follows = (
                objective.coef(objective.dual(state.dual_residual))
                / objective.penalty.precision(len(state.params.coef))[:, None]
            )
            torch.testing.assert_close(state.params.coef, follows, rtol=1e-9, atol=1e-9)


def test_the_expected_bound_is_the_bound() -> None:
    objective = TAKEN[0].objective()
    state = list(islice(SoftmaxAscent().iterates(objective, None), 12))[-1]
    assert state.dual_residual is not None
    bound = newton_dual_bound(objective, objective.theta(state.params), state.dual_residual).value
    assert state.expected_bound == pytest.approx(bound, rel=0.2)


@every_problem
def test_the_same_seed_gives_the_same_bits(problem: Problem) -> None:
    runs = []
    for seed in (0, 0, 1):
        objective = problem.objective()
        state = list(islice(SoftmaxAscent(seed).iterates(objective, None), 3))[-1]
        runs.append(objective.theta(state.params))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_start_is_not_lost() -> None:
    objective = TAKEN[0].objective()
    near = fit(objective, StochasticNewton(), Goal(tol=1e-10))
    first = next(SoftmaxAscent().iterates(objective, near.params))
    assert first.objective <= near.certificate.objective * (1 + 1e-7)


def test_passes_that_run_out_leave_a_bound() -> None:
    result = fit(TAKEN[0].objective(), SoftmaxAscent(), Goal(tol=1e-14, max_iter=30))
    assert result.certificate.status is Status.BUDGET
    assert result.certificate.bound is not None


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"n_classes": 2, "table": lambda: cases.table()}, "^two classes: .*; use DualAscent"),
        ({"l2": 0.0}, "^a column without l2: .*; use solver='newton'"),
        ({"factors": (1.0, 0.0, 1.0, 1.0, 1.0)}, "^a column without l2: "),
        ({"l1": 1.0}, "^l1 for several classes: .*; use solver='newton'"),
        ({"lower": (0.0,) * 5}, "^bounds: "),
    ],
)
def test_what_it_does_not_take_is_refused(changed: dict[str, object], match: str) -> None:
    problem = replace(TAKEN[0], **changed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=match):
        next(SoftmaxAscent().iterates(problem.objective(), None))


@pytest.mark.parametrize("size", [1.0, 6.0])
def test_rows_that_pull_hard(size: float) -> None:
    """Few rows of large values in many columns: each could be fitted alone, and the intercept by any of them."""
    rng = np.random.default_rng(0)
    x = scipy.sparse.random_array((60, 1000), density=0.2, format="csr", rng=rng, data_sampler=rng.standard_normal)
    target = torch.from_numpy(np.eye(3)[rng.integers(0, 3, 60)])
    design = Sparse.of(size * scipy.sparse.csr_array(x))
    objective = Objective.of(design, target, loss=loss_for(3), penalty=ElasticNet(l2=1.0))
    result = fit(objective, SoftmaxAscent(), Goal(tol=1e-6))
    newton = fit(objective, StochasticNewton(), Goal(tol=1e-9))
    assert result.certificate.status is Status.CERTIFIED
    assert result.passes < 100
    assert result.certificate.objective == pytest.approx(newton.certificate.objective, rel=2e-6)


def test_a_start_s_intercept_is_left_out_where_there_is_none() -> None:
    table = cases.table(cases.scarce, n_outputs=3)
    objective = cases.objective_of(table, loss_for(3), ElasticNet(l2=1.0), design="csr")
    first = fit(objective, SoftmaxAscent(), Goal(tol=1e-6))
    without = replace(objective, design=replace(objective.design, has_intercept=False))
    state = next(SoftmaxAscent().iterates(without, first.params))
    assert not bool(state.params.intercept.any())
