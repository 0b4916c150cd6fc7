"""A path of penalties, solved and measured: together where Hessians are small, else one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.errors import InputError
from torchlogit.fit import Goal, fit
from torchlogit.objective import Objective
from torchlogit.path.batch import Batch
from torchlogit.path.curve import PathPoint, PenaltyPath, best
from torchlogit.path.grid import coarse, fine
from torchlogit.path.leave_one_out import degrees_of_freedom
from torchlogit.path.measures import Fits, Measure, batch_of
from torchlogit.path.newton import Curvature, solve
from torchlogit.path.samples import Samples
from torchlogit.solvers.choice import automatic

MOST_TOGETHER = 600  # parameters up to which a Hessian for every penalty costs less than fits one after the other
MOST = 2500  # parameters up to which a Hessian is formed at all
SETTLED = 1e-4  # nats, for a row of weight one, that a fit may be above its optimum;
SHARE = 0.05  # of a smaller sample's own error, that its fit may be
FIT_TOL = 1e-5  # the same of a fit by itself, relative to F
RISING = 2  # penalties in a row that are no better than those before: smaller ones will not be


@dataclass(frozen=True, slots=True)
class Traced:
    """One penalty, and the optimum there."""

    point: PathPoint
    theta: Tensor


def trace(
    objective: Objective,
    measure: Measure,
    unit: Tensor | None = None,
    *,
    l2s: list[float] | None = None,
    one_standard_error: bool = False,
    seed: int = 0,
) -> PenaltyPath:
    """The path for these penalties, or for those of a coarse grid and then of a fine one about the best of them.

    unit (n,): of a row's weight, what counts as one observation; all of it where None.
    """
    _refuse_kinks(objective)
    together = parameters(objective) <= MOST_TOGETHER
    way = (Together if together else InTurn)(objective, measure, objective.weight if unit is None else unit, seed)
    traced = way.trace(sorted(l2s or coarse(objective), reverse=True), [], stop_early=l2s is None)
    if l2s is None:
        known = [one.point.l2 for one in traced]
        at = best([one.point for one in traced], one_standard_error=one_standard_error)
        traced = sorted([*traced, *way.trace(fine(known, at), traced, stop_early=False)], key=lambda one: -one.point.l2)
    points = tuple(one.point for one in traced)
    params = tuple(objective.params(one.theta) for one in traced)
    return PenaltyPath(points, params, measure.by, best(points, one_standard_error=one_standard_error))


def parameters(objective: Objective) -> int:
    """Free ones, of all outputs."""
    return objective.n_parameters


def _refuse_kinks(objective: Objective) -> None:
    if not objective.penalty.smooth:
        raise InputError("l2 is chosen without l1 and without bounds only; give l1=0 and no bounds, or l2 as a number")


class Together:
    """All penalties, and all folds, on the same readings of X.

    First on samples of the rows, each larger than the one before, then on all rows; a sample's Hessians serve for the
    next, too, so that of all rows hardly more than gradients are taken.
    """

    def __init__(self, objective: Objective, measure: Measure, unit: Tensor, seed: int) -> None:
        self.objective, self.measure, self.unit = objective, measure, unit
        self.samples = Samples.of(objective, unit, MOST_TOGETHER, seed)

    def trace(self, l2s: list[float], known: list[Traced], *, stop_early: bool) -> list[Traced]:
        """These penalties; from what lies between them where some are known."""
        if not l2s:
            return []
        batch = batch_of(self.objective, self.unit, l2s, self.measure)
        theta = _between(batch, known) if known else batch.start()
        smaller = self.samples.levels[:-1]
        curvature, one = Curvature(batch, batch), self.objective.total_weight / len(batch.fold)
        for sample in smaller:
            small = sample.batch(batch)
            curvature = Curvature(batch, small)
            if not known:
                error = 0.5 * parameters(self.objective) * one * len(batch.fold) / len(sample.indices)
                theta = solve(small, theta, Curvature(small, small), SHARE * error).theta
        solved = solve(batch, theta, curvature, SETTLED * one)
        fits = Fits(batch, len(l2s), solved.theta, solved.seen, curvature, self.samples.left_out)
        return _measured(fits, self.measure)


class InTurn:
    """Fits one after the other, from the largest penalty to the smallest, each from the one before."""

    def __init__(self, objective: Objective, measure: Measure, unit: Tensor, seed: int) -> None:
        self.objective, self.measure, self.unit, self.seed = objective, measure, unit, seed
        self.samples = Samples.of(objective, unit, MOST, seed) if parameters(objective) <= MOST else None

    def trace(self, l2s: list[float], known: list[Traced], *, stop_early: bool) -> list[Traced]:
        """These penalties, in order; until the estimate has risen for a while, where asked to."""
        losses, traced = list[float](), list[Traced]()
        last: Tensor | None = None
        for l2 in l2s:
            fits = self._fits(l2, last)
            last = fits.theta
            traced += _measured(fits, self.measure)
            losses.append(traced[-1].point.loss)
            if stop_early and len(losses) > RISING and min(losses[:-RISING]) < min(losses[-RISING:]):
                break
        return traced

    def _fits(self, l2: float, last: Tensor | None) -> Fits:
        batch = batch_of(self.objective, self.unit, [l2], self.measure)
        theta = torch.stack([self._fit(batch, k, last) for k in range(len(batch.l2s))], dim=1)
        if self.samples is None:
            return Fits(batch, 1, theta, batch.evaluate(theta))
        curvature = Curvature(batch, self.samples.levels[-2:][0].batch(batch))
        return Fits(batch, 1, theta, batch.evaluate(theta), curvature, self.samples.left_out)

    def _fit(self, batch: Batch, k: int, last: Tensor | None) -> Tensor:
        objective = batch.single(k)
        start = None if last is None else objective.params(last[:, k])
        found = fit(objective, automatic(objective, self.seed, FIT_TOL), Goal(FIT_TOL), start=start)
        return objective.theta(found.params)


def _measured(fits: Fits, measure: Measure) -> list[Traced]:
    return [_one_measured(fits, k, measure) for k in range(fits.n_l2s)]


def _one_measured(fits: Fits, k: int, measure: Measure) -> Traced:
    factored, l2, value = fits.factored(k), float(fits.batch.l2s[k]), float(fits.seen.value[k])
    held = measure.held(fits, k, factored)
    df = None if factored is None else degrees_of_freedom(fits.batch.single(k), factored)
    return Traced(PathPoint(l2, value, None, held.loss, held.standard_error, df), fits.theta[:, k])


def _between(batch: Batch, known: list[Traced]) -> Tensor:
    """For every fit, on a straight line in log l2 between the neighbours that are known."""
    logs = torch.tensor([one.point.l2 for one in known], dtype=torch.float64).log()
    theta = batch.start()
    for k, l2 in enumerate(batch.l2s.log().tolist()):
        after = min(max(1, int((logs > l2).sum())), len(known) - 1)
        share = float((l2 - logs[after - 1]) / (logs[after] - logs[after - 1])) if len(known) > 1 else 0.0
        theta[:, k] = torch.lerp(known[after - 1].theta, known[after].theta, share)
    return theta
