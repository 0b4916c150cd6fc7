"""A path of penalties: its fits, the losses on rows that fits have not seen, and the choice among them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import cases
from cases import Table, objective_of, table
from profiles import examples
from reference import leave_one_out as reference
from reference.objective import Plain, optimum
from torchlogit.errors import InputError
from torchlogit.fit import Goal, fit
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.path import Folds, L2Choice, LeaveOneOut, PathPoint, Validation, choose, curve, trace, with_l2
from torchlogit.path.batch import ALL_ROWS, Batch
from torchlogit.path.curve import best, certified
from torchlogit.path.grid import coarse, fine, span
from torchlogit.path.leave_one_out import degrees_of_freedom, left_out_losses
from torchlogit.path.measures import mean_loss
from torchlogit.path.samples import nested_samples
from torchlogit.path.trace import JointFits, SequentialFits
from torchlogit.penalties import ElasticNet
from torchlogit.quadratic import factor
from torchlogit.records import Certificate, Status
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton


def weights(rng: np.random.Generator, n: int) -> Any:
    return rng.integers(1, 5, n).astype(float)


def problem(n_classes: int = 2, *, n: int = 60, l2: float = 1.0, d: int = 3, **options: Any) -> Objective:
    """A table of few rows, as an objective."""
    outputs = 1 if n_classes == 2 else n_classes
    of_objective = {key: options.pop(key) for key in ("intercept", "design") if key in options}
    factors = options.pop("factors", None)
    penalty = ElasticNet(l2=l2, factors=None if factors is None else torch.tensor(factors, dtype=torch.float64))
    rows = table(n=n, d=d, n_outputs=outputs, seed=n_classes, **options)
    return objective_of(rows, loss_for(n_classes), penalty, **of_objective)


PROBLEMS = {
    "two classes": problem(),
    "three classes": problem(3),
    "five classes": problem(5),
    "weights": problem(weights=weights),
    "weights, three classes": problem(3, weights=weights),
    "offsets": problem(3, offsets=True),
    "probabilities": problem(targets=cases.soft),
    "distributions": problem(3, targets=cases.soft),
    "factors": problem(factors=(0.5, 1.0, 3.0)),
    "a free column": problem(factors=(0.0, 1.0, 3.0)),
    "no intercept": problem(intercept=False),
    "sparse": problem(3, columns=cases.scarce, design="csr"),
    "hardly a penalty": problem(l2=1e-4),
    "large penalty": problem(3, l2=300.0),
}
named = pytest.mark.parametrize("objective", PROBLEMS.values(), ids=PROBLEMS)


def solved(objective: Objective) -> Tensor:
    """Its optimum."""
    return objective.theta(fit(objective, StochasticNewton(), Goal(tol=1e-12)).params)


def factor_at(objective: Objective, theta: Tensor) -> Any:
    return factor(objective.hessian(objective.residual(objective.raw(theta))))


# -- leaving rows out ---------------------------------------------------------------------------------------------


@named
def test_a_row_left_out_is_one_newton_step_away(objective: Objective) -> None:
    theta, plain = solved(objective), Plain.of(objective)
    found = left_out_losses(objective, theta, factor_at(objective, theta), objective.weight)
    wanted = reference.stepped(plain, theta.numpy(), plain.weight)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-7)


def test_part_of_a_rows_weight_is_left_out() -> None:
    objective = PROBLEMS["weights, three classes"]
    theta, plain = solved(objective), Plain.of(objective)
    found = left_out_losses(objective, theta, factor_at(objective, theta), torch.ones_like(objective.weight))
    np.testing.assert_allclose(found.numpy(), reference.stepped(plain, theta.numpy(), np.ones(60)), rtol=1e-5)


@pytest.mark.parametrize("name", ["two classes", "three classes", "weights, three classes", "probabilities", "factors"])
def test_leaving_out_is_nearly_fitting_the_others(name: str) -> None:
    """Of what it costs on average, one step tells nine tenths, where rows are few and some weigh four times as much."""
    objective = PROBLEMS[name]
    theta, plain = solved(objective), Plain.of(objective)
    seen = plain.losses(plain.raw(theta.numpy())).astype(float)
    found = left_out_losses(objective, theta, factor_at(objective, theta), objective.weight).numpy()
    wanted = reference.refitted(plain, plain.weight)
    weight = objective.weight.numpy()
    cost = weight @ (wanted - seen)
    assert abs(weight @ (found - wanted)) <= 0.1 * cost


@named
def test_degrees_of_freedom(objective: Objective) -> None:
    theta = solved(objective)
    found = degrees_of_freedom(objective, factor_at(objective, theta))
    assert found == pytest.approx(reference.degrees_of_freedom(Plain.of(objective), theta.numpy()), rel=1e-6)


def test_degrees_of_freedom_go_from_none_to_all() -> None:
    def at(l2: float) -> float:
        objective = with_l2(PROBLEMS["three classes"], l2)
        return degrees_of_freedom(objective, factor_at(objective, solved(objective)))

    intercepts, everything = 2, 8
    assert at(1e8) == pytest.approx(intercepts, abs=1e-5)
    assert at(1e-6) == pytest.approx(everything, abs=1e-3)


# -- many fits on one reading -------------------------------------------------------------------------------------


def batch_with_folds(objective: Objective) -> Batch:
    n = objective.design.shape[0]
    fold = torch.arange(n) % 3 - 1  # the first of three rows is in no fold
    l2s, held_out = torch.tensor([10.0, 1.0, 0.1, 1.0]).double(), torch.tensor([ALL_ROWS, 0, 1, 1])
    return Batch(objective, objective.weight, l2s, held_out, fold)


@named
def test_a_batch_is_its_single_fits(objective: Objective) -> None:
    batch = batch_with_folds(objective)
    theta = torch.from_numpy(np.random.default_rng(0).normal(size=batch.start().shape))
    found = batch.evaluate(theta)
    for k, fold in enumerate(batch.held_out.tolist()):
        single, at = batch.single(k), theta[:, k]
        raw = single.raw(at)
        assert float(found.value[k]) == pytest.approx(single.value(at, raw), rel=1e-12)
        gradient = single.gradient(at, single.residual(raw))
        torch.testing.assert_close(found.gradient[:, k], gradient, rtol=1e-10, atol=1e-10)
        losses, out = objective.loss.value(raw, objective.target), objective.weight * (batch.fold == fold)
        loss, square, cross = found.held_out[:, k].tolist()
        assert loss == pytest.approx(float((out * losses).sum()), rel=1e-12)
        assert square == pytest.approx(float((out * losses).square().sum()), rel=1e-12)
        assert cross == pytest.approx(float((out * out * losses).sum()), rel=1e-12)


def test_rows_held_out_have_no_weight() -> None:
    batch = batch_with_folds(PROBLEMS["weights"])
    assert batch.single(1).weight[batch.fold == 0].abs().max() == 0
    torch.testing.assert_close(batch.single(1).weight[batch.fold != 0], batch.objective.weight[batch.fold != 0])
    torch.testing.assert_close(batch.single(0).weight, batch.objective.weight)


L2S = [100.0, 10.0, 1.0, 0.1, 0.001]
LONG = {
    "two classes": problem(n=20_000),
    "three classes": problem(3, n=24_000),
    "rare levels": problem(n=40_000, d=12, columns=cases.rare),
    "sparse": problem(n=24_000, d=6, columns=cases.scarce, design="csr"),
}


EVERY = PROBLEMS | {f"long, {name}": objective for name, objective in LONG.items()}


@pytest.mark.parametrize("objective", EVERY.values(), ids=EVERY)
def test_a_path_is_its_certified_fits(objective: Objective) -> None:
    path = trace(objective, LeaveOneOut(), l2s=L2S)
    assert [point.l2 for point in path.points] == L2S
    unit = objective.total_weight / objective.design.shape[0]
    for point, params in zip(path.points, path.params, strict=True):
        single = with_l2(objective, point.l2)
        theta = single.theta(params)
        certificate = fit(single, StochasticNewton(), Goal(tol=1e-9)).certificate
        assert certificate.bound is not None
        assert point.objective == pytest.approx(single.value(theta, single.raw(theta)), rel=1e-10)
        assert point.objective >= (certificate.objective - certificate.bound) * (1 - 1e-12)
        assert point.objective <= certificate.objective + 0.02 * unit + 2e-6 * certificate.objective


def test_long_tables_are_sampled_first() -> None:
    """Or what is said of them above is not what it seems."""
    for objective in LONG.values():
        levels, left_out = nested_samples(objective, objective.weight, 600, seed=0)
        assert len(levels) > 1
        assert left_out.objective.design.shape[0] < objective.design.shape[0] / 2


@named
def test_one_after_the_other_is_all_together(objective: Objective) -> None:
    measure = LeaveOneOut()
    together = JointFits(objective, measure, objective.weight, 0).solutions(L2S, [], stop_early=False)
    in_turn = SequentialFits(objective, measure, objective.weight, 0).solutions(L2S, [], stop_early=False)
    for one, other in zip(together, in_turn, strict=True):
        assert one.point.l2 == other.point.l2
        assert one.point.loss == pytest.approx(other.point.loss, rel=5e-3)
        assert one.point.df == pytest.approx(other.point.df, rel=2e-2)


def test_it_ends_early_once_smaller_penalties_are_worse() -> None:
    objective = problem(n=60, d=20)
    l2s = np.geomspace(1e3, 1e-6, 19).tolist()
    fitter = SequentialFits(objective, LeaveOneOut(), objective.weight, 0)
    every, fewer = (fitter.solutions(l2s, [], stop_early=early) for early in (False, True))
    assert len(fewer) < len(every) == 19
    assert min(t.point.loss for t in fewer) == min(t.point.loss for t in every)


# -- rows that were not seen --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["two classes", "weights, three classes", "hardly a penalty", "sparse", "offsets"])
@pytest.mark.parametrize("in_turn", [False, True])
def test_folds_are_separate_fits(name: str, in_turn: bool) -> None:
    objective = PROBLEMS[name]
    fold = torch.from_numpy(np.random.default_rng(1).integers(0, 3, objective.design.shape[0]))
    fold[0] = -1
    fitter = (SequentialFits if in_turn else JointFits)(objective, Folds(fold), objective.weight, 0)
    for solution in fitter.solutions([3.0, 0.3], [], stop_early=False):
        single = with_l2(objective, solution.point.l2)
        losses = torch.zeros(len(fold), dtype=torch.float64)
        for k in range(3):
            theta = solved(replace(single, weight=single.weight * (fold != k)))
            losses[fold == k] = single.loss.value(single.raw(theta), single.target)[fold == k]
        weight = torch.where(fold >= 0, objective.weight, 0.0)
        loss, error = mean_loss(losses, weight)
        assert solution.point.loss == pytest.approx(loss, rel=2e-3)
        assert solution.point.standard_error == pytest.approx(error, rel=1e-2)


@pytest.mark.parametrize("name", ["two classes", "three classes", "weights"])
def test_leave_one_out_estimate(name: str) -> None:
    """The mean by weight of the losses of rows left out, and its standard error."""
    objective = PROBLEMS[name]
    path = trace(objective, LeaveOneOut(), l2s=[1.0])
    theta, plain = solved(objective), Plain.of(objective)
    losses = reference.stepped(plain, theta.numpy(), plain.weight)
    weight = objective.weight.numpy()
    mean = weight @ losses / weight.sum()
    assert path.points[0].loss == pytest.approx(mean, rel=1e-3)
    error = math.sqrt(np.sum((weight * (losses - mean)) ** 2)) / weight.sum()
    assert path.points[0].standard_error == pytest.approx(error, rel=1e-2)


@pytest.mark.parametrize("objective", LONG.values(), ids=LONG)
def test_a_sample_tells_what_leaving_out_costs(objective: Objective) -> None:
    """To within a tenth of it."""
    sampled = trace(objective, LeaveOneOut(), l2s=[10.0, 0.1])
    whole = trace(objective, LeaveOneOut(), l2s=[10.0, 0.1], min_sample=10**9)
    for one, other, params in zip(sampled.points, whole.points, whole.params, strict=True):
        raw = objective.raw(objective.theta(params))
        seen = float(objective.weight @ objective.loss.value(raw, objective.target))
        cost = other.loss - seen / objective.total_weight
        assert abs(one.loss - other.loss) <= 0.1 * cost
        assert one.standard_error == pytest.approx(other.standard_error, rel=0.05)
        assert one.df == pytest.approx(other.df, rel=0.05)


def test_validation_rows() -> None:
    objective, rows = PROBLEMS["three classes"], problem(3, n=40, signal=0.5, weights=weights)
    path = trace(objective, Validation(rows), l2s=L2S)
    for point, params in zip(path.points, path.params, strict=True):
        losses = rows.loss.value(rows.raw(rows.theta(params)), rows.target)
        assert point.loss == pytest.approx(float((rows.weight * losses).sum() / rows.weight.sum()), rel=1e-12)
    assert path.l2 == min(path.points, key=lambda point: point.loss).l2


def test_integer_weights_are_repetition() -> None:
    """Where one observation is a weight of one."""
    weighted = PROBLEMS["weights, three classes"]
    times = weighted.weight.long()
    again = torch.arange(60).repeat_interleave(times)
    repeated = replace(weighted.sample(again, torch.ones(len(again))), weight=torch.ones(len(again)).double())
    one, other = (trace(o, LeaveOneOut(), torch.ones_like(o.weight)) for o in (weighted, repeated))
    assert one.l2 == other.l2
    for a, b in zip(one.points, other.points, strict=True):
        assert (a.l2, a.loss) == (b.l2, pytest.approx(b.loss, rel=1e-3))
        assert a.standard_error == pytest.approx(b.standard_error, rel=1e-2)


# -- the grid and the choice --------------------------------------------------------------------------------------


@examples(20)
@given(st.integers(-6, 6), st.integers(0, 2))
def test_the_grid_follows_the_units_of_the_columns(power: int, kind: int) -> None:
    rows, factor = table(n=50, d=3, n_outputs=(1, 3, 5)[kind]), 10.0**power
    one, other = (
        span(objective_of(Table(rows.x * by, rows.target), loss_for((2, 3, 5)[kind]), ElasticNet(l2=1.0)))
        for by in (1.0, factor)
    )
    assert other == pytest.approx((one[0] * factor**2, one[1] * factor**2), rel=1e-8)


@named
def test_the_grid_goes_from_no_coefficients_to_no_penalty(objective: Objective) -> None:
    high, low = span(objective)
    seen = int((objective.coef(objective.precision[:, None]) > 0).sum()) * objective.basis().shape[1]
    free = objective.design.shape[1] * objective.basis().shape[1] - seen

    def determined(l2: float) -> float:
        single = with_l2(objective, l2)
        return degrees_of_freedom(single, factor_at(single, solved(single))) - free

    assert determined(high) <= 1.5 * objective.basis().shape[1]
    assert determined(low) >= 0.98 * seen
    assert coarse(objective) == sorted(coarse(objective), reverse=True)


def test_columns_that_say_nothing_leave_one_penalty() -> None:
    rows = table(n=50, d=2)
    objective = objective_of(Table(np.ones_like(rows.x), rows.target), loss_for(2), ElasticNet(l2=1.0))
    path = trace(objective, LeaveOneOut())
    assert [point.l2 for point in path.points] == [1.0]


def test_the_fine_grid_lies_between_the_neighbours() -> None:
    l2s = [100.0, 10.0, 1.0, 0.1]
    for k in range(4):
        found = fine(l2s, k)
        assert found
        assert all(l2s[min(3, k + 1)] < l2 < l2s[max(0, k - 1)] for l2 in found)
        assert not set(found) & set(l2s)
    assert fine([1.0], 0) == []


def test_the_best_is_as_good_as_a_long_grid() -> None:
    objective = problem(n=80, d=15)
    path = trace(objective, LeaveOneOut())
    everywhere = trace(objective, LeaveOneOut(), l2s=np.geomspace(*span(objective), 100).tolist())
    least = min(point.loss for point in everywhere.points)
    assert path.points[path.chosen].loss <= least * (1 + 1e-4)


losses = st.lists(st.tuples(st.floats(0.1, 2.0), st.floats(0.0, 0.5)), min_size=1, max_size=8)


@given(losses)
def test_the_choice(values: list[tuple[float, float]]) -> None:
    points = [PathPoint(10.0**-k, 1.0, None, loss, error, None) for k, (loss, error) in enumerate(values)]
    least = best(points, one_standard_error=False)
    assert points[least].loss == min(point.loss for point in points)
    simpler = best(points, one_standard_error=True)
    limit = points[least].loss + points[least].standard_error
    assert simpler <= least
    assert points[simpler].loss <= limit
    assert all(point.loss > limit for point in points[:simpler])


def test_a_loss_that_is_no_number_is_not_the_best() -> None:
    points = [PathPoint(2.0, 1.0, None, math.nan, 0.1, None), PathPoint(1.0, 1.0, None, 0.4, 0.1, None)]
    assert best(points, one_standard_error=False) == best(points, one_standard_error=True) == 1


def test_what_is_proven_is_noted_at_its_point() -> None:
    points = [PathPoint(2.0, 9.0, None, 0.5, 0.1, 3.0), PathPoint(1.0, 8.0, None, 0.4, 0.1, 4.0)]
    noted = certified(points, 1.0, Certificate(Status.CERTIFIED, 7.5, 1e-3))
    assert noted == (points[0], PathPoint(1.0, 7.5, 1e-3, 0.4, 0.1, 4.0))


def test_the_picture_shows_the_choice() -> None:
    points = [PathPoint(2.0, 9.0, None, 0.5, 0.1, 3.0), PathPoint(1.0, 8.0, None, 0.4, 0.1, 4.0)]
    drawn = curve(points, 1.0)
    assert "chosen: l2 = 1" in drawn
    assert "one standard error" in drawn
    assert curve(points, 2.0) != drawn


# -- what is refused ----------------------------------------------------------------------------------------------


def chosen(objective: Objective, choice: L2Choice, validation: Objective | None = None) -> float:
    fold = torch.arange(objective.design.shape[0]) % 5
    return choose(objective, choice, observation_weight=objective.weight, folds=lambda: fold, validation=validation).l2


REFUSED = {
    "an empty path": (L2Choice(l2s=()), "positive finite numbers to choose from"),
    "a negative l2": (L2Choice(l2s=(1.0, -1.0)), "positive finite numbers to choose from"),
    "another way": (L2Choice(by="aic"), "expected 'alo', 'cv' or 'validation'"),  # type: ignore[arg-type]
    "no rows to validate on": (L2Choice(by="validation"), "give the rows"),
}


@pytest.mark.parametrize(("choice", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_chosen_is_refused(choice: L2Choice, words: str) -> None:
    with pytest.raises(InputError, match=words):
        chosen(PROBLEMS["two classes"], choice)


def test_kinks_are_refused() -> None:
    kinked = replace(PROBLEMS["two classes"], penalty=ElasticNet(l1=1.0, l2=1.0))
    with pytest.raises(InputError, match="without l1 and without bounds"):
        chosen(kinked, L2Choice())


def test_what_is_used_where_nothing_is_said() -> None:
    """Validation rows where there are any; else leaving out; folds where there are too many coefficients for that."""
    few, wide = PROBLEMS["two classes"], problem(n=40, d=2600, columns=cases.scarce, design="csr")
    for objective, validation, by in ((few, few, "validation"), (few, None, "alo"), (wide, None, "cv")):
        fold = torch.arange(objective.design.shape[0]) % 2
        path = choose(
            objective,
            L2Choice(l2s=(1.0,)),
            observation_weight=objective.weight,
            folds=lambda f=fold: f,
            validation=validation,
        )
        assert path.by == by
    with pytest.raises(InputError, match="too many"):
        chosen(wide, L2Choice(by="alo"))


def test_optimum_of_the_reference_agrees() -> None:
    """The slow reference and the fits above mean the same minimum."""
    objective = PROBLEMS["weights"]
    found = optimum(Plain.of(objective))
    np.testing.assert_allclose(found.theta.astype(float), solved(objective).numpy(), atol=1e-5)
