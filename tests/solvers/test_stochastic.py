"""The stochastic solvers: step by step against slow references, and as near the optimum as they should end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache, partial
from itertools import islice

import numpy as np
import pytest
import torch

import cases
from cases import PROBLEMS, STOCHASTIC, Problem, StochasticCase
from reference import stochastic
from reference.objective import Array, Optimum, Plain, Real, optimum
from torchlogit.errors import InputError
from torchlogit.fit import FitProgress, Goal, fit
from torchlogit.losses import Logistic, Softmax
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Status
from torchlogit.solvers import Solver
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
from torchlogit.solvers.stochastic.batches import average, batch_gradient, batches
from torchlogit.solvers.stochastic.sgd import SGD
from torchlogit.solvers.stochastic.tuning_free import AVERAGING_POWER, FIRST_MOVE, SAGA, DoG, ImplicitSGD

ROWS, BATCH, EPOCHS, SEED = 23, 7, 4, 5
PER_EPOCH = -(-ROWS // BATCH)
BY_NAME = {problem.name: problem for problem in PROBLEMS}
every_stochastic = pytest.mark.parametrize("case", STOCHASTIC, ids=cases.named)


# -- step by step -----------------------------------------------------------------------------------------

small = partial(cases.table, n=ROWS, d=3)
SMALL = {
    "logistic": cases.objective_of(small(), Logistic(), ElasticNet(l2=2.0)),
    "no penalty, soft targets": cases.objective_of(small(targets=cases.soft), Logistic(), ElasticNet()),
    "weights": cases.objective_of(small(weights=cases.uneven), Logistic(), ElasticNet(l2=1.0), intercept=False),
    "softmax": cases.objective_of(small(n_outputs=3, weights=cases.small_counts), Softmax(3), ElasticNet(l2=0.5)),
}
every_small = pytest.mark.parametrize("objective", SMALL.values(), ids=SMALL)


def float64(objective: Objective) -> Plain:
    plain = Plain.of(objective)
    return Plain(*(getattr(plain, field.name).astype(np.float64) for field in fields(Plain)))


def in_order() -> list[list[int]]:
    return [list(range(start, min(ROWS, start + BATCH))) for start in range(0, ROWS, BATCH)] * EPOCHS


def shuffled() -> list[list[int]]:
    """The rows of each step: one permutation an epoch, all from one seed."""
    generator = torch.Generator().manual_seed(SEED)
    orders = [torch.randperm(ROWS, generator=generator).tolist() for _ in range(EPOCHS)]
    return [order[start : start + BATCH] for order in orders for start in range(0, ROWS, BATCH)]


def random_mask() -> list[list[int]]:
    """The rows of each step: b of n, anew each time."""
    draw = np.random.default_rng(SEED)
    return [draw.choice(ROWS, BATCH, replace=False).tolist() for _ in range(EPOCHS * PER_EPOCH)]


def agree(objective: Objective, solver: Solver, start: torch.Tensor, points: Iterator[Array]) -> None:
    """Every state is the reference's point after the same number of epochs, and carries F there."""
    plain = float64(objective)
    wanted = list(points)[PER_EPOCH - 1 :: PER_EPOCH]
    states = list(islice(solver.iterates(objective, objective.params(start)), EPOCHS))
    assert len(states) == len(wanted) == EPOCHS
    for state, point in zip(states, wanted, strict=True):
        theta = objective.theta(state.params).numpy()
        np.testing.assert_allclose(theta, point, rtol=1e-9, atol=1e-11)
        assert state.objective == pytest.approx(float(plain.value(point)), rel=1e-9)
        assert state.raw is not None
        np.testing.assert_allclose(state.raw.numpy(), plain.raw(theta), rtol=1e-9, atol=1e-11)


def visible_start(objective: Objective) -> torch.Tensor:
    return objective.visible(cases.random_theta(objective, seed=1))


@every_small
@pytest.mark.parametrize("shuffle", [False, True])
def test_sgd_takes_the_reference_steps(objective: Objective, shuffle: bool) -> None:
    start, order = visible_start(objective), shuffled() if shuffle else in_order()
    points = stochastic.sgd(float64(objective), order, start.numpy(), [0.1] * len(order))
    agree(objective, SGD(0.1, BATCH, EPOCHS, shuffle=shuffle, seed=SEED), start, points)


@every_small
def test_momentum_and_a_schedule_take_the_reference_steps(objective: Objective) -> None:
    start, order = visible_start(objective), in_order()
    rates = [0.1 * 0.5**epoch for epoch in range(EPOCHS) for _ in range(PER_EPOCH)]
    points = stochastic.sgd(float64(objective), order, start.numpy(), rates, momentum=0.9)
    halved = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    momentum = partial(torch.optim.SGD, momentum=0.9)
    agree(objective, SGD(0.1, BATCH, EPOCHS, optimizer=momentum, scheduler=halved), start, points)


def test_a_schedule_may_be_any_function_of_the_epoch() -> None:
    objective = SMALL["logistic"]
    start, order = visible_start(objective), in_order()
    rates = [0.3 / (1 + epoch) ** 0.5 for epoch in range(EPOCHS) for _ in range(PER_EPOCH)]
    root = partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda epoch: (1 + epoch) ** -0.5)
    points = stochastic.sgd(float64(objective), order, start.numpy(), rates)
    agree(objective, SGD(0.3, BATCH, EPOCHS, scheduler=root), start, points)


@every_small
@pytest.mark.parametrize("after", [0, 2])
def test_averaging_is_the_mean_of_the_points(objective: Objective, after: int) -> None:
    start, order = visible_start(objective), in_order()
    points = list(stochastic.sgd(float64(objective), order, start.numpy(), [0.1] * len(order)))
    first = after * PER_EPOCH
    wanted = [*points[:first], *stochastic.averages(points[first:], power=0)]
    agree(objective, SGD(0.1, BATCH, EPOCHS, average_after=after), start, iter(wanted))


@every_small
def test_dog_takes_the_reference_steps(objective: Objective) -> None:
    start = visible_start(objective)
    points = stochastic.dog(float64(objective), shuffled(), start.numpy(), FIRST_MOVE)
    agree(objective, DoG(BATCH, SEED), start, stochastic.averages(points, AVERAGING_POWER))


@every_small
def test_implicit_sgd_takes_the_reference_steps(objective: Objective) -> None:
    start = visible_start(objective)
    points = stochastic.implicit(float64(objective), shuffled(), start.numpy())
    agree(objective, ImplicitSGD(BATCH, SEED), start, stochastic.averages(points, AVERAGING_POWER))


@every_small
def test_saga_takes_the_reference_steps(objective: Objective) -> None:
    start, plain = visible_start(objective), float64(objective)
    points = stochastic.saga(plain, random_mask(), start.numpy(), stochastic.saga_rate(plain, BATCH))
    agree(objective, SAGA(BATCH, SEED), start, points)


@pytest.mark.parametrize("far", [0.0, 30.0, -3000.0])
def test_one_row_at_a_time_is_the_implicit_equation_in_the_margin(far: float) -> None:
    """u = z - c (sigma(u) - y), which lies between z - c and z + c: by bisection. Even from far away."""
    x, y, z0 = np.array([1.0, -2.0, 1.0]), 1.0, 0.5 + far
    objective = cases.objective_of(cases.Table(x[None, :2], np.array([[y]])), Logistic(), ElasticNet())
    start = torch.tensor(z0 * x / (x @ x))[:, None]
    c = 4.0  # the rate of the first step is 4 / |x|^2
    low, high = z0 - c, z0 + c
    for _ in range(200):
        middle = (low + high) / 2
        too_high = middle + c * (1 / (1 + np.exp(min(-middle, 700.0))) - y) > z0
        low, high = (low, middle) if too_high else (middle, high)
    state = next(ImplicitSGD(1).iterates(objective, objective.params(start)))
    assert state.raw is not None
    assert float(state.raw) == pytest.approx(low, rel=1e-9)


def test_the_average_is_the_weighted_sum_of_its_points() -> None:
    points = [np.array([[value]]) for value in np.random.default_rng(0).normal(size=30)]
    for power in (0, 1, 3, 8):
        mean = torch.zeros(1, 1, dtype=torch.float64)
        for step, wanted in enumerate(stochastic.averages(points, power), start=1):
            mean = average(mean, torch.from_numpy(points[step - 1]), step, power)
            np.testing.assert_allclose(mean.numpy(), wanted, rtol=1e-12, atol=1e-14)


# -- batches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 6, 24, 100])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_hold_every_row_once(size: int, shuffle: bool) -> None:
    x = np.arange(24.0)[:, None]
    objective = cases.objective_of(cases.Table(x, np.zeros((24, 1)), 1 + x[:, 0]), Logistic(), ElasticNet())
    generator = torch.Generator().manual_seed(0) if shuffle else None
    parts = list(batches(objective, size, generator))
    assert [part.design.shape[0] for part in parts] == [size] * (24 // size) or (size, len(parts)) == (100, 1)
    weights = torch.cat([part.weight for part in parts])
    assert torch.equal(weights.sort().values, objective.weight)
    assert torch.equal(weights, objective.weight) is not shuffle
    theta = torch.tensor([[1.0], [1.0]], dtype=torch.float64)  # so that a row's raw prediction is its weight
    assert torch.equal(torch.cat([part.raw(theta)[:, 0] for part in parts]), weights)


@pytest.mark.parametrize("name", ["uneven weights", "weights with zeros", "softmax 5, no intercept, weights"])
def test_the_mean_of_the_batches_gradients_is_the_gradient(name: str) -> None:
    """Rows of weight 2 count as two rows do: of F / N no batch knows more, and their mean knows all."""
    objective = BY_NAME[name].objective()
    theta = cases.random_theta(objective)
    parts = [batch_gradient(objective, part, theta) for part in batches(objective, 50, torch.Generator())]
    wanted = objective.gradient(theta, objective.residual(objective.raw(theta))) / objective.total_weight
    torch.testing.assert_close(torch.stack(parts).mean(dim=0), wanted, rtol=1e-11, atol=1e-13)


# -- where they end ---------------------------------------------------------------------------------------


@cache
def reference_optimum(problem: Problem) -> Optimum:
    return optimum(Plain.of(problem.objective()))


@every_stochastic
@pytest.mark.parametrize(
    "name",
    ["well-conditioned", "no penalty, no intercept", "large l2", "weights with zeros", "softmax 3", "rare columns"],
)
def test_ends_as_near_as_it_should_and_knows_how_near(case: StochasticCase, name: str) -> None:
    problem = BY_NAME[name]
    objective, best = problem.objective(), reference_optimum(problem)
    result = fit(objective, case.solver, Goal(tol=0.0, max_iter=15))
    plain, theta = Plain.of(objective), objective.theta(result.params).numpy().astype(Real)
    gap = float(plain.value(theta) - best.value)
    assert gap <= case.after_15_passes * float(best.value)
    assert result.certificate.status is Status.BUDGET
    assert result.certificate.bound is not None
    slack = best.error + plain.rounding(theta)
    assert gap - slack <= result.certificate.bound <= 2 * gap + 1e-9 * float(best.value)


SLOW = (
    "strong signal", "rare columns, tiny l2", "more columns than rows", "more columns than rows, tiny l2",
    "csr, tiny l2", "csr, more columns than rows",
)  # fmt: skip
PLAIN = [problem for problem in PROBLEMS if problem.plain_scale and problem.name not in SLOW]


@pytest.mark.parametrize("problem", PLAIN, ids=cases.named)
def test_saga_arrives(problem: Problem) -> None:
    """With columns of one size, to a proven 1e-6 in 120 passes, whatever the weights, the penalty and the loss."""
    objective, best = problem.objective(), float(reference_optimum(problem).value)

    def near(progress: FitProgress) -> bool:
        return progress.step.objective - best <= 5e-7 * best

    certificate = fit(objective, SAGA(), Goal(tol=1e-6, max_iter=120), monitors=[near]).certificate
    assert certificate.status is Status.CERTIFIED, certificate.message
    assert certificate.objective - best <= 1e-6 * best


@pytest.mark.parametrize("solver", [SAGA(10**6), DoG(10**6), ImplicitSGD(10**6)], ids=lambda s: type(s).__name__)
def test_a_batch_of_all_rows_is_as_good(solver: Solver) -> None:
    """SAGA is then gradient descent, and every state one step: F never rises."""
    objective = BY_NAME["well-conditioned"].objective()
    values = [state.objective for state in islice(solver.iterates(objective, None), 20)]
    assert values[-1] < values[0]
    if isinstance(solver, SAGA):
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("name", ["heavy tails", "scales 1e-6 to 1e6", "softmax 3, scales, float32", "years"])
def test_implicit_steps_cannot_blow_up(name: str) -> None:
    objective = BY_NAME[name].objective()
    start = objective.start()
    states = list(islice(ImplicitSGD(8).iterates(objective, None), 5))
    before = objective.value(start, objective.raw(start))
    assert states[-1].objective < 1.01 * before
    assert all(bool(torch.isfinite(state.params.coef).all()) for state in states)


@every_stochastic
def test_only_f_over_the_weights_matters(case: StochasticCase) -> None:
    """Every weight and the penalty times four: the same minimum, and the same way there."""
    once = cases.table(weights=cases.small_counts)
    assert once.weight is not None
    fourfold = cases.Table(once.x, once.target, 4 * once.weight)
    tables = ((once, ElasticNet(l2=2.0)), (fourfold, ElasticNet(l2=8.0)))
    objectives = (cases.objective_of(table, Logistic(), penalty) for table, penalty in tables)
    first, second = (next(case.solver.iterates(objective, None)).params for objective in objectives)
    torch.testing.assert_close(first.coef, second.coef, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(first.intercept, second.intercept, rtol=1e-9, atol=1e-12)


@every_stochastic
def test_same_seed_same_bits_and_another_seed_another_path(case: StochasticCase) -> None:
    objective = BY_NAME["well-conditioned"].objective()
    before = torch.random.get_rng_state()
    first, again, other = (
        list(islice(case.with_seed(seed).iterates(objective, None), 3))[-1].params.coef for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@every_stochastic
def test_a_single_row_and_a_row_of_zeros_are_no_trouble(case: StochasticCase) -> None:
    for x in ([[0.0]], [[0.0], [2.0]]):
        rows = cases.Table(np.array(x), np.ones((len(x), 1)) / 2)
        objective = cases.objective_of(rows, Logistic(), ElasticNet(l2=1.0), intercept=False)
        for state in islice(case.solver.iterates(objective, None), 3):
            assert state.objective == pytest.approx(len(x) * np.log(2))


@pytest.mark.parametrize("solver", [SAGA, DoG, ImplicitSGD])
def test_a_batch_needs_a_row(solver: type) -> None:
    with pytest.raises(InputError, match="batch_size=0: expected at least 1"):
        solver(batch_size=0)


@pytest.mark.parametrize("after", [-1, 20, 21])
def test_an_average_of_nothing_is_refused(after: int) -> None:
    with pytest.raises(InputError, match="average_after"):
        SGD(n_epochs=20, average_after=after)


def test_averaging_takes_the_noise_out() -> None:
    problem = BY_NAME["thirty columns"]
    objective, best = problem.objective(), float(reference_optimum(problem).value)
    noisy = SGD(0.2, batch_size=10, n_epochs=10, shuffle=True)
    calm = SGD(0.2, batch_size=10, n_epochs=10, shuffle=True, average_after=2)
    gaps = [fit(objective, solver, Goal(time_budget=60.0)).certificate.objective - best for solver in (noisy, calm)]
    assert gaps[1] < gaps[0] / 10


@pytest.mark.parametrize("solver", [SGD(), DoG()])
@pytest.mark.parametrize("penalty", [ElasticNet(l1=1.0), ElasticNet(lower=torch.zeros(5, dtype=torch.float64))])
def test_gradient_steps_refuse_kinks(solver: Solver, penalty: ElasticNet) -> None:
    objective = cases.objective_of(cases.table(), Logistic(), penalty)
    with pytest.raises(InputError, match=r"steps along gradients: expected no l1 and no bounds"):
        next(iter(solver.iterates(objective, None)))


@pytest.mark.parametrize("solver", [SAGA(), ImplicitSGD()])
def test_proximal_steps_find_the_zeros(solver: Solver) -> None:
    objective = cases.objective_of(cases.table(d=8), Logistic(), ElasticNet(l1=25.0))
    best = fit(objective, StochasticNewton(), Goal(tol=1e-10))
    found = fit(objective, solver, Goal(tol=1e-2, max_iter=60))
    assert 0 < int((best.params.coef == 0).sum()) < 8
    assert found.certificate.objective - best.certificate.objective <= 1e-2 * best.certificate.objective
    if isinstance(solver, SAGA):
        assert torch.equal(found.params.coef == 0, best.params.coef == 0)
