"""The tables that the conformance tests run over: losses, penalties, solvers and problems.

One row each. A new loss, penalty, solver or kind of data gets every test by adding its row here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference.penalties import Separable
from torchlogit.design import Dense, DesignMatrix, Sparse
from torchlogit.losses import Logistic, Loss, Softmax, loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.solvers import Solver
from torchlogit.solvers.dual.dual_ascent import DualAscent
from torchlogit.solvers.newton.model_choice import ModelChoice
from torchlogit.solvers.newton.models import AllRows, BlocksWithKinks, SampleWithKinks
from torchlogit.solvers.newton.preconditioned import Preconditioned
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton
from torchlogit.solvers.stochastic.sgd import SGD
from torchlogit.solvers.stochastic.tuning_free import SAGA, DoG, ImplicitSGD

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LossCase:
    """A loss, and its number of classes."""

    name: str
    loss: Loss
    n_classes: int


LOSSES = [
    LossCase("logistic", Logistic(), 2),
    LossCase("softmax of 3", Softmax(3), 3),
    LossCase("softmax of 5", Softmax(5), 5),
]


@dataclass(frozen=True, slots=True)
class PenaltyCase:
    """A penalty, for N_FEATURES features, and the same penalty by its definition."""

    name: str
    penalty: ElasticNet
    reference: Separable

    @classmethod
    def of(
        cls,
        name: str,
        l1: float = 0.0,
        l2: float = 0.0,
        *,
        factors: tuple[float, ...] = (),
        lower: tuple[float, ...] = (),
        upper: tuple[float, ...] = (),
        ridge: tuple[float, ...] = (),
    ) -> PenaltyCase:
        """Both from the same numbers."""
        tensors = [torch.tensor(v, dtype=torch.float64) if v else None for v in (factors, lower, upper, ridge)]
        return cls(name, ElasticNet(l1, l2, *tensors), Separable(l1, l2, factors, lower, upper, ridge))


N_FEATURES = 4
INF = float("inf")
SIGNS = {"lower": (0.0, -INF, 0.0, -INF), "upper": (INF, 0.0, INF, INF)}
BOX = {"lower": (-0.5, 0.0, 0.25, 0.25), "upper": (0.5, 1.0, 2.0, 0.25)}
UNEVEN = (0.0, 1.0, 0.5, 3.0)
PENALTIES = [
    PenaltyCase.of("none"),
    PenaltyCase.of("l2", l2=1.0),
    PenaltyCase.of("tiny l2", l2=1e-6),
    PenaltyCase.of("large l2", l2=300.0),
    PenaltyCase.of("l2, factors", l2=0.7, factors=UNEVEN),
    PenaltyCase.of("l2, factors, ridge", l2=0.7, factors=UNEVEN, ridge=(0.1, 0.0, 2.0, 0.0)),
    PenaltyCase.of("l1", l1=0.7),
    PenaltyCase.of("l1, factors", l1=0.7, factors=UNEVEN),
    PenaltyCase.of("elastic net", l1=0.7, l2=0.3),
    PenaltyCase.of("elastic net, tiny l2", l1=0.7, l2=1e-9),
    PenaltyCase.of("elastic net, factors", l1=0.7, l2=0.3, factors=UNEVEN),
    PenaltyCase.of("signs", **SIGNS),
    PenaltyCase.of("signs, l2", l2=0.3, **SIGNS),
    PenaltyCase.of("signs, l1", l1=0.7, **SIGNS),
    PenaltyCase.of("signs, elastic net, factors", l1=0.7, l2=0.3, factors=UNEVEN, **SIGNS),
    PenaltyCase.of("box", **BOX),
    PenaltyCase.of("box, l1, factors", l1=0.7, factors=UNEVEN, **BOX),
    PenaltyCase.of("box, elastic net", l1=0.7, l2=0.3, **BOX),
]
SMOOTH = [case for case in PENALTIES if case.penalty.smooth]


@dataclass(frozen=True, slots=True)
class SolverCase:
    """A solver that reaches the optimum. model: how its steps are made, see `model_of`, on tables of 300 rows or more.

    kinked: the same where the penalty has kinks or bounds. passes: it may take. kinked_tol: the least relative bound
    with kinks. takes: whether a problem is one for it.
    """

    name: str
    solver: Solver
    model: str | None = None
    kinked: str | None = None
    passes: float = 60
    kinked_tol: float = 0.0
    takes: Callable[[Problem], bool] = lambda problem: True


ALWAYS_ALL_ROWS = ModelChoice(all_rows_share=0.0)  # however many there are
SMALL_SAMPLES = ModelChoice(cheap_operations=0.0)  # of as few rows as the solver asks for, however short the table is
WORKING_SETS = ModelChoice(wide_with_kinks=0, first_columns=1)  # however few columns there are
NEWTON = [
    SolverCase("newton, all rows", StochasticNewton(choice=ALWAYS_ALL_ROWS), "all rows", "all rows"),
    SolverCase("newton, sampled", StochasticNewton(hessian_rows=1, choice=SMALL_SAMPLES), "sample", "sample"),
    SolverCase(
        "newton, preconditioned", StochasticNewton(hessian_rows=10**6, choice=SMALL_SAMPLES), "preconditioner",
        "all rows", passes=200,
    ),
    SolverCase("newton, matrix-free", StochasticNewton(max_dense=1), "preconditioner", "blocks", passes=200,
               kinked_tol=1e-6),
    SolverCase("newton, default", StochasticNewton(seed=3)),
    SolverCase("newton, working sets", StochasticNewton(choice=WORKING_SETS), takes=lambda p: not p.penalty().smooth),
]  # fmt: skip
SLOW_IN_THE_DUAL = ("collinear", "constant column", "uneven weights", "csr, uneven weights, offsets")


def for_the_dual(problem: Problem) -> bool:
    """Two classes, no bounds, and l2 enough on every column for dual ascent to arrive within 200 passes."""
    if problem.n_classes > 2 or problem.lower or not problem.plain_scale or problem.name in SLOW_IN_THE_DUAL:
        return False
    return problem.l2 >= 1 and (problem.factors is None or min(problem.factors) > 0.1)


DUAL = SolverCase("dual", DualAscent(), passes=200, takes=for_the_dual)
SOLVERS = [*NEWTON, DUAL]


def pairs(problems: Sequence[Problem]) -> list[Any]:
    """Every solver with each of these problems that it takes: for parametrize."""
    return [
        pytest.param(case, problem, id=f"{named(case)}-{named(problem)}")
        for case in SOLVERS
        for problem in problems
        if case.takes(problem)
    ]


def model_of(model: object) -> str:
    """How a Newton model makes its steps."""
    names: list[tuple[type, str]] = [(AllRows, "all rows"), (SampleWithKinks, "sample"), (BlocksWithKinks, "blocks")]
    for kind, name in names:
        if isinstance(model, kind):
            return name
    assert isinstance(model, Preconditioned)
    return "sample" if model.direct else "preconditioner"


@dataclass(frozen=True, slots=True)
class StochasticCase:
    """A stochastic solver, and how far above the minimum it may be after 15 passes, columns of one size, relative."""

    name: str
    solver: SGD | DoG | ImplicitSGD | SAGA
    after_15_passes: float

    def with_seed(self, seed: int) -> Solver:
        """The same solver with another seed."""
        return replace(self.solver, seed=seed)


STOCHASTIC = [
    StochasticCase("sgd, averaged", SGD(0.2, batch_size=16, n_epochs=15, shuffle=True, average_after=5), 0.02),
    StochasticCase("dog", DoG(batch_size=8), 0.05),
    StochasticCase("implicit sgd", ImplicitSGD(batch_size=16), 0.01),
    StochasticCase("saga", SAGA(), 0.003),
]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as arrays: x (n, d), target and offset (n, n_outputs), weight (n,); None for weights of one, no offset."""

    x: Array
    target: Array
    weight: Array | None = None
    offset: Array | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A table, and what is to be minimised on it: l1, l2, and for each column a factor of both and its bounds.

    tol: the relative bound that every solver can reach; 1e-9, or what rounding leaves where that is more.
    plain_scale: columns of one size, so that solvers without preconditioning agree too. design: of DESIGNS.
    """

    name: str
    table: Callable[[], Table]
    n_classes: int = 2
    l2: float = 1.0
    l1: float = 0.0
    factors: tuple[float, ...] | None = None
    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None
    intercept: bool = True
    dtype: torch.dtype = torch.float64
    tol: float = 1e-9
    plain_scale: bool = True
    design: str = "dense"

    def objective(self) -> Objective:
        """F of this problem."""
        return objective_of(
            self.table(),
            loss_for(self.n_classes),
            self.penalty(),
            intercept=self.intercept,
            dtype=self.dtype,
            design=self.design,
        )

    def penalty(self) -> ElasticNet:
        """Omega of this problem."""
        given = (self.factors, self.lower, self.upper)
        factors, lower, upper = (None if part is None else torch.tensor(part, dtype=torch.float64) for part in given)
        return ElasticNet(self.l1, self.l2, factors, lower, upper)


def dense(x: Tensor, intercept: bool) -> DesignMatrix:
    """A design of all values."""
    return Dense.of(x, intercept=intercept)


def csr(x: Tensor, intercept: bool) -> DesignMatrix:
    """A design of the values that are not zero."""
    return Sparse.of(scipy.sparse.csr_array(x.numpy()), intercept=intercept)


DESIGNS = {"dense": dense, "csr": csr}


def objective_of(
    table: Table,
    loss: Loss,
    penalty: ElasticNet,
    *,
    intercept: bool = True,
    dtype: torch.dtype = torch.float64,
    design: str = "dense",
) -> Objective:
    """F of a table."""
    rows = DESIGNS[design](torch.from_numpy(table.x).to(dtype), intercept)
    weight, offset = (None if part is None else torch.from_numpy(part) for part in (table.weight, table.offset))
    return Objective.of(rows, torch.from_numpy(table.target), loss=loss, penalty=penalty, weight=weight, offset=offset)


def labels(rng: np.random.Generator, raw: Array) -> Array:
    """Hard targets drawn from these raw predictions."""
    if raw.shape[1] == 1:
        return (rng.random(raw.shape) < 1 / (1 + np.exp(-raw))).astype(float)
    noisy = raw + rng.gumbel(size=raw.shape)
    return (noisy == noisy.max(axis=1, keepdims=True)).astype(float)


def soft(rng: np.random.Generator, raw: Array, eighths: int = 8) -> Array:
    """Targets in between: the mean of several labels each, in exact binary fractions that sum to one."""
    return np.mean([labels(rng, raw) for _ in range(eighths)], axis=0)


def standard_normal(rng: np.random.Generator, n: int, d: int) -> Array:
    """Independent standard normal columns."""
    return rng.standard_normal((n, d))


def table(
    columns: Callable[[np.random.Generator, int, int], Array] = standard_normal,
    *,
    n: int = 500,
    d: int = 5,
    n_outputs: int = 1,
    signal: float = 1.0,
    base_rate: float = 0.0,
    targets: Callable[[np.random.Generator, Array], Array] = labels,
    weights: Callable[[np.random.Generator, int], Array] | None = None,
    offsets: bool = False,
    seed: int = 0,
) -> Table:
    """A random table: columns, then labels drawn from a random linear model on them, standardised."""
    rng = np.random.default_rng(seed)
    x = columns(rng, n, d)
    spread = x.std(axis=0)
    units = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1)
    raw = signal * units @ rng.standard_normal((x.shape[1], n_outputs)) / np.sqrt(x.shape[1]) + base_rate
    offset = 2 * rng.standard_normal(raw.shape) if offsets else None
    target = targets(rng, raw if offset is None else raw + offset)
    return Table(x, target, weights(rng, n) if weights else None, offset)


# -- columns ----------------------------------------------------------------------------------------


def scaled(rng: np.random.Generator, n: int, d: int) -> Array:
    """Column sizes from 1e-6 to 1e6."""
    return rng.standard_normal((n, d)) * np.logspace(-6, 6, d)


def rare(rng: np.random.Generator, n: int, d: int) -> Array:
    """Half of the columns are one-hot, with a handful of rows each."""
    x = rng.standard_normal((n, d))
    for j in range(d // 2):
        x[:, j] = 0
        x[rng.choice(n, 3 + j, replace=False), j] = 1
    return x


def scarce(rng: np.random.Generator, n: int, d: int) -> Array:
    """One value in six is not zero; some rows have none."""
    return rng.standard_normal((n, d)) * (rng.random((n, d)) < 1 / 6)


def one_empty(rng: np.random.Generator, n: int, d: int) -> Array:
    """The same, and a column of zeros."""
    x = scarce(rng, n, d)
    x[:, -1] = 0
    return x


def collinear(rng: np.random.Generator, n: int, d: int) -> Array:
    """Small integers; the last columns are the first one doubled and the sum of the first two, exactly."""
    x = rng.integers(-3, 4, (n, d)).astype(float)
    x[:, -1], x[:, -2] = 2 * x[:, 0], x[:, 0] + x[:, 1]
    return x


def constant(rng: np.random.Generator, n: int, d: int) -> Array:
    """One column is constant: the intercept, twice."""
    x = rng.standard_normal((n, d))
    x[:, 1] = 7.0
    return x


def years(rng: np.random.Generator, n: int, d: int) -> Array:
    """Far from zero by a hundred times their spread."""
    return rng.integers(1990, 2025, (n, d)).astype(float)


def timestamps(rng: np.random.Generator, n: int, d: int) -> Array:
    """Far from zero by a thousand times their spread."""
    return 1e6 + 1e3 * rng.standard_normal((n, d))


def heavy_tails(rng: np.random.Generator, n: int, d: int) -> Array:
    """Log-normal columns: a few rows hold most of each."""
    return np.exp(2 * rng.standard_normal((n, d)))


# -- weights ----------------------------------------------------------------------------------------


def small_counts(rng: np.random.Generator, n: int) -> Array:
    """0 to 4."""
    return rng.integers(0, 5, n).astype(float)


def uneven(rng: np.random.Generator, n: int) -> Array:
    """Between a thousandth and a thousand."""
    return 10 ** rng.uniform(-3, 3, n)


PROBLEMS = [
    Problem("well-conditioned", partial(table)),
    Problem("well-conditioned, float32", partial(table), dtype=torch.float32),
    Problem("no intercept", partial(table), intercept=False),
    Problem("no penalty", partial(table), l2=0.0),
    Problem("no penalty, no intercept", partial(table), l2=0.0, intercept=False),
    Problem("no penalty, scales", partial(table, scaled), l2=0.0, plain_scale=False),
    Problem("strong signal", partial(table, signal=8.0), l2=0.01),
    Problem("scales 1e-6 to 1e6", partial(table, scaled), plain_scale=False),
    Problem("scales, tiny l2", partial(table, scaled), l2=1e-6, tol=1e-8, plain_scale=False),
    Problem("scales, float32", partial(table, scaled), dtype=torch.float32, plain_scale=False),
    Problem("rare columns", partial(table, rare, d=8)),
    Problem("rare columns, tiny l2", partial(table, rare, d=8), l2=1e-6),
    Problem("collinear", partial(table, collinear)),
    Problem("collinear, no penalty", partial(table, collinear), l2=0.0),
    Problem("collinear, tiny l2", partial(table, collinear), l2=1e-6),
    Problem("constant column", partial(table, constant)),
    Problem("constant column, no penalty", partial(table, constant), l2=0.0),
    Problem("years", partial(table, years), plain_scale=False),
    Problem("years, no penalty", partial(table, years), l2=0.0, plain_scale=False),
    Problem("timestamps", partial(table, timestamps, d=3), plain_scale=False),
    Problem("timestamps, no penalty", partial(table, timestamps, d=3), l2=0.0, plain_scale=False),
    Problem("heavy tails", partial(table, heavy_tails), plain_scale=False),
    Problem("imbalanced 1%", partial(table, n=2000, base_rate=-5.0)),
    Problem("soft targets", partial(table, targets=soft)),
    Problem("soft targets, no penalty", partial(table, targets=soft), l2=0.0),
    Problem("weights with zeros", partial(table, weights=small_counts)),
    Problem("uneven weights", partial(table, weights=uneven)),
    Problem("tiny l2", partial(table), l2=1e-6),
    Problem("large l2", partial(table), l2=300.0),
    Problem("more columns than rows", partial(table, n=40, d=60)),
    Problem("more columns than rows, tiny l2", partial(table, n=40, d=60), l2=1e-6),
    Problem("softmax 3", partial(table, n_outputs=3), n_classes=3),
    Problem("softmax 3, no penalty", partial(table, n_outputs=3), n_classes=3, l2=0.0),
    Problem("softmax 3, scales, float32", partial(table, scaled, n_outputs=3), n_classes=3, dtype=torch.float32,
            plain_scale=False),
    Problem("softmax 3, collinear", partial(table, collinear, n_outputs=3), n_classes=3, l2=1e-6),
    Problem("softmax 5", partial(table, n_outputs=5), n_classes=5),
    Problem("softmax 5, no intercept, weights", partial(table, n_outputs=5, weights=small_counts), n_classes=5,
            intercept=False),
    Problem("softmax 5, soft targets", partial(table, n_outputs=5, targets=soft), n_classes=5),
    Problem("offsets", partial(table, offsets=True)),
    Problem("offsets, no penalty", partial(table, offsets=True), l2=0.0),
    Problem("softmax 3, offsets, no penalty", partial(table, n_outputs=3, offsets=True), n_classes=3, l2=0.0),
    Problem("csr", partial(table, scarce), design="csr"),
    Problem("csr, an empty column", partial(table, one_empty), design="csr"),
    Problem("csr, an empty column, no penalty", partial(table, one_empty), l2=0.0, design="csr"),
    Problem("csr, float32", partial(table, scarce), dtype=torch.float32, design="csr"),
    Problem("csr, no intercept, weights", partial(table, scarce, weights=small_counts), intercept=False, design="csr"),
    Problem("csr, no penalty", partial(table, scarce), l2=0.0, design="csr"),
    Problem("csr, tiny l2", partial(table, rare, d=8), l2=1e-6, design="csr"),
    Problem("csr, all values", partial(table), design="csr"),
    Problem("csr, collinear, no penalty", partial(table, collinear), l2=0.0, design="csr"),
    Problem("csr, uneven weights, offsets", partial(table, scarce, weights=uneven, offsets=True), design="csr"),
    Problem("csr, more columns than rows", partial(table, scarce, n=40, d=60), design="csr"),
    Problem("csr, softmax 3", partial(table, scarce, n_outputs=3), n_classes=3, design="csr"),
    Problem("csr, softmax 3, soft targets, no penalty", partial(table, scarce, n_outputs=3, targets=soft), n_classes=3,
            l2=0.0, design="csr"),
    Problem("one column", partial(table, d=1)),
    Problem("thirty columns", partial(table, n=3000, d=30)),
]  # fmt: skip


UNITS = tuple(10.0**power for power in range(-6, 7, 3))  # of `scaled` columns, five of them

KINKED = [
    Problem("l1", partial(table), l1=25.0, l2=0.0),
    Problem("l1, empty model", partial(table), l1=300.0, l2=0.0),
    Problem("elastic net", partial(table), l1=25.0),
    Problem("elastic net, soft targets, no intercept", partial(table, targets=soft), l1=5.0, intercept=False),
    Problem("l1, tiny l2", partial(table), l1=25.0, l2=1e-6),
    Problem("l1, float32", partial(table), l1=25.0, l2=0.0, dtype=torch.float32),
    Problem("l1, some columns free", partial(table), l1=10.0, l2=0.0, factors=(1.0, 0.0, 3.0, 0.0, 0.5)),
    Problem("l1, collinear", partial(table, collinear), l1=3.0, l2=0.0),
    Problem("l1, rare columns", partial(table, rare, d=8), l1=0.5, l2=0.0),
    Problem("l1, constant column", partial(table, constant), l1=3.0, l2=0.0),
    Problem("l1, uneven weights", partial(table, weights=uneven), l1=3000.0, l2=0.0),
    Problem("l1, scales 1e-6 to 1e6", partial(table, scaled), l1=30.0, l2=0.0, factors=UNITS, plain_scale=False),
    Problem("elastic net, scales, one factor", partial(table, scaled), l1=1.0, plain_scale=False),
    Problem("l1, thirty columns", partial(table, n=3000, d=30), l1=20.0, l2=0.0),
    Problem("l1, more columns than rows", partial(table, n=40, d=60), l1=1.0, l2=0.0),
    Problem("l2, some columns free", partial(table), factors=(1.0, 0.0, 3.0, 0.0, 1e-3)),
    Problem("signs, no penalty", partial(table), l2=0.0, lower=(0.0, 0.0, 0.0, -INF, -INF),
            upper=(INF, INF, INF, 0.0, 0.0)),
    Problem("signs, scales, no penalty", partial(table, scaled), l2=0.0, lower=(0.0,) * 5, plain_scale=False),
    Problem("box, no penalty", partial(table), l2=0.0, lower=(-0.1,) * 5, upper=(0.2, 0.1, 0.3, 0.1, INF)),
    Problem("box, l2", partial(table), lower=(-0.1,) * 5, upper=(0.2, 0.1, 0.3, 0.1, INF)),
    Problem("box, l1, off zero", partial(table), l1=3.0, l2=0.0, lower=(0.1, -INF, -0.5, -0.1, -1.0),
            upper=(0.3, -0.2, 0.5, 0.1, INF)),
    Problem("fixed coefficients", partial(table), l2=0.0, lower=(0.5, -INF, 0.0, -INF, -0.25),
            upper=(0.5, INF, 0.0, INF, -0.25)),
    Problem("signs, collinear, no penalty", partial(table, collinear), l2=0.0, lower=(0.0,) * 5),
    Problem("softmax 3, l1", partial(table, n_outputs=3), n_classes=3, l1=3.0, l2=0.0),
    Problem("softmax 3, elastic net, weights", partial(table, n_outputs=3, weights=small_counts), n_classes=3, l1=5.0),
    Problem("softmax 3, box", partial(table, n_outputs=3), n_classes=3, l2=0.0, lower=(-0.1,) * 5, upper=(0.2,) * 5),
    Problem("softmax 3, signs, l2", partial(table, n_outputs=3), n_classes=3, lower=(0.0,) * 5),
    Problem("softmax 3, signs, no intercept", partial(table, n_outputs=3), n_classes=3, l2=0.0, lower=(0.0,) * 5,
            intercept=False),
    Problem("softmax 5, l1, some columns free", partial(table, n_outputs=5, d=3), n_classes=5, l1=3.0, l2=0.0,
            factors=(1.0, 0.0, 2.0)),
    Problem("csr, elastic net, factors", partial(table, scarce), l1=1.0, factors=(1.0, 0.25, 3.0, 0.5, 2.0),
            design="csr"),
    Problem("csr, l1", partial(table, scarce), l1=5.0, l2=0.0, design="csr"),
    Problem("csr, elastic net, some columns free", partial(table, rare), l1=1.0, factors=(1.0, 0.0, 3.0, 0.0, 0.5),
            design="csr"),
    Problem("csr, softmax 3, signs, l2", partial(table, scarce, n_outputs=3), n_classes=3, lower=(0.0,) * 5,
            design="csr"),
    Problem("l1, offsets", partial(table, offsets=True), l1=20.0, l2=0.0),
    Problem("softmax 3, l1, offsets", partial(table, n_outputs=3, offsets=True), n_classes=3, l1=3.0, l2=0.0),
]  # fmt: skip


def named(case: Any) -> str:
    """The id of a parametrised test."""
    return str(case.name).replace(" ", "-").replace(",", "")


def random_theta(objective: Objective, size: float = 1.0, seed: int = 0) -> Tensor:
    """A point whose raw predictions are of this size, whatever the columns' units."""
    generator = torch.Generator().manual_seed(seed)
    p = objective.design.shape[1]
    theta = torch.randn(p, objective.loss.n_outputs, dtype=torch.float64, generator=generator)
    mean_square = objective.moments[1] / objective.total_weight
    units = torch.where(mean_square > 0, mean_square, 1.0).sqrt()
    return size * theta / (units * p**0.5)[:, None]
