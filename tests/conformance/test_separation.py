"""Separated classes are never certified and always named; classes that overlap are never called separated.

The tables hold small integers times powers of two, so that a tie is a tie and what is true of them is known: by
construction, or from a linear program over all rows that shares no line with the library's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import Phase, assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

import cases
from cases import Array, Table
from profiles import examples
from torchlogit.certificate import newton_dual_bound
from torchlogit.fit import FitResult, Goal, fit
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params, Status
from torchlogit.separation import all_classified, find_separation
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton

UNSHRUNK = [Phase.explicit, Phase.generate]  # a recipe is short already, and shrinking takes minutes

# -- the truth ------------------------------------------------------------------------------------------------


def margins(table: Table, intercept: bool) -> Array:
    """One row for each pair of a row and another class: the margin as a linear function of the free coefficients."""
    x = np.concatenate([table.x, np.ones((len(table.x), 1))], axis=1) if intercept else table.x
    x = x / np.where(np.abs(x).max(axis=0) > 0, np.abs(x).max(axis=0), 1)
    weight = np.ones(len(x)) if table.weight is None else table.weight
    out = []
    for row, target, w in zip(x, table.target, weight, strict=True):
        if w == 0:
            continue
        if len(target) == 1:
            out.append((2 * target[0] - 1) * row)
            continue
        wanted = int(target.argmax())
        for other in range(len(target)):
            if other != wanted:
                direction = np.zeros((len(target), len(row)))
                direction[wanted], direction[other] = row, -row
                out.append(direction.reshape(-1))
    return np.array(out)


def truth(table: Table, intercept: bool) -> str:
    """complete, quasi or overlap, by two linear programs; unclear where they are too close to call."""
    a = margins(table, intercept)
    box = [(-1, 1)] * a.shape[1]
    most = linprog(-a.sum(axis=0), A_ub=-a, b_ub=np.zeros(len(a)), bounds=box, method="highs")
    total = -most.fun
    if total < 1e-9:
        return "overlap"
    if total < 1e-4:
        return "unclear"
    with_margin = np.concatenate([-a, np.ones((len(a), 1))], axis=1)
    cost = np.append(np.zeros(a.shape[1]), -1.0)
    least = linprog(cost, A_ub=with_margin, b_ub=np.zeros(len(a)), bounds=[*box, (None, 1)], method="highs")
    if -least.fun > 1e-6:
        return "complete"
    return "quasi" if -least.fun < 1e-9 else "unclear"


# -- random tables -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recipe:
    """A random table of small integers; `kind` says how its labels are made."""

    kind: str
    n: int
    d: int
    n_classes: int
    exponents: tuple[int, ...]
    intercept: bool
    single: bool
    weighted: bool
    seed: int

    def table(self) -> Table:
        rng = np.random.default_rng(self.seed)
        x = rng.integers(-3, 4, (self.n, self.d)).astype(float)
        true = rng.integers(-2, 3, (self.d, max(self.n_classes, 2))).astype(float)
        offset = rng.integers(-2, 3, max(self.n_classes, 2)).astype(float) if self.intercept else np.zeros(1)
        raw = x @ true + offset
        best = raw == raw.max(axis=1, keepdims=True)
        if self.kind == "complete":  # labels of a linear rule, rows that it leaves undecided dropped
            keep = best.sum(axis=1) == 1
            x, best = x[keep], best[keep]
            y = best.argmax(axis=1)
        elif self.kind == "ties":  # any label that the rule allows
            y = (best * rng.random(best.shape)).argmax(axis=1)
        elif self.kind == "overlap":  # every row once in every class
            x = np.repeat(x, best.shape[1], axis=0)
            y = np.tile(np.arange(best.shape[1]), self.n)
        else:  # random labels
            y = rng.integers(0, best.shape[1], len(x))
        weight = np.where(rng.random(len(x)) < 0.2, 0.0, rng.integers(1, 4, len(x))) if self.weighted else None
        target = y[:, None].astype(float) if self.n_classes == 2 else np.eye(self.n_classes)[y]
        return Table(x * 2.0 ** np.array(self.exponents), target, weight)

    def objective(self, table: Table, l2: float = 0.0) -> Objective:
        dtype = torch.float32 if self.single else torch.float64
        loss, penalty = loss_for(self.n_classes), ElasticNet(l2=l2)
        return cases.objective_of(table, loss, penalty, intercept=self.intercept, dtype=dtype)


@st.composite
def recipes(draw: st.DrawFn, *kinds: str, weighted: bool = False) -> Recipe:
    d = draw(st.integers(1, 4))
    return Recipe(
        kind=draw(st.sampled_from(kinds)),
        n=draw(st.integers(4, 40)),
        d=d,
        n_classes=draw(st.sampled_from([2, 2, 3, 4])),
        exponents=tuple(draw(st.sampled_from([0, 0, -20, 7, 20])) for _ in range(d)),
        intercept=draw(st.booleans()),
        single=draw(st.booleans()),
        weighted=weighted,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def classes_present(table: Table) -> bool:
    """Every class has a row, so that the problem is one."""
    counted = table.target if table.weight is None else table.target[table.weight > 0]
    if len(counted) == 0:
        return False
    return bool((counted.sum(axis=0) > 0).all()) and (counted.shape[1] > 1 or bool((counted == 0).any()))


def solved(objective: Objective) -> FitResult:
    return fit(objective, StochasticNewton(), Goal(tol=1e-6, max_iter=300))


def assert_no_bound_anywhere(objective: Objective, steps: int = 40) -> None:
    for state in islice(StochasticNewton().iterates(objective, None), steps):
        if state.dual_residual is not None:
            bound = newton_dual_bound(objective, objective.theta(state.params), state.dual_residual)
            assert bound.value is None, f"separated, and yet at most {bound.value} above a minimum that does not exist"


def assert_what_is_named_is_determined(table: Table, result: FitResult, intercept: bool) -> None:
    """No direction that separates takes a coefficient that is named to the other side, and some takes it there.

    Where columns are collinear, the coefficients that are named are those of some choice of independent columns.
    """
    separation = result.certificate.separation
    assert separation is not None
    weight = np.ones(len(table.x)) if table.weight is None else table.weight
    a, k = margins(table, intercept), table.target.shape[1]
    p = a.shape[1] // k
    x = np.concatenate([table.x, np.ones((len(table.x), 1))], axis=1) if intercept else table.x
    if np.linalg.matrix_rank((x / np.maximum(np.abs(x).max(axis=0), 1e-300))[weight > 0]) < p:
        return
    named = {(j, output): sign for j, output, sign in separation.directions}
    named |= {(p - 1, output): sign for output, sign in separation.intercepts}
    for j in range(p):
        for output in range(k):
            value = np.zeros((k, p))
            value[output, j] = 1
            value[:, j] -= 1 / k * (k > 1)
            least, most = (
                sign * linprog(sign * value.reshape(-1), A_ub=-a, b_ub=np.zeros(len(a)), bounds=(-1, 1)).fun
                for sign in (1, -1)
            )
            sign = named.get((j, output), 0)
            expected = 1 if least > -1e-9 and most > 1e-7 else -1 if most < 1e-9 and least < -1e-7 else 0
            assert sign == expected, (j, output, sign, least, most)


def check_against_the_truth(recipe: Recipe) -> str:
    table = recipe.table()
    assume(classes_present(table))
    known = truth(table, recipe.intercept)
    assume(known != "unclear")
    objective = recipe.objective(table)
    result = solved(objective)
    status = result.certificate.status
    if known == "overlap":
        assert status is Status.CERTIFIED, result.certificate.message
        assert result.certificate.separation is None
        assert find_separation(objective, objective.raw(objective.theta(result.params))) is None
    else:
        assert status is Status.SEPARATED, f"{known} separation ended as {result.certificate}"
        assert result.certificate.bound is None
        assert result.certificate.separation is not None
        assert result.certificate.separation.complete == (known == "complete")
        assert ("quasi" in result.certificate.message) == (known == "quasi")
        assert_what_is_named_is_determined(table, result, recipe.intercept)
    return known


@given(recipe=recipes("complete", "ties"))
@examples(25, phases=UNSHRUNK)
def test_separated_classes_are_never_certified_and_always_named(recipe: Recipe) -> None:
    check_against_the_truth(recipe)


@given(recipe=recipes("overlap", "random", "random"))
@examples(25, phases=UNSHRUNK)
def test_whatever_the_labels_the_status_is_the_truth(recipe: Recipe) -> None:
    check_against_the_truth(recipe)


@given(recipe=recipes("complete", "ties", "overlap", "random", weighted=True))
@examples(20, phases=UNSHRUNK)
def test_rows_of_weight_zero_are_not_there(recipe: Recipe) -> None:
    check_against_the_truth(recipe)


@given(recipe=recipes("complete", "ties", "ties"))
@examples(25, phases=UNSHRUNK)
def test_separated_classes_have_no_bound_however_far_newton_goes(recipe: Recipe) -> None:
    """A probability of 1e-12 is not yet zero, and one of 1e-16 not yet nothing but rounding."""
    table = recipe.table()
    assume(classes_present(table))
    assume(truth(table, recipe.intercept) in ("complete", "quasi"))
    assert_no_bound_anywhere(recipe.objective(table))


def test_a_start_far_out_on_separated_classes_is_not_certified() -> None:
    recipe = Recipe("ties", 13, 1, 4, (0,), False, False, False, 0)
    table = recipe.table()
    assert truth(table, False) == "quasi"
    objective = recipe.objective(table)
    for state in islice(StochasticNewton().iterates(objective, None), 25):
        for stretch in (1.0, 3.0, 10.0):
            start = Params(stretch * state.params.coef, state.params.intercept)
            result = fit(objective, StochasticNewton(), Goal(tol=1e-9), start=start)
            assert result.certificate.status is not Status.CERTIFIED, result.certificate


@given(recipe=recipes("complete", "ties", "random"), l2=st.sampled_from([1e-3, 1.0]))
@examples(25, phases=UNSHRUNK)
def test_with_a_penalty_nothing_is_separated(recipe: Recipe, l2: float) -> None:
    table = recipe.table()
    assume(classes_present(table))
    result = solved(recipe.objective(table, l2))
    assert result.certificate.status is Status.CERTIFIED
    assert result.certificate.separation is None


def test_the_truth_tells_all_three() -> None:
    """So that the tests above are about something."""
    seen = {"complete": 0, "quasi": 0, "overlap": 0, "unclear": 0}
    for kind in ("complete", "ties", "overlap", "random"):
        for seed in range(20):
            recipe = Recipe(kind, 30, 2, 2 + seed % 2, (0, 0), True, False, False, seed)
            table = recipe.table()
            if classes_present(table):
                seen[truth(table, True)] += 1
    assert seen["complete"] >= 5
    assert seen["quasi"] >= 5
    assert seen["overlap"] >= 20
    assert seen["unclear"] == 0


# -- known constructions ---------------------------------------------------------------------------------------------


def binary(x: Array, y: Array, *, intercept: bool = True) -> FitResult:
    table = Table(np.asarray(x, dtype=float), np.asarray(y, dtype=float)[:, None])
    return solved(cases.objective_of(table, loss_for(2), ElasticNet(), intercept=intercept))


def directions(result: FitResult) -> set[tuple[int, int, int]]:
    assert result.certificate.status is Status.SEPARATED, result.certificate.message
    assert result.certificate.separation is not None
    assert result.certificate.bound is None
    return set(result.certificate.separation.directions)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("rows", [1, 4])
def test_a_category_whose_rows_are_all_of_one_class_is_named(label: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 4))
    y = (rng.random(300) < 0.5).astype(float)
    x[:, 2] = 0
    x[:rows, 2] = 1
    y[:rows] = label
    result = binary(x, y)
    assert directions(result) == {(2, 0, 1 if label else -1)}
    assert result.certificate.separation is not None
    assert not result.certificate.separation.complete
    assert "quasi-completely" in result.certificate.message


def test_two_categories_of_opposite_classes_are_both_named() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((300, 3))
    y = (rng.random(300) < 0.5).astype(float)
    x[:, :2] = 0
    x[:5, 0], y[:5] = 1, 1
    x[5:9, 1], y[5:9] = 1, 0
    assert directions(binary(x, y)) == {(0, 0, 1), (1, 0, -1)}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_column_that_decides_is_named(sign: int, scale: float) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-20, 21, (200, 1)).astype(float)
    x[x == 0] = 1
    y = (sign * x[:, 0] > 0).astype(float)
    result = binary(x * scale, y)
    assert directions(result) == {(0, 0, sign)}
    assert result.certificate.separation is not None
    assert result.certificate.separation.complete
    assert "completely separated" in result.certificate.message


def test_a_threshold_with_both_classes_on_it_is_quasi_complete() -> None:
    x = np.array([[-2.0], [-1.0], [0.0], [0.0], [1.0], [2.0]])
    result = binary(x, np.array([0, 0, 0, 1, 1, 1]))
    assert directions(result) == {(0, 0, 1)}
    assert result.certificate.separation is not None
    assert not result.certificate.separation.complete


def test_one_row_across_the_threshold_is_overlap() -> None:
    x = np.array([[-2.0], [-1.0], [0.0], [0.5], [1.0], [2.0]])
    assert binary(x, np.array([0, 0, 1, 0, 1, 1])).certificate.status is Status.CERTIFIED


def test_every_label_the_same_without_an_intercept() -> None:
    """With x > 0 and every label 1 the coefficient runs off; with x of both signs it does not."""
    assert directions(binary(np.array([[1.0], [2.0], [3.0]]), np.ones(3), intercept=False)) == {(0, 0, 1)}
    assert binary(np.array([[1.0], [-2.0], [3.0]]), np.ones(3), intercept=False).certificate.status is Status.CERTIFIED


@pytest.mark.parametrize("redundant", ["copy", "full set of categories", "constant"])
def test_collinear_columns_do_not_hide_or_spread_a_separation(redundant: str) -> None:
    """Of several directions that separate the same rows the shortest is named, and those of no interest are not."""
    rng = np.random.default_rng(3)
    level = rng.integers(0, 3, 240)
    y = (rng.random(240) < 0.5).astype(float)
    y[level == 2] = 1
    hot = np.eye(3)[level]
    noise = rng.standard_normal((240, 1))
    if redundant == "copy":
        x = np.concatenate([hot[:, 1:], noise, noise], axis=1)
        assert directions(binary(x, y)) == {(1, 0, 1)}
    elif redundant == "constant":
        x = np.concatenate([hot[:, 1:], np.full((240, 1), 5.0), noise], axis=1)
        assert directions(binary(x, y)) == {(1, 0, 1)}
    else:
        x = np.concatenate([hot, noise], axis=1)
        assert directions(binary(x, y)) == {(2, 0, 1)}


def test_collinear_columns_that_overlap_are_certified() -> None:
    rng = np.random.default_rng(4)
    x = rng.integers(-3, 4, (200, 2)).astype(float)
    x = np.concatenate([x, x[:, :1] + x[:, 1:], np.ones((200, 1))], axis=1)
    y = (rng.random(200) < 0.5).astype(float)
    assert binary(x, y).certificate.status is Status.CERTIFIED


def test_more_columns_than_rows_are_separated_whatever_the_labels() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((20, 30))
    result = binary(x, (rng.random(20) < 0.5).astype(float))
    assert result.certificate.status is Status.SEPARATED
    assert result.certificate.separation is not None
    assert result.certificate.separation.complete


def test_a_category_of_one_class_among_three() -> None:
    """Its coefficient grows for that class, and falls for the others."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((300, 3))
    y = rng.integers(0, 3, 300)
    x[:, 1] = 0
    x[:6, 1] = 1
    y[:6] = 2
    table = Table(x, np.eye(3)[y])
    result = solved(cases.objective_of(table, loss_for(3), ElasticNet()))
    found = directions(result)
    assert {feature for feature, _, _ in found} == {1}
    assert (1, 2, 1) in found
    assert all(sign < 0 for _, output, sign in found if output != 2)


def test_a_class_that_one_column_sets_apart_among_three() -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((300, 2))
    y = rng.integers(0, 2, 300)
    y[x[:, 0] > 1] = 2
    x[y == 2, 0] += 1
    table = Table(x, np.eye(3)[y])
    result = solved(cases.objective_of(table, loss_for(3), ElasticNet()))
    assert 0 in {feature for feature, _, _ in directions(result)}


def test_a_best_direction_that_leaves_every_row_tied_with_some_class() -> None:
    """Its gain lies in other pairs of classes: the scale of the margins is theirs, not that of the ties."""
    x = np.array([[-2.0], [1.0], [-1.0], [0.0], [2.0]])
    table = Table(x, np.eye(4)[[0, 2, 3, 2, 1]])
    assert truth(table, True) == "complete"
    result = solved(cases.objective_of(table, loss_for(4), ElasticNet()))
    assert result.certificate.status is Status.SEPARATED, result.certificate.message


def test_rows_of_weight_zero_neither_separate_nor_overlap() -> None:
    x = np.array([[-2.0], [-1.0], [1.0], [2.0], [3.0], [-3.0]])
    y = np.array([[0.0], [0.0], [1.0], [1.0], [0.0], [1.0]])
    apart = Table(x, y, np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0]))
    assert directions(solved(cases.objective_of(apart, loss_for(2), ElasticNet()))) == {(0, 0, 1)}
    mixed = Table(x, y, np.ones(6))
    assert solved(cases.objective_of(mixed, loss_for(2), ElasticNet())).certificate.status is Status.CERTIFIED


def test_soft_targets_are_never_separated() -> None:
    """Every row then pulls both ways."""
    x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    table = Table(x, np.array([[0.125], [0.25], [0.75], [0.875]]))
    assert solved(cases.objective_of(table, loss_for(2), ElasticNet())).certificate.status is Status.CERTIFIED


def test_soft_targets_beside_a_separated_column() -> None:
    """The soft rows do not touch the column, whose own rows are all of one class: no minimum, and never a bound."""
    rng = np.random.default_rng(8)
    x = np.zeros((60, 2))
    x[:, 0] = rng.standard_normal(60)
    x[:5, 1] = 1
    y = np.where(rng.random(60) < 0.5, 0.25, 0.75)
    y[:5] = 1.0
    objective = cases.objective_of(Table(x, y[:, None]), loss_for(2), ElasticNet())
    assert_no_bound_anywhere(objective)
    assert solved(objective).certificate.status is not Status.CERTIFIED


def test_all_classified_is_a_proof() -> None:
    table = Table(np.array([[-1.0], [1.0]]), np.array([[0.0], [1.0]]))
    objective = cases.objective_of(table, loss_for(2), ElasticNet())
    assert all_classified(objective, torch.tensor([[-1e-9], [1e-9]], dtype=torch.float64))
    assert not all_classified(objective, torch.tensor([[-1e-9], [0.0]], dtype=torch.float64))


def test_separation_is_found_from_any_starting_point() -> None:
    """The rows it starts from only make it quicker."""
    rng = np.random.default_rng(9)
    x = rng.standard_normal((400, 3))
    x[:, 1] = 0
    x[:3, 1] = 1
    y = (rng.random((400, 1)) < 0.5).astype(float)
    y[:3] = 1
    objective = cases.objective_of(Table(x, y), loss_for(2), ElasticNet())
    for raw in (torch.zeros(400, 1), torch.randn(400, 1, generator=torch.Generator().manual_seed(0))):
        found = find_separation(objective, raw.double())
        assert found is not None
        assert found.directions == ((1, 0, 1),)


# -- bounds, penalty factors and offsets -----------------------------------------------------------------------------

ANY, NONE = -torch.inf, torch.inf


def bounded(x: Array, y: Array, penalty: ElasticNet, offset: Array | None = None) -> FitResult:
    target = np.asarray(y, dtype=float)
    table = Table(np.asarray(x, dtype=float), target[:, None] if target.ndim == 1 else target, offset=offset)
    return solved(cases.objective_of(table, loss_for(max(2, table.target.shape[1])), penalty))


def limits(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def a_category_of_one_class(label: int, rows: int = 6) -> tuple[Array, Array]:
    """Three columns, the second a category all of whose rows are of one class: quasi-complete."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 3)), (rng.random(200) < 0.5).astype(float)
    x[:, 1] = 0
    x[:rows, 1], y[:rows] = 1, label
    return x, y


def a_threshold(sign: int) -> tuple[Array, Array]:
    """Two columns, the first of which decides: complete."""
    rng = np.random.default_rng(2)
    x = rng.integers(-20, 21, (200, 2)).astype(float)
    x[x[:, 0] == 0, 0] = 1
    return x, (sign * x[:, 0] > 0).astype(float)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_sign_that_is_not_allowed_does_not_separate(sign: int, scale: float) -> None:
    x, y = a_threshold(sign)
    away = ElasticNet(lower=limits(0, ANY)) if sign < 0 else ElasticNet(upper=limits(0, NONE))
    result = bounded(x * scale, y, away)
    assert result.certificate.status is Status.CERTIFIED, result.certificate.message
    assert result.certificate.separation is None
    assert float(result.params.coef[0]) == 0
    along = ElasticNet(lower=limits(0, ANY)) if sign > 0 else ElasticNet(upper=limits(0, NONE))
    result = bounded(x * scale, y, along)
    assert directions(result) == {(0, 0, sign)}
    assert result.certificate.separation is not None
    assert result.certificate.separation.complete


@pytest.mark.parametrize("label", [0, 1])
def test_a_category_of_one_class_and_the_sign_of_its_coefficient(label: int) -> None:
    x, y = a_category_of_one_class(label)
    positive, negative = ElasticNet(lower=limits(ANY, 0, ANY)), ElasticNet(upper=limits(NONE, 0, NONE))
    along, away = (positive, negative) if label else (negative, positive)
    result = bounded(x, y, along)
    assert directions(result) == {(1, 0, 1 if label else -1)}
    assert result.certificate.separation is not None
    assert not result.certificate.separation.complete
    result = bounded(x, y, away)
    assert result.certificate.status is Status.CERTIFIED, result.certificate.message
    assert float(result.params.coef[1]) == 0


def test_bounds_on_both_sides_do_not_separate() -> None:
    for x, y in (a_threshold(1), a_category_of_one_class(1)):
        d = x.shape[1]
        result = bounded(x, y, ElasticNet(lower=limits(*[-0.5] * d), upper=limits(*[2.0] * d)))
        assert result.certificate.status is Status.CERTIFIED, result.certificate.message


@pytest.mark.parametrize("strength", [{"l1": 0.1}, {"l2": 0.1}, {"l1": 0.1, "l2": 0.1}])
def test_a_penalty_on_the_column_that_separates_is_enough(strength: dict[str, float]) -> None:
    x, y = a_category_of_one_class(1)
    held = bounded(x, y, ElasticNet(**strength, factors=limits(0, 1, 0)))
    assert held.certificate.status is Status.CERTIFIED, held.certificate.message
    assert held.certificate.separation is None
    assert float(held.params.coef[1]) > 0
    free = bounded(x, y, ElasticNet(**strength, factors=limits(1, 0, 1)))
    assert directions(free) == {(1, 0, 1)}


def test_an_offset_that_decides_every_row_does_not_separate() -> None:
    """Whatever is added to a row, F has a minimum where the columns overlap, and none where they separate."""
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((200, 3)), (rng.random(200) < 0.5).astype(float)
    offset = (40 * (2 * y - 1))[:, None] * np.abs(rng.standard_normal((200, 1)))
    table = Table(x, y[:, None], offset=offset)
    objective = cases.objective_of(table, loss_for(2), ElasticNet())
    assert not all_classified(objective, objective.raw(objective.start()))
    assert find_separation(objective, objective.raw(objective.start())) is None
    assert bounded(x, y, ElasticNet(), 0.1 * offset).certificate.status is Status.CERTIFIED


@pytest.mark.parametrize("size", [-30.0, -1.0, 1.0, 30.0])
def test_an_offset_does_not_hide_a_separation(size: float) -> None:
    x, y = a_category_of_one_class(1)
    offset = size * np.abs(np.random.default_rng(6).standard_normal((200, 1)))
    assert directions(bounded(x, y, ElasticNet(), offset)) == {(1, 0, 1)}
    x, y = a_threshold(-1)
    assert directions(bounded(x, y, ElasticNet(), offset)) == {(0, 0, -1)}


def test_a_class_and_the_signs_of_its_coefficients() -> None:
    """With coefficients of one sign a category's class is still set apart: by its own, or by those of the others."""
    x, _ = a_category_of_one_class(1)
    y = np.random.default_rng(7).integers(0, 3, 200)
    y[:6] = 2
    target = np.eye(3)[y]
    positive = directions(bounded(x, target, ElasticNet(lower=limits(ANY, 0, ANY))))
    assert positive == {(1, 2, 1)}
    negative = directions(bounded(x, target, ElasticNet(upper=limits(NONE, 0, NONE))))
    assert negative == {(1, 0, -1), (1, 1, -1)}
    held = bounded(x, target, ElasticNet(lower=limits(ANY, 0, ANY), upper=limits(NONE, 4, NONE)))
    assert held.certificate.status is Status.CERTIFIED, held.certificate.message


def truth_with_signs(table: Table, intercept: bool, signs: Array) -> bool | None:
    """Whether some direction of these signs (-1, 1, or 0 for any) separates; None where it is too close to call."""
    a = margins(table, intercept)
    per_output = [*signs, *[0] * intercept]
    box = [(-1.0 * (s <= 0), 1.0 * (s >= 0)) for s in per_output] * (a.shape[1] // len(per_output))
    most = linprog(-a.sum(axis=0), A_ub=-a, b_ub=np.zeros(len(a)), bounds=box, method="highs")
    return None if 1e-9 <= -most.fun < 1e-4 else bool(-most.fun >= 1e-4)


@given(recipe=recipes("complete", "ties", "random"), drawn=st.integers(0, 2**32 - 1))
@examples(30, phases=UNSHRUNK)
def test_with_signs_the_status_is_the_truth(recipe: Recipe, drawn: int) -> None:
    check_with_signs(recipe, drawn)


def check_with_signs(recipe: Recipe, drawn: int) -> None:
    table = recipe.table()
    assume(classes_present(table))
    signs = np.random.default_rng(drawn).integers(-1, 2, recipe.d)
    known = truth_with_signs(table, recipe.intercept, signs)
    assume(known is not None)
    lower = torch.from_numpy(np.where(signs > 0, 0.0, -np.inf))
    upper = torch.from_numpy(np.where(signs < 0, 0.0, np.inf))
    objective = cases.objective_of(
        table, loss_for(recipe.n_classes), ElasticNet(lower=lower, upper=upper), intercept=recipe.intercept
    )
    certificate = solved(objective).certificate
    assert certificate.status is (Status.SEPARATED if known else Status.CERTIFIED), certificate.message
    if certificate.separation is not None:
        assert certificate.bound is None
        for feature, _, sign in certificate.separation.directions:
            assert feature == recipe.d or signs[feature] in (0, sign)
