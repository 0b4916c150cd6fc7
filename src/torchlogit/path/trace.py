"""trace: fit a path of penalties and estimate each fit's loss on new rows."""

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
from torchlogit.path.measures import Measure, PathFits, batch_of
from torchlogit.path.newton import Hessians, solve
from torchlogit.path.samples import MIN_SAMPLE, nested_samples
from torchlogit.solvers.choice import automatic

MAX_JOINT = 600  # parameters up to which a Hessian for every penalty costs less than fits one after the other
MAX_HESSIAN = 2500  # parameters up to which a Hessian is formed at all
GAP = 1e-4  # nats, for rows of mean weight one: how far F of a joint fit may be above its minimum; larger: fewer steps
# A fit of a sample may be above its minimum by this share of the sample's statistical error: half a nat per parameter,
# times the number of rows that each sampled row represents. Larger: fewer steps on samples, more on all rows.
SAMPLE_GAP = 0.05
FIT_TOL = 1e-5  # the bound asked of fits one after the other, relative to F
PATIENCE = 2  # the path ends early once this many penalties in a row have larger losses than one before them


@dataclass(frozen=True, slots=True)
class Solution:
    """The fit at one l2, and its point on the curve."""

    point: PathPoint
    theta: Tensor


def trace(
    objective: Objective,
    measure: Measure,
    observation_weight: Tensor | None = None,
    *,
    l2s: list[float] | None = None,
    one_standard_error: bool = False,
    seed: int = 0,
    min_sample: int = MIN_SAMPLE,
) -> PenaltyPath:
    """Fit the path at these l2, or at a coarse grid and then at a fine one around its best; choose among them.

    Parameters
    ----------
    objective : Objective
        The rows and the penalty's factors; the penalty's own l2 is not used.
    measure : Measure
        How the loss on new rows is estimated.
    observation_weight : (n,), optional
        The part of a row's weight that counts as one observation; by default all of it.
    l2s : list of float, optional
        The penalties.
    one_standard_error : bool
        Choose the largest l2 whose loss is within a standard error of the least.
    seed : int
        Seed of the samples of rows.
    min_sample : int
        The fewest rows of a sample.

    Raises
    ------
    InputError
        For a penalty with l1 or bounds.
    """
    if not objective.penalty.smooth:
        raise InputError("l2 is chosen without l1 and without bounds only; give l1=0 and no bounds, or l2 as a number")
    weight = objective.weight if observation_weight is None else observation_weight
    fitter = (JointFits if objective.n_parameters <= MAX_JOINT else SequentialFits)(
        objective, measure, weight, seed, min_sample
    )
    solutions = fitter.solutions(sorted(l2s or coarse(objective), reverse=True), [], stop_early=l2s is None)
    if l2s is None:
        known = [solution.point.l2 for solution in solutions]
        k = best([solution.point for solution in solutions], one_standard_error=one_standard_error)
        solutions = [*solutions, *fitter.solutions(fine(known, k), solutions, stop_early=False)]
        solutions.sort(key=lambda solution: -solution.point.l2)
    points = tuple(solution.point for solution in solutions)
    params = tuple(objective.params(solution.theta) for solution in solutions)
    return PenaltyPath(points, params, measure.by, best(points, one_standard_error=one_standard_error))


class JointFits:
    """Fits at all penalties, and without all folds, on the same readings of X.

    They are fitted to samples of the rows first, each larger than the one before, and then to all rows. The Hessians of
    a sample also serve for the next one, so that little more than gradients is computed from all rows.
    """

    def __init__(
        self, objective: Objective, measure: Measure, weight: Tensor, seed: int, min_sample: int = MIN_SAMPLE
    ) -> None:
        self.objective, self.measure, self.observation_weight = objective, measure, weight
        self.samples, self.left_out = nested_samples(objective, weight, MAX_JOINT, seed, min_sample)

    def solutions(self, l2s: list[float], known: list[Solution], *, stop_early: bool) -> list[Solution]:
        """The solutions at all of l2s (stop_early is not used); known ones are interpolated to start from."""
        if not l2s:
            return []
        batch = batch_of(self.objective, self.observation_weight, l2s, self.measure)
        theta = _interpolated(batch, known) if known else batch.start()
        n, mean_weight = len(batch.fold), self.objective.total_weight / len(batch.fold)
        hessians = Hessians(batch, batch)
        for sample in self.samples[:-1]:
            small = batch.of_sample(sample.objective, sample.indices)
            hessians = Hessians(batch, small)
            if not known:
                error = 0.5 * self.objective.n_parameters * mean_weight * n / len(sample.indices)
                theta, _ = solve(small, theta, Hessians(small, small), SAMPLE_GAP * error)
        theta, evaluation = solve(batch, theta, hessians, GAP * mean_weight)
        return _measured(PathFits(batch, len(l2s), theta, evaluation, hessians, self.left_out), self.measure)


class SequentialFits:
    """Fits one after the other, from the largest penalty to the smallest, each started from the one before."""

    def __init__(
        self, objective: Objective, measure: Measure, weight: Tensor, seed: int, min_sample: int = MIN_SAMPLE
    ) -> None:
        self.objective, self.measure, self.observation_weight, self.seed = objective, measure, weight, seed
        affordable = objective.n_parameters <= MAX_HESSIAN
        self.samples = nested_samples(objective, weight, MAX_HESSIAN, seed, min_sample) if affordable else None

    def solutions(self, l2s: list[float], known: list[Solution], *, stop_early: bool) -> list[Solution]:
        """The solutions at l2s, in order. stop_early: end where the estimated loss has been rising."""
        losses, solutions = list[float](), list[Solution]()
        last: Tensor | None = None
        for l2 in l2s:
            fits = self._fits(l2, last)
            last = fits.theta
            solutions += _measured(fits, self.measure)
            losses.append(solutions[-1].point.loss)
            if stop_early and len(losses) > PATIENCE and min(losses[:-PATIENCE]) < min(losses[-PATIENCE:]):
                break
        return solutions

    def _fits(self, l2: float, last: Tensor | None) -> PathFits:
        """The fits at one l2, of all rows and without each fold."""
        batch = batch_of(self.objective, self.observation_weight, [l2], self.measure)
        theta = torch.stack([self._fit(batch, k, last) for k in range(len(batch.l2s))], dim=1)
        if self.samples is None:
            return PathFits(batch, 1, theta, batch.evaluate(theta))
        levels, left_out = self.samples
        sample = levels[-2:][0]
        hessians = Hessians(batch, batch.of_sample(sample.objective, sample.indices))
        return PathFits(batch, 1, theta, batch.evaluate(theta), hessians, left_out)

    def _fit(self, batch: Batch, k: int, last: Tensor | None) -> Tensor:
        """The k-th fit of a batch, started from the k-th of the last batch."""
        objective = batch.single(k)
        start = None if last is None else objective.params(last[:, k])
        found = fit(objective, automatic(objective, self.seed, FIT_TOL), Goal(FIT_TOL), start=start)
        return objective.theta(found.params)


def _measured(fits: PathFits, measure: Measure) -> list[Solution]:
    """The solutions at every l2 of the fits, with the estimated losses."""
    return [_measured_at(fits, k, measure) for k in range(fits.n_l2s)]


def _measured_at(fits: PathFits, k: int, measure: Measure) -> Solution:
    hessian, l2, value = fits.hessian(k), float(fits.batch.l2s[k]), float(fits.evaluation.value[k])
    loss, error = measure.estimate(fits, k, hessian)
    df = None if hessian is None else degrees_of_freedom(fits.batch.single(k), hessian)
    return Solution(PathPoint(l2, value, None, loss, error, df), fits.theta[:, k])


def _interpolated(batch: Batch, known: list[Solution]) -> Tensor:
    """A start for every fit: linear in log l2 between the two neighbouring solutions that are known."""
    logs = torch.tensor([solution.point.l2 for solution in known], dtype=torch.float64).log()
    theta = batch.start()
    for k, l2 in enumerate(batch.l2s.log().tolist()):
        after = min(max(1, int((logs > l2).sum())), len(known) - 1)
        share = float((l2 - logs[after - 1]) / (logs[after] - logs[after - 1])) if len(known) > 1 else 0.0
        theta[:, k] = torch.lerp(known[after - 1].theta, known[after].theta, share)
    return theta
