"""The certificate is never below the true gap: at every iterate, at any point, from any dual point, on any data.

The true gap F(w) - min F is taken in extended precision. No slack is given but the reference's own rounding (some
1e-17 of F), three orders below float64's: where the bound is all rounding, it still has to be a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import Phase, given
from hypothesis import strategies as st
from mpmath import mp
from numpy.typing import NDArray
from torch import Tensor

import cases
from cases import KINKED, PROBLEMS, Problem, Table
from profiles import examples
from reference import exact
from reference.objective import EXTENDED, REASON, Optimum, Plain, Real, optimum
from torchlogit import certificate
from torchlogit.balancing import DualPoint
from torchlogit.certificate import Bound, newton_dual_bound
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params, State
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton

pytestmark = pytest.mark.skipif(not EXTENDED, reason=REASON)
Certifier = Callable[[Objective, Tensor, Tensor], Bound]
STATES = 9
UNSHRUNK = [Phase.explicit, Phase.generate]  # a recipe is short already, and shrinking takes minutes

# -- random problems ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a random problem is made of; `seed` draws the rest.

    factors: of the penalty, "ones", "sized" as the columns are, or those with "zeros". bounds: of which kinds.
    offset: added to every column. offsets: whether rows have some.
    """

    n: int
    kinds: tuple[str, ...]
    exponents: tuple[int, ...]
    n_classes: int
    targets: str
    weights: str
    l2: float
    signal: float
    offset: float
    intercept: bool
    single: bool
    seed: int
    l1: float = 0.0
    factors: str = "ones"
    bounds: tuple[str, ...] = ("none",)
    offsets: bool = False
    design: str = "dense"

    def objective(self) -> Objective:
        """The problem."""
        rng = np.random.default_rng(self.seed)
        x = np.round(np.stack([self.column(rng, kind) for kind in self.kinds], axis=1) * 2**10) / 2**10
        for j, kind in enumerate(self.kinds):
            if kind == "collinear":
                x[:, j] = x[:, 0] - x[:, j - 1]
        outputs = 1 if self.n_classes == 2 else self.n_classes
        units = self.signal * x / np.abs(x).max(axis=0).clip(1)
        raw = units @ rng.standard_normal((x.shape[1], outputs)) + rng.standard_normal(outputs)
        target = cases.soft(rng, raw) if self.targets == "soft" else cases.labels(rng, raw)
        weights = {"ones": None, "counts": cases.small_counts, "uneven": cases.uneven}[self.weights]
        weight = None if weights is None else weights(rng, self.n)
        if weight is not None:
            weight[0] = 1.0
        x = (x + self.offset) * 2.0 ** np.array(self.exponents)  # exact: collinear columns stay so
        offset = 3 * rng.standard_normal(raw.shape) if self.offsets else None
        return cases.objective_of(
            Table(x, target, weight, offset),
            loss_for(self.n_classes),
            self.penalty(rng),
            intercept=self.intercept,
            dtype=torch.float32 if self.single else torch.float64,
            design=self.design,
        )

    def penalty(self, rng: np.random.Generator) -> ElasticNet:
        """Factors and bounds in units of the columns."""
        unit = torch.tensor(self.exponents, dtype=torch.float64).exp2()
        d = len(unit)
        kept = torch.from_numpy((rng.random(d) < 0.5).astype(float)) if self.factors == "zeros" else torch.ones(d)
        factors = None if self.factors == "ones" else unit * kept
        kinds = rng.choice(self.bounds, d)
        lower, upper = torch.tensor([BOUNDS[kind] for kind in kinds], dtype=torch.float64).T
        return ElasticNet(self.l1, self.l2, factors, lower / unit, upper / unit)

    def column(self, rng: np.random.Generator, kind: str) -> NDArray[np.float64]:
        """Values of size one."""
        n = self.n
        if kind == "rare":
            return (np.arange(n) == rng.integers(n)).astype(float)
        if kind == "constant":
            return np.ones(n)
        if kind == "heavy":
            return np.exp(1.5 * rng.standard_normal(n))
        if kind == "integers":
            return rng.integers(-2, 3, n).astype(float)
        return rng.standard_normal(n)


INFINITY = float("inf")
FAR = 1e30  # extended precision follows what runs off to infinity further than float64 can
BOUNDS = {
    "none": (-INFINITY, INFINITY), "positive": (0.0, INFINITY), "negative": (-INFINITY, 0.0), "box": (-0.1, 0.25),
    "apart": (0.125, 0.5), "fixed": (-0.25, -0.25), "least": (-0.5, INFINITY),
}  # fmt: skip

UNBALANCED_INTERCEPT = Recipe(
    n=31, kinds=("constant",), exponents=(0,), n_classes=4, targets="labels", weights="uneven", l2=1.0, signal=2.0,
    offset=0.0, intercept=True, single=True, seed=1198990496,
)  # fmt: skip
UNBALANCED_COLUMNS = Recipe(
    n=38, kinds=("integers", "rare", "integers", "integers"), exponents=(0, -18, 10, 0), n_classes=3, targets="soft",
    weights="uneven", l2=0.0, signal=2.0, offset=10000.0, intercept=False, single=True, seed=1531154376,
)  # fmt: skip
INFINITE_ALLOWANCE = Recipe(
    n=14, kinds=("normal", "normal", "normal", "rare"), exponents=(-4, 7, -4, 0), n_classes=4, targets="labels",
    weights="ones", l2=1.0, signal=0.0, offset=10000.0, intercept=True, single=False, seed=3658,
)  # fmt: skip
FAR_OPTIMUM = Recipe(
    n=12, kinds=("heavy", "heavy", "normal", "integers", "constant"), exponents=(0, 0, 0, 0, 0), n_classes=2,
    targets="labels", weights="uneven", l2=0.0, signal=0.0, offset=0.0, intercept=False, single=False, seed=1,
)  # fmt: skip
ABSENT_CLASS = Recipe(
    n=7, kinds=("heavy", "normal", "normal", "integers"), exponents=(0, 0, 0, 0), n_classes=4, targets="soft",
    weights="uneven", l2=0.0, signal=0.0, offset=10.0, intercept=True, single=False, seed=27483, bounds=("positive",),
)  # fmt: skip


@st.composite
def kinked_recipes(draw: st.DrawFn) -> Recipe:
    """The same with kinks, bounds, factors and offsets."""
    kinds = [("none",), ("none",), ("positive",), ("none", "positive", "negative"), tuple(BOUNDS)]
    return replace(
        draw(recipes()),
        l1=draw(st.sampled_from([0.0, 1e-6, 1e-2, 0.3, 1.0, 10.0])),
        factors=draw(st.sampled_from(["ones", "sized", "zeros"])),
        bounds=draw(st.sampled_from(kinds)),
        offsets=draw(st.booleans()),
    )


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Small tables of every kind."""
    d = draw(st.integers(1, 6))
    kinds = st.sampled_from(["normal", "normal", "integers", "rare", "collinear", "constant", "heavy"])
    return Recipe(
        n=draw(st.integers(5, 60)),
        kinds=tuple(draw(kinds) for _ in range(d)),
        exponents=tuple(draw(st.one_of(st.just(0), st.integers(-20, 20))) for _ in range(d)),
        n_classes=draw(st.sampled_from([2, 2, 3, 4])),
        targets=draw(st.sampled_from(["labels", "soft"])),
        weights=draw(st.sampled_from(["ones", "counts", "uneven"])),
        l2=draw(st.sampled_from([0.0, 1e-8, 1e-3, 1.0, 100.0])),
        signal=draw(st.sampled_from([0.0, 0.5, 2.0, 10.0])),
        offset=draw(st.sampled_from([0.0, 0.0, 10.0, 1e4])),
        intercept=draw(st.booleans()),
        design=draw(st.sampled_from(["dense", "dense", "csr"])),
        single=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


# -- the property -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Truth:
    """A problem and its minimum in extended precision."""

    plain: Plain
    best: Optimum

    @classmethod
    def of(cls, objective: Objective) -> Truth:
        plain = Plain.of(objective)
        return cls(plain, optimum(plain))

    def gap(self, theta: Tensor) -> tuple[float, float]:
        """F(theta) - F(best) >= 0, no more than the true gap; and how much of it may be the reference's rounding."""
        point = theta.numpy().astype(Real)
        return float(self.plain.value(point) - self.best.value), self.plain.rounding(point) + self.rounding

    @property
    def rounding(self) -> float:
        return self.plain.rounding(self.best.theta)


def states(objective: Objective, count: int = STATES, start: Params | None = None) -> Iterator[State]:
    """The states of Newton's method until nothing is left to gain."""
    for state in islice(StochasticNewton().iterates(objective, start), count):
        yield state
        if state.expected_gap is not None and state.expected_gap <= 1e-17 * state.objective:
            return


def features_free(truth: Truth) -> bool:
    """Whether a bound is itself the claim that a minimum exists; where features are penalised, only an infimum is."""
    plain = truth.plain
    bare = (plain.precision == 0) & (plain.rate == 0)
    return bool((bare & ~(np.isfinite(plain.lower) & np.isfinite(plain.upper))).all())


def violations(truth: Truth, theta: Tensor, bound: Bound) -> list[str]:
    """What is wrong with this bound; an empty list where it holds."""
    if bound.value is None:
        return []
    if not bound.value >= 0:
        return [f"the bound is {bound.value}"]
    if not truth.best.finite and features_free(truth):
        return [f"there is no minimum, and yet the bound is {bound.value}"]
    gap, rounding = truth.gap(theta)
    return [] if bound.value >= gap - rounding else [f"bound {bound.value} is below the gap {gap} +- {rounding}"]


def assert_holds(objective: Objective, certify: Certifier = newton_dual_bound) -> int:
    """Every bound along Newton's way holds; returns how many there were."""
    truth = Truth.of(objective)
    count = 0
    for state in states(objective):
        assert state.dual_residual is not None
        theta = objective.theta(state.params)
        bound = certify(objective, theta, state.dual_residual)
        assert not violations(truth, theta, bound)
        count += bound.value is not None
    return count


def assert_holds_anywhere(objective: Objective, seed: int, certify: Certifier = newton_dual_bound) -> None:
    """Bounds hold at random points, from Newton's dual points and from those of random steps."""
    truth = Truth.of(objective)
    generator = torch.Generator().manual_seed(seed)
    duals = [state.dual_residual for state in states(objective)][-2:]
    best = torch.from_numpy(truth.best.theta.clip(-FAR, FAR).astype(float))
    for size in (1e-6, 0.1, 2.0, 30.0):
        away = cases.random_theta(objective, size, seed)
        raw = objective.raw(best)
        step = size * torch.randn(raw.shape, dtype=torch.float64, generator=generator)
        at = best + cases.random_theta(objective, size, seed + 1)
        wild = objective.loss.dual_point(objective.residual(objective.raw(at)), objective.target, step)
        for theta in map(objective.feasible, (away, best + away, best)):
            for dual in (*duals, wild):
                assert dual is not None
                assert not violations(truth, theta, certify(objective, theta, dual))


@given(recipe=recipes())
@examples(60, phases=UNSHRUNK)
def test_no_bound_along_newtons_way_is_below_the_gap(recipe: Recipe) -> None:
    assert_holds(recipe.objective())


@given(recipe=kinked_recipes())
@examples(25, phases=UNSHRUNK)
def test_no_bound_along_the_way_is_below_the_gap_with_kinks_and_bounds(recipe: Recipe) -> None:
    assert_holds(recipe.objective())


def test_an_allowance_too_large_for_a_number_is_no_error() -> None:
    """A class whose probabilities are 1e-194 can be balanced to rounding only: by as much as rounding hides there."""
    assert_holds(INFINITE_ALLOWANCE.objective())


def test_a_class_without_target_has_no_minimum_and_no_false_bound() -> None:
    """Its intercept runs off to minus infinity."""
    assert not optimum(Plain.of(ABSENT_CLASS.objective())).finite
    assert_holds_anywhere(ABSENT_CLASS.objective(), 0)


def test_a_minimum_that_full_newton_steps_do_not_find_is_one() -> None:
    """Of heavy-tailed columns: the reference has to damp its steps, or it takes an early end for a missing minimum."""
    assert optimum(Plain.of(FAR_OPTIMUM.objective())).finite
    assert_holds_anywhere(FAR_OPTIMUM.objective(), 0)


@pytest.mark.parametrize(("recipe", "seed"), [(UNBALANCED_INTERCEPT, 42), (UNBALANCED_COLUMNS, 339)])
def test_what_is_left_unbalanced_is_allowed_for(recipe: Recipe, seed: int) -> None:
    """u is zero on free columns to rounding only, and <w, u> is not zero where w is far away."""
    assert_holds_anywhere(recipe.objective(), seed)


@given(recipe=recipes(), seed=st.integers(0, 2**31))
@examples(25, phases=UNSHRUNK)
def test_no_bound_at_any_point_from_any_dual_is_below_the_gap(recipe: Recipe, seed: int) -> None:
    assert_holds_anywhere(recipe.objective(), seed)


@given(recipe=kinked_recipes(), seed=st.integers(0, 2**31))
@examples(12, phases=UNSHRUNK)
def test_no_bound_at_any_point_from_any_dual_is_below_the_gap_with_kinks_and_bounds(recipe: Recipe, seed: int) -> None:
    assert_holds_anywhere(recipe.objective(), seed)


# -- the table of problems -------------------------------------------------------------------------------------

LARGE = ("thirty columns", "more columns than rows", "imbalanced 1%", "l1, thirty columns")
SMALL, SMALL_KINKED = ([p for p in problems if p.name not in LARGE] for problems in (PROBLEMS, KINKED))


@pytest.mark.parametrize("problem", SMALL + SMALL_KINKED, ids=cases.named)
def test_bounds_hold_and_become_tight(problem: Problem) -> None:
    """The last one is as small as asked for, and while the gap is above rounding, no bound is far from it."""
    objective = problem.objective()
    truth = Truth.of(objective)
    smallest, factors = float("inf"), []
    for state in states(objective, 12):
        theta = objective.theta(state.params)
        assert state.dual_residual is not None
        bound = newton_dual_bound(objective, theta, state.dual_residual)
        assert not violations(truth, theta, bound)
        assert bound.objective == pytest.approx(state.objective, rel=1e-12)
        if bound.value is None:
            continue
        smallest = min(smallest, bound.value)
        gap, _ = truth.gap(theta)
        if problem.tol < gap / bound.objective < 1e-7:
            factors.append(bound.value / gap)
    assert smallest <= problem.tol * state.objective
    assert all(factor < 10 for factor in factors)


@pytest.mark.parametrize("l2", [1e-8, 1e-3, 1.0, 100.0])
def test_the_bound_is_its_definition(l2: float) -> None:
    """Without an intercept, and every column penalised, nothing is repaired: the formula in fifty digits is it."""
    table = cases.table(cases.scaled, n=25, d=4)
    for n_classes in (2, 3):
        table = cases.table(cases.rare, n=25, d=4, n_outputs=1 if n_classes == 2 else 3)
        objective = cases.objective_of(table, loss_for(n_classes), ElasticNet(l2=l2), intercept=False)
        plain = Plain.of(objective)
        for state in states(objective, 4):
            theta = objective.theta(state.params)
            assert state.dual_residual is not None
            bound = newton_dual_bound(objective, theta, state.dual_residual, enough=math.inf)
            assert bound.value is not None
            with mp.workdps(exact.DIGITS):
                wanted = exact.bound(plain, theta.numpy(), state.dual_residual.numpy())
                wanted = min(wanted, exact.value(plain, theta.numpy()))
                assert bound.value >= wanted
                allowance = 1e-12 * bound.objective + 1e-24 / l2
                assert bound.value <= wanted * (1 + mp.mpf("1e-6")) + allowance


def test_the_reference_minimum_is_the_fifty_digit_one() -> None:
    for columns, l2 in ((cases.standard_normal, 1.0), (cases.scaled, 1e-3), (cases.collinear, 1e-8)):
        objective = cases.objective_of(cases.table(columns, n=25, d=4), loss_for(2), ElasticNet(l2=l2))
        plain = Plain.of(objective)
        best = optimum(plain)
        with mp.workdps(exact.DIGITS):
            difference = exact.number(best.value) - exact.minimum(plain, best.theta)
        assert abs(difference) <= best.error
        assert best.error <= 1e-13 * float(best.value)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize(
    "penalty",
    [
        ElasticNet(l1=2.0),
        ElasticNet(l1=2.0, l2=1.0, factors=torch.tensor([0.0, 1.0, 2.0, 1.0], dtype=torch.float64)),
        ElasticNet(lower=torch.tensor([-0.1, -0.1, 0.0, 0.1]), upper=torch.tensor([0.1, 0.1, 0.3, 0.2])),
    ],
    ids=["l1", "elastic net", "box"],
)
def test_the_reference_minimum_with_kinks_satisfies_its_conditions(penalty: ElasticNet, outputs: int) -> None:
    """In fifty digits: F is convex, so that a point where it falls nowhere is its minimum."""
    table = cases.table(n=30, d=4, n_outputs=outputs, weights=cases.small_counts, offsets=True)
    plain = Plain.of(cases.objective_of(table, loss_for(max(2, outputs)), penalty))
    best = optimum(plain)
    assert best.finite
    assert exact.pull(plain, best.theta) <= 1e-9
    with mp.workdps(exact.DIGITS):
        assert abs(exact.number(best.value) - exact.value(plain, best.theta)) <= best.error


# -- what no bound may ever be given to ----------------------------------------------------------------------------


def test_an_outlier_on_the_wrong_side_does_not_spoil_the_bound() -> None:
    """Its probability is 0 in float64: 0 log 0 is 0."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 1, dtype=torch.float64, generator=generator)
    y = (torch.rand(2000, 1, dtype=torch.float64, generator=generator) < torch.sigmoid(5 * x)).double().numpy()
    x[0], y[0] = -12.0, 1.0
    for l2 in (0.0, 1.0):
        objective = cases.objective_of(Table(x.numpy(), y), loss_for(2), ElasticNet(l2=l2))
        assert assert_holds(objective) > 0


def test_a_dual_point_that_is_no_number_gives_no_bound() -> None:
    for l2 in (0.0, 1.0):
        objective = cases.objective_of(cases.table(n=30), loss_for(2), ElasticNet(l2=l2))
        theta = objective.start()
        for bad in (float("nan"),):
            bound = newton_dual_bound(objective, theta, torch.full((30, 1), bad, dtype=torch.float64))
            trivial = objective.value(theta, objective.raw(theta))
            assert bound.value is None if l2 == 0 else bound.value == pytest.approx(trivial)


def test_the_inputs_are_left_as_they_were() -> None:
    for l2 in (0.0, 1.0):
        objective = cases.objective_of(cases.table(n=60), loss_for(2), ElasticNet(l2=l2))
        for state in states(objective, 3):
            theta = objective.theta(state.params)
            assert state.dual_residual is not None
            before = theta.clone(), state.dual_residual.clone()
            newton_dual_bound(objective, theta, state.dual_residual)
            assert torch.equal(theta, before[0])
            assert torch.equal(state.dual_residual, before[1])


def test_columns_collinear_but_for_rounding_count_as_collinear() -> None:
    """Nothing else is sensible without a penalty: the exact optimum has coefficients of 1e15 there, to fit rounding."""
    table = cases.table(n=80, d=2)
    third = (table.x[:, :1] + table.x[:, 1:]) / 3
    doubled = Table(np.concatenate([table.x, third], axis=1), table.target)
    best = optimum(Plain.of(cases.objective_of(table, loss_for(2), ElasticNet())))
    objective = cases.objective_of(doubled, loss_for(2), ElasticNet())
    for state in states(objective):
        theta = objective.theta(state.params)
        assert state.dual_residual is not None
        bound = newton_dual_bound(objective, theta, state.dual_residual)
        assert bound.value is not None
        assert bound.value >= float(Plain.of(objective).value(theta.numpy().astype(Real)) - best.value) - best.error
        assert float(theta.abs().max()) < 10


@pytest.mark.parametrize("offset", [1e4, 1e6, 1e9])
@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_points_whose_raw_predictions_cancel(offset: float, l2: float) -> None:
    """x_i w + b with x_i w and b a billion times the sum: rounding moves the raw prediction, and with it F(w)."""
    table = cases.table(lambda rng, n, d: offset + rng.standard_normal((n, d)), n=40, d=2, signal=2.0)
    objective = cases.objective_of(table, loss_for(2), ElasticNet(l2=l2))
    truth = Truth.of(objective)
    dual = list(states(objective))[-1].dual_residual
    assert dual is not None
    best = torch.from_numpy(truth.best.theta.clip(-FAR, FAR).astype(float))
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        coef = best[:-1] + torch.randn(2, 1, dtype=torch.float64, generator=generator)
        centre = -torch.from_numpy(table.x.mean(axis=0)) @ coef
        theta = torch.cat([coef, centre[None, :] + torch.randn(1, 1, dtype=torch.float64, generator=generator)])
        assert not violations(truth, theta, newton_dual_bound(objective, theta, dual))


# -- the tests of the tests ------------------------------------------------------------------------------------------


def shrunk(objective: Objective, theta: Tensor, dual: Tensor) -> Bound:
    """A bound that promises too much."""
    bound = newton_dual_bound(objective, theta, dual)
    return Bound(None if bound.value is None else 0.3 * bound.value, bound.objective)


def caught(certify: Certifier) -> bool:
    """Whether some problem of the table shows that these bounds do not hold."""
    for problem in SMALL[:20]:
        try:
            assert_holds(problem.objective(), certify)
            assert_holds_anywhere(problem.objective(), 0, certify)
        except AssertionError:
            return True
    return False


def test_the_bound_itself_is_not_caught() -> None:
    assert not caught(newton_dual_bound)


def test_a_bound_that_is_too_small_is_caught() -> None:
    assert caught(shrunk)


def towards_the_coefficients(
    honest: Callable[..., tuple[Tensor, Tensor]], objective: Objective, theta: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor]:
    """A dual that is believed, not summed: half way to where it ought to be."""
    raw, dual = honest(objective, theta, residual)
    return raw, 0.5 * dual + 0.5 * objective.penalty_gradient(theta)


def test_a_dual_that_is_not_summed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "_raw_and_dual", partial(towards_the_coefficients, certificate._raw_and_dual))
    assert caught(newton_dual_bound)


def test_a_missing_penalty_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ElasticNet, "fenchel_young_parts", lambda self, coef, *_: torch.zeros_like(coef))
    assert caught(newton_dual_bound)


def test_an_intercept_that_is_not_balanced_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    trusting = lambda objective, residual: DualPoint(residual, 0.0, 0.0)  # noqa: E731
    monkeypatch.setattr(certificate, "balanced_intercept", trusting)
    assert caught(newton_dual_bound)


def test_free_columns_that_are_not_balanced_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "features_are_free", lambda objective: False)
    assert caught(newton_dual_bound)


def test_a_dual_of_the_wrong_sign_is_never_tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """It still bounds, but so loosely that nothing is ever certified."""
    honest = certificate._raw_and_dual
    monkeypatch.setattr(certificate, "_raw_and_dual", lambda *args: (honest(*args)[0], -honest(*args)[1]))
    with pytest.raises(AssertionError):
        test_bounds_hold_and_become_tight(PROBLEMS[0])


REPRESENTATIVE = ("l1", "elastic net", "signs, no penalty", "box, no penalty", "softmax 3, l1")


def kinks_caught() -> bool:
    """Whether some problem with kinks or bounds shows that bounds do not hold, or are never tight."""
    for problem in (p for p in KINKED if p.name in REPRESENTATIVE):
        try:
            test_bounds_hold_and_become_tight(problem)
            assert_holds_anywhere(problem.objective(), 0)
        except AssertionError:
            return True
    return False


def test_the_bound_itself_is_not_caught_with_kinks() -> None:
    assert not kinks_caught()


def quadratic_part(penalty: ElasticNet, coef: Tensor, dual: Tensor, rounding: Tensor) -> Tensor:
    """The Fenchel-Young gaps of the same penalty without kinks."""
    precision = penalty.precision(len(coef))[:, None]
    return torch.where(precision > 0, (precision * coef - dual).square() / (2 * precision), 0.0)


def unbounded(honest: Callable[..., Tensor], penalty: ElasticNet, *args: Tensor) -> Tensor:
    """The Fenchel-Young gaps of the same penalty without bounds, where those are finite."""
    return honest(replace(penalty, lower=None, upper=None), *args).nan_to_num(posinf=0.0)


def of_both_sides(objective: Objective, residual: Tensor, dual: Tensor) -> Tensor:
    """The coordinates to be balanced but for those free on one side only."""
    low, high = (end.expand_as(dual) for end in objective.dual_range)
    return (low == 0) & (high == 0)


def test_a_missing_kink_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ElasticNet, "fenchel_young_parts", quadratic_part)
    assert kinks_caught()


def test_missing_bounds_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = ElasticNet.fenchel_young_parts
    monkeypatch.setattr(ElasticNet, "fenchel_young_parts", lambda *args: unbounded(honest, *args))
    assert kinks_caught()


def loose_bounds(problem: Problem) -> list[Bound]:
    """Bounds at the first state from dual points a little off its own."""
    objective = problem.objective()
    state = next(states(objective))
    theta, raw = objective.theta(state.params), objective.raw(objective.theta(state.params))
    generator = torch.Generator().manual_seed(0)
    steps = [0.1 * torch.randn(raw.shape, dtype=torch.float64, generator=generator) for _ in range(5)]
    duals = [objective.loss.dual_point(objective.residual(raw), objective.target, step) for step in steps]
    return [newton_dual_bound(objective, theta, dual) for dual in duals]


@pytest.mark.parametrize("name", ["l1", "softmax 3, l1", "signs, no penalty", "l1, some columns free"])
@pytest.mark.parametrize("mutation", ["none", "share", "one side"])
def test_any_dual_point_is_made_to_serve(name: str, mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrunk until it is in range, balanced on columns free on one side: else some give no more than that F is not
    negative."""
    if mutation == "share":
        monkeypatch.setattr(certificate._Gap, "_share_within_range", lambda *_: 1.0)
    if mutation == "one side":
        monkeypatch.setattr(certificate, "_unpenalised", of_both_sides)
    bounds = loose_bounds(next(p for p in KINKED if p.name == name))
    needed = mutation == "none" or (mutation == "one side") != name.startswith("signs")
    assert all(bound.value is not None and bound.value < bound.objective for bound in bounds) == needed


def test_an_offset_that_is_left_out_is_never_tight(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = certificate._raw_and_dual
    without = lambda objective, *args: honest(replace(objective, offset=None), *args)  # noqa: E731
    monkeypatch.setattr(certificate, "_raw_and_dual", without)
    with pytest.raises(AssertionError):
        test_bounds_hold_and_become_tight(next(p for p in PROBLEMS if p.name == "offsets"))
