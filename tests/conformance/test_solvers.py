"""Every solver on every problem reaches the optimum, says so with a proof, and ends as it was asked to."""

from __future__ import annotations

import itertools
import time
import warnings
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import cases
import torchlogit.fit
from cases import KINKED, NEWTON, PROBLEMS, SOLVERS, Problem, SolverCase
from reference.objective import Optimum, Plain, Real, optimum
from torchlogit.design import Dense
from torchlogit.errors import InputError
from torchlogit.fit import FitProgress, FitResult, Goal, Step, fit
from torchlogit.losses import Logistic, Softmax
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, Params, Status
from torchlogit.solvers.newton.model_choice import model_for
from torchlogit.solvers.newton.sampling import Sampler
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
from torchlogit.solvers.stochastic.sgd import SGD
from torchlogit.tutorial import LogisticModule, NoisyThreshold, experiment

every_solver = pytest.mark.parametrize("case", SOLVERS, ids=cases.named)
every_newton = pytest.mark.parametrize("case", NEWTON, ids=cases.named)
BY_NAME = {problem.name: problem for problem in PROBLEMS + KINKED}
PLAIN = BY_NAME["well-conditioned"]


@cache
def reference_optimum(problem: Problem) -> Optimum:
    best = optimum(Plain.of(problem.objective()))
    assert best.finite
    return best


def reachable(case: SolverCase, problem: Problem) -> float:
    """The relative bound that this solver can reach on this problem."""
    return problem.tol if problem.penalty().smooth else max(problem.tol, case.kinked_tol)


@cache
def fitted(case: SolverCase, problem: Problem) -> FitResult:
    """What this solver reaches; called under the fixture above, which depends on the case alone."""
    return fit(problem.objective(), case.solver, Goal(tol=reachable(case, problem)))


def theta_of(objective: Objective, result: FitResult) -> np.ndarray:
    return objective.theta(result.params).numpy().astype(Real)


@pytest.mark.parametrize(("case", "problem"), cases.pairs(PROBLEMS + KINKED))
def test_reaches_the_reference_optimum_and_proves_it(case: SolverCase, problem: Problem) -> None:
    objective = problem.objective()
    plain, best = Plain.of(objective), reference_optimum(problem)
    tol = reachable(case, problem)
    result = fitted(case, problem)
    certificate = result.certificate
    assert certificate.status is Status.CERTIFIED, certificate.message
    assert certificate.relative_bound is not None
    assert certificate.relative_bound <= tol

    theta = theta_of(objective, result)
    value = plain.value(theta)
    assert certificate.objective == pytest.approx(float(value), rel=1e-12)
    gap = float(value - best.value)
    assert gap <= tol * float(best.value)
    assert gap >= -best.error - plain.rounding(theta)
    assert certificate.bound is not None
    assert certificate.bound >= gap - best.error - plain.rounding(theta)

    # F(w) - min F >= sum_i s_i KL(p*_i || p_i) >= sum_i s_i |p*_i - p_i|_1^2 / 2 (Pinsker): so close are predictions
    difference = np.abs(plain.probability(plain.raw(theta)) - plain.probability(plain.raw(best.theta)))
    distance = difference.sum(axis=1) * (2 if difference.shape[1] == 1 else 1)
    far = float((plain.weight * distance**2).sum() / 2)
    assert far <= (certificate.bound + best.error) * (1 + 1e-9)

    history = [step.objective for step in result.history]
    assert all(later <= earlier * (1 + 1e-13) for earlier, later in itertools.pairwise(history))
    assert result.history[-1].bound == certificate.bound
    assert result.passes == result.history[-1].passes <= case.passes
    passes = [step.passes for step in result.history]
    assert passes == sorted(passes)


@pytest.mark.parametrize(("case", "problem"), cases.pairs(KINKED))
def test_zeros_and_bounds_are_exact(case: SolverCase, problem: Problem) -> None:
    """Every coefficient is within its bounds; what the optimum clearly holds on a kink or a bound, is on it."""
    objective = problem.objective()
    plain, best = Plain.of(objective), reference_optimum(problem)
    theta = theta_of(objective, fitted(case, problem))
    assert bool(((plain.lower[:, None] <= theta) & (theta <= plain.upper[:, None])).all())
    held = held_clearly(plain, best)
    assert np.array_equal(theta[held], best.theta[held])
    away = np.abs(best.theta) * np.sqrt((plain.x**2).mean(axis=0))[:, None] > 1e-2
    assert not (theta[away] == 0).any()


def held_clearly(plain: Plain, best: Optimum, margin: float = 1e-2) -> np.ndarray:
    """The entries at rest on a kink or a bound, which only a force larger than the rounding of a fit would move."""
    rest = (best.theta == plain.lower[:, None]) | (best.theta == plain.upper[:, None])
    rest |= (best.theta == 0) & (plain.rate[:, None] > 0)
    force = np.maximum(*plain.pull(best.theta)) / np.sqrt((plain.weight[:, None] * plain.x**2).sum(axis=0))[:, None]
    return rest & (force < -margin)


def test_kinked_problems_hold_enough() -> None:
    """So that the test above is about something."""
    held = {problem.name: held_clearly(Plain.of(problem.objective()), reference_optimum(problem)) for problem in KINKED}
    assert sum(bool(entries.any()) for entries in held.values()) >= 15
    for problem in KINKED:
        if problem.lower is not None and (problem.n_classes == 2 or problem.l1 + problem.l2 > 0):
            assert held[problem.name].any(), problem.name


@every_newton
@pytest.mark.parametrize(
    ("penalty", "power"),
    [(ElasticNet(), 0), (ElasticNet(l2=1.0), 2), (ElasticNet(l1=5.0), 1)],
    ids=["none", "l2", "l1"],
)
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_units_of_the_columns_make_no_difference(
    case: SolverCase, penalty: ElasticNet, power: int, n_outputs: int
) -> None:
    """Columns multiplied by 1e-3 to 1e3, penalty factors to match: the passes, to one, and the predictions."""
    table, units = cases.table(n_outputs=n_outputs), np.logspace(-3, 3, 5)
    loss = Logistic() if n_outputs == 1 else Softmax(n_outputs)
    in_units = replace(penalty, factors=torch.from_numpy(units**power))
    objectives = [
        cases.objective_of(table, loss, penalty), cases.objective_of(replace(table, x=table.x * units), loss, in_units)
    ]  # fmt: skip
    tol = 1e-6 if penalty.smooth else max(1e-6, case.kinked_tol)
    plain, scaled = (fit(objective, case.solver, Goal(tol=tol)) for objective in objectives)
    assert plain.certificate.status is scaled.certificate.status is Status.CERTIFIED
    assert scaled.passes <= plain.passes + 1
    if not penalty.smooth and case.kinked_tol:
        return
    probabilities = []
    for objective in objectives:
        result = fit(objective, case.solver, Goal(tol=1e-12))
        assert result.certificate.status is Status.CERTIFIED, result.certificate.message
        reference = Plain.of(objective)
        probabilities.append(reference.probability(reference.raw(theta_of(objective, result))))
    assert np.abs(probabilities[0] - probabilities[1]).max() <= 1e-6


@every_newton
def test_uses_the_model_it_is_there_to_test(case: SolverCase) -> None:
    solver = case.solver
    assert isinstance(solver, StochasticNewton)
    for problem in PROBLEMS + KINKED:
        objective = problem.objective()
        if objective.design.shape[0] < 300 or case.model is None:
            continue
        model = model_for(
            objective,
            lambda given=objective: Sampler.of(given, torch.Generator().manual_seed(0)),
            hessian_rows=solver.hessian_rows,
            max_dense=solver.max_dense,
            growth=1,
            choice=solver.choice,
        )
        wanted = case.model if problem.penalty().smooth else case.kinked
        assert cases.model_of(model) == wanted, problem.name


@pytest.mark.parametrize(
    ("case", "problem"), cases.pairs([p for p in PROBLEMS if p.l2 > 0 and p.n_classes == 2][:6] + KINKED[::4])
)
def test_a_tighter_goal_ends_no_higher(case: SolverCase, problem: Problem) -> None:
    loose = fit(problem.objective(), case.solver, Goal(tol=1e-3))
    tight = fit(problem.objective(), case.solver, Goal(tol=reachable(case, problem)))
    assert loose.certificate.status is tight.certificate.status is Status.CERTIFIED
    assert tight.certificate.objective <= loose.certificate.objective
    assert loose.passes <= tight.passes


@pytest.mark.parametrize(
    ("case", "problem"),
    cases.pairs([BY_NAME[name] for name in (
        "well-conditioned", "scales 1e-6 to 1e6", "collinear", "softmax 3", "no penalty", "years, no penalty",
        "l1", "elastic net", "box, l2", "softmax 3, l1",
    )]),
)  # fmt: skip
def test_from_the_optimum_one_step_certifies(case: SolverCase, problem: Problem) -> None:
    objective, tol = problem.objective(), reachable(case, problem)
    first = fit(objective, case.solver, Goal(tol=tol / 100))
    again = fit(objective, case.solver, Goal(tol=tol), start=first.params)
    assert again.certificate.status is Status.CERTIFIED
    assert len(again.history) == 1


SOME = ("well-conditioned", "rare columns", "softmax 5", "thirty columns", "elastic net")


@pytest.mark.parametrize(("case", "problem"), cases.pairs([BY_NAME[name] for name in SOME]))
def test_same_seed_same_bits(case: SolverCase, problem: Problem) -> None:
    runs = [fit(problem.objective(), case.solver, Goal(tol=reachable(case, problem))) for _ in range(2)]
    assert torch.equal(runs[0].params.coef, runs[1].params.coef)
    assert torch.equal(runs[0].params.intercept, runs[1].params.intercept)
    assert runs[0].certificate == runs[1].certificate
    assert [s.objective for s in runs[0].history] == [s.objective for s in runs[1].history]


@every_solver
@pytest.mark.parametrize("seed", range(3))
def test_the_global_generator_is_left_alone(case: SolverCase, seed: int) -> None:
    torch.manual_seed(seed)
    before = torch.random.get_rng_state()
    fit(PLAIN.objective(), case.solver)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "problem",
    [
        p for p in PROBLEMS
        if p.plain_scale and p.dtype is torch.float64 and p.l2 >= 0.01
        and "soft t" not in p.name and "offset" not in p.name
    ],
    ids=cases.named,
)  # fmt: skip
@pytest.mark.parametrize("rival", ["lbfgs", "newton-cholesky"])
def test_agrees_with_scikit_learn(problem: Problem, rival: str) -> None:
    table = problem.table()
    objective = problem.objective()
    ours = fit(objective, StochasticNewton(), Goal(tol=1e-13))
    y = table.target[:, 0] if problem.n_classes == 2 else table.target.argmax(axis=1)
    model = LogisticRegression(
        C=1 / problem.l2, solver=rival, tol=1e-10, max_iter=10_000, fit_intercept=problem.intercept
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that float64 ends before tol is reached
        model.fit(table.x, y, sample_weight=table.weight)
    theirs = objective.theta(
        Params(
            torch.from_numpy(np.asarray(model.coef_, dtype=np.float64).T),
            torch.from_numpy(np.atleast_1d(np.asarray(model.intercept_, dtype=np.float64))),
        )
    )
    value = objective.value(theirs, objective.raw(theirs))
    assert ours.certificate.objective <= value * (1 + 1e-13)
    assert value == pytest.approx(ours.certificate.objective, rel=1e-8)
    torch.testing.assert_close(
        objective.visible(objective.theta(ours.params)), objective.visible(theirs), rtol=1e-3, atol=1e-4
    )


# -- SGD ------------------------------------------------------------------------------------------------


def tutorial_problem() -> tuple[Objective, Params]:
    """The notebook's rows, and the point its model starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        data = NoisyThreshold()
        list(torch.utils.data.DataLoader(data, batch_size=5))
        linear = LogisticModule().linear
    objective = Objective.of(Dense.of(data.x), data.y, loss=Logistic(), penalty=ElasticNet())
    return objective, Params(linear.weight.detach().double(), linear.bias.detach().double())


def test_sgd_reproduces_the_tutorial() -> None:
    wanted = experiment()
    objective, start = tutorial_problem()
    result = fit(objective, SGD(learning_rate=0.05, batch_size=5, n_epochs=20), start=start)
    assert float(result.params.coef) == pytest.approx(wanted.weight, abs=1e-4)
    assert float(result.params.intercept) == pytest.approx(wanted.bias, abs=1e-4)
    assert len(result.history) == 20
    assert result.passes == 20
    assert result.certificate.status in (Status.BUDGET, Status.CERTIFIED)
    assert result.certificate.bound is not None
    plain = Plain.of(objective)
    gap = float(plain.value(theta_of(objective, result)) - optimum(plain).value)
    assert gap <= result.certificate.bound <= 1.5 * gap


@pytest.mark.parametrize(
    ("optimizer", "learning_rate"),
    [
        (torch.optim.SGD, 0.1),
        (partial(torch.optim.SGD, momentum=0.9), 0.02),
        (torch.optim.Adam, 0.02),
        (torch.optim.Adagrad, 0.5),
    ],
    ids=["sgd", "momentum", "adam", "adagrad"],
)
@pytest.mark.parametrize("name", ["well-conditioned", "softmax 3"])
def test_any_torch_optimizer_works(optimizer: object, learning_rate: float, name: str) -> None:
    problem = BY_NAME[name]
    solver = SGD(learning_rate, batch_size=50, n_epochs=15, shuffle=True, optimizer=optimizer)  # type: ignore[arg-type]
    result = fit(problem.objective(), solver, Goal(tol=1e-9))
    best = reference_optimum(problem)
    certificate = result.certificate
    assert certificate.objective <= float(best.value) * 1.02
    assert certificate.bound is not None
    assert certificate.bound >= certificate.objective - float(best.value)
    assert certificate.status is Status.BUDGET
    assert "15 passes" in certificate.message


def test_sgd_that_arrives_is_certified() -> None:
    solver = SGD(learning_rate=1.0, batch_size=500, n_epochs=150)
    result = fit(PLAIN.objective(), solver, Goal(tol=1e-6))
    assert result.certificate.status is Status.CERTIFIED


def test_sgd_shuffles_by_its_seed() -> None:
    solvers = [SGD(batch_size=20, n_epochs=2, shuffle=True, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (fit(PLAIN.objective(), solver).params.coef for solver in solvers)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_step_of_sgd_is_against_the_mean_gradient() -> None:
    """One batch of all rows: theta - rate * gradient of F / sum of weights."""
    objective = BY_NAME["uneven weights"].objective()
    start = cases.random_theta(objective)
    gradient = objective.gradient(start, objective.residual(objective.raw(start)))
    result = fit(objective, SGD(0.3, batch_size=10**6, n_epochs=1), start=objective.params(start))
    wanted = start - 0.3 * gradient / objective.total_weight
    torch.testing.assert_close(objective.theta(result.params), wanted, rtol=1e-13, atol=1e-15)


def test_sgd_that_leaves_the_floats_says_where() -> None:
    objective = BY_NAME["scales 1e-6 to 1e6"].objective()
    result = fit(objective, SGD(learning_rate=1e305, batch_size=100, n_epochs=3))
    assert result.certificate.status is Status.DIVERGED
    assert "batch 1" in result.certificate.message
    assert "epoch 1" in result.certificate.message
    assert "learning_rate=1e+305" in result.certificate.message
    assert result.certificate.bound is None
    assert bool(torch.isfinite(result.params.coef).all())


@pytest.mark.parametrize(
    "bad",
    [
        {"learning_rate": 0.0}, {"learning_rate": -1.0}, {"learning_rate": float("nan")}, {"batch_size": 0},
        {"n_epochs": 0},
    ],
)  # fmt: skip
def test_bad_sgd_options_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected"):
        SGD(**bad)  # type: ignore[arg-type]


# -- how a fit ends ---------------------------------------------------------------------------------------

NEVER = Goal(tol=0.0)


def test_stops_when_passes_are_spent() -> None:
    result = fit(PLAIN.objective(), StochasticNewton(), Goal(tol=0.0, max_iter=3))
    assert result.certificate.status is Status.BUDGET
    assert "3 passes" in result.certificate.message
    assert 3 <= result.passes < 6


def test_stops_when_time_is_spent() -> None:
    result = fit(PLAIN.objective(), StochasticNewton(), Goal(tol=0.0, time_budget=1e-9))
    assert result.certificate.status is Status.BUDGET
    assert "seconds" in result.certificate.message
    assert len(result.history) == 1


def test_a_monitor_sees_every_step_and_stops_it() -> None:
    seen: list[Step] = []

    def watch(progress: FitProgress) -> bool:
        seen.append(progress.step)
        return len(seen) == 2

    result = fit(PLAIN.objective(), StochasticNewton(), NEVER, monitors=[watch])
    assert result.certificate.status is Status.BUDGET
    assert "monitor" in result.certificate.message
    assert result.history == tuple(seen)
    assert len(seen) == 2


def test_every_monitor_is_called_though_one_stops() -> None:
    calls: list[FitProgress] = []

    def note(progress: FitProgress) -> bool:
        calls.append(progress)
        return False

    fit(PLAIN.objective(), StochasticNewton(), NEVER, monitors=[lambda _: True, note])
    assert len(calls) == 1


def test_an_interrupt_keeps_the_answer() -> None:
    def interrupt(progress: FitProgress) -> bool:
        if progress.step.passes > 4:
            raise KeyboardInterrupt
        return False

    objective = PLAIN.objective()
    result = fit(objective, StochasticNewton(), NEVER, monitors=[interrupt])
    assert result.certificate.status is Status.BUDGET
    assert "interrupted" in result.certificate.message
    assert result.history
    theta = objective.theta(result.params)
    assert objective.value(theta, objective.raw(theta)) == pytest.approx(result.certificate.objective, rel=1e-12)


def test_an_interrupt_before_any_answer_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def iterates(self, objective: Objective, start: Params | None) -> object:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(PLAIN.objective(), Interrupted())  # type: ignore[arg-type]


def test_certifying_takes_part_in_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []
    certify = torchlogit.fit.newton_dual_bound

    def slow(*args: Any, **options: Any) -> object:
        time.sleep(0.05)
        slept.append(1)
        return certify(*args, **options)

    monkeypatch.setattr(torchlogit.fit, "newton_dual_bound", slow)
    result = fit(PLAIN.objective(), StochasticNewton(), Goal(tol=1e-9))
    assert slept
    assert result.seconds >= 0.05 * len(slept)


@pytest.mark.parametrize("tol", [1e-16, 0.0])
def test_a_goal_beyond_rounding_ends_with_the_bound_that_there_is(tol: float) -> None:
    result = fit(PLAIN.objective(), StochasticNewton(), Goal(tol=tol))
    assert result.certificate.status in (Status.UNCERTIFIABLE, Status.BUDGET)
    assert result.certificate.bound is not None
    assert result.certificate.relative_bound is not None
    assert result.certificate.relative_bound < 1e-12
    assert result.passes < 60


def test_standard_errors_as_a_goal() -> None:
    result = fit(PLAIN.objective(), StochasticNewton(), Goal(tol=1.0, standard_errors=1e-3))
    assert result.certificate.status is Status.CERTIFIED
    assert result.certificate.standard_errors is not None
    assert result.certificate.standard_errors <= 1e-3


def test_a_bound_in_standard_errors_bounds_every_coefficient() -> None:
    """To second order: |w_j - w*_j| <= sqrt(2 bound) standard errors."""
    objective = PLAIN.objective()
    best = reference_optimum(PLAIN)
    for tol in (1e-3, 1e-5):
        result = fit(objective, StochasticNewton(), Goal(tol=tol))
        assert result.certificate.standard_errors is not None
        theta = objective.theta(result.params)
        inverse = torch.linalg.inv(objective.hessian(objective.residual(objective.raw(theta))))
        errors = inverse.diagonal().sqrt()
        away = (theta[:, 0] - torch.from_numpy(best.theta[:, 0].astype(float))).abs() / errors
        assert float(away.max()) <= 1.1 * result.certificate.standard_errors


def test_a_start_is_taken_in_any_dtype_and_shift() -> None:
    """A constant added to every class changes no prediction, so neither the answer."""
    problem = BY_NAME["softmax 3"]
    objective = problem.objective()
    start = Params(torch.ones(5, 3), torch.full((3,), 100.0))
    result = fit(objective, StochasticNewton(), Goal(tol=1e-9), start=start)
    assert result.certificate.status is Status.CERTIFIED
    assert float(result.params.intercept.sum().abs()) < 1e-9


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_single_row_per_class_is_enough(n_classes: int) -> None:
    target = torch.eye(3)[:, :3] if n_classes == 3 else torch.tensor([[0.0], [1.0]])
    x = torch.arange(len(target), dtype=torch.float64)[:, None]
    loss = Softmax(3) if n_classes == 3 else Logistic()
    objective = Objective.of(Dense.of(x), target, loss=loss, penalty=ElasticNet(l2=1.0))
    assert fit(objective, StochasticNewton(), Goal(tol=1e-9)).certificate.status is Status.CERTIFIED


def test_only_an_intercept() -> None:
    """No columns at all: the answer is the mean target."""
    target = torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    objective = Objective.of(Dense.of(torch.zeros(4, 0)), target, loss=Logistic(), penalty=ElasticNet())
    result = fit(objective, StochasticNewton())
    assert result.certificate.status is Status.CERTIFIED
    assert float(torch.sigmoid(result.params.intercept)) == pytest.approx(0.75)


def test_a_bound_that_is_no_number_meets_no_goal() -> None:
    for bound in (float("nan"), float("inf"), None):
        assert not Goal(tol=1.0).met(Certificate(Status.BUDGET, 1.0, bound))


def test_an_outlier_on_the_wrong_side_is_certified_with_a_number() -> None:
    """38 logits on the wrong side: 1 - p is 0 in float64, and so is its part of the entropy."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 1, dtype=torch.float64, generator=generator)
    y = (torch.rand(2000, 1, dtype=torch.float64, generator=generator) < torch.sigmoid(5 * x)).double()
    x[0], y[0] = -12.0, 1.0
    result = fit(Objective.of(Dense.of(x), y, loss=Logistic(), penalty=ElasticNet()), StochasticNewton())
    assert result.certificate.status is Status.CERTIFIED
    assert result.certificate.bound is not None
    assert 0 <= result.certificate.bound <= 1e-6 * result.certificate.objective


@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_seconds_within_ten_minutes(l2: float) -> None:
    """1.6e9 and 600 apart: float64 has nine digits left, and the answer is not the empty model."""
    table = cases.table(lambda rng, n, d: 1.6e9 + np.round(600 * rng.standard_normal((n, d))), d=1, signal=3.0)
    objective = cases.objective_of(table, Logistic(), ElasticNet(l2=l2)).conditioned()
    result = fit(objective, StochasticNewton())
    assert result.certificate.status is Status.CERTIFIED
    empty = objective.start()
    assert result.certificate.objective < 0.9 * objective.value(empty, objective.raw(empty))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("problem", [p for p in PROBLEMS + KINKED if p.design == "dense"], ids=cases.named)
def test_cuda_gives_the_same_answer(problem: Problem) -> None:
    here = problem.objective()
    assert isinstance(here.design, Dense)
    there = Objective.of(
        Dense(here.design.values.cuda(), here.design.has_intercept),
        here.target.cuda(),
        loss=here.loss,
        penalty=here.penalty,
        weight=here.weight.cuda(),
    )
    result, best = fit(there, StochasticNewton(), Goal(tol=problem.tol)), reference_optimum(problem)
    assert result.certificate.status is Status.CERTIFIED
    theta = here.theta(Params(result.params.coef.cpu(), result.params.intercept.cpu())).numpy().astype(Real)
    assert float(Plain.of(here).value(theta) - best.value) <= problem.tol * float(best.value)
