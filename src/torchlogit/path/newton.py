"""Newton's method for a batch of fits: gradients of all fits in one reading of X, and Hessians shared by neighbours."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from torchlogit.path.batch import Batch, BatchEvaluation
from torchlogit.penalties import ElasticNet
from torchlogit.quadratic import Factor, factor

MAX_STEPS = 60  # the most evaluations of a batch, each a reading of X
# A step t is accepted once F falls by this share of t times the slope (Armijo's condition). Small, since a trial is a
# reading of X for all fits of the batch, unlike in the line search of StochasticNewton.
SUFFICIENT_DECREASE = 1e-4
ROUNDING = 1e-13  # relative to F: smaller decreases cannot be told from rounding
# How far a fit may be above its minimum, relative to F: a difference this small hardly changes the loss on new rows.
# Larger: fewer steps.
TOL = 1e-6
MIN_STEP = 1e-9  # a fit ends where no step longer than this, in units of Newton's, decreases F
# A Hessian is renewed if its step is predicted to lower F by more than this share of what the last step was. Larger:
# fewer Hessians and more steps.
SLOW_DECREASE = 0.2
SHARED_BY = 3  # neighbouring penalties that use the losses' Hessian of the one in the middle; more: poorer steps
SAMPLE_RENEWALS = 2  # how often a fit's Hessian is computed from the sample before it is computed from all rows


class Hessians:
    """The factored Hessian of every fit: from a sample of the rows, or from all rows where those steps were poor.

    The Hessian of the losses may be that of a neighbouring penalty; that of the penalty is always the fit's own.
    """

    def __init__(self, batch: Batch, sample: Batch) -> None:
        self.batch, self.sample = batch, sample
        self._factors: dict[int, Factor] = {}
        self._renewals = dict.fromkeys(range(len(batch.l2s)), 0)
        self._precision = batch.precision()

    def solve(self, k: int, right: Tensor) -> Tensor | None:
        """The k-th Hessian's inverse times `right`, in free coordinates; None before the first `renew`."""
        return self._factors[k].solve(right[:, None])[:, 0] if k in self._factors else None

    def renew(self, fits: list[int], theta: Tensor) -> None:
        """Compute the Hessians of these fits at theta (p, m, n_outputs), one for each group of neighbours."""
        for _, same in groupby(fits, key=lambda k: int(self.batch.held_out[k])):
            of_fold = list(same)
            for start in range(0, len(of_fold), SHARED_BY):
                group = of_fold[start : start + SHARED_BY]
                middle = group[len(group) // 2]
                all_rows = min(self._renewals[k] for k in group) >= SAMPLE_RENEWALS
                losses = self._of_losses(middle, theta[:, middle], all_rows=all_rows)
                for k in group:
                    self._factors[k] = self._factor(k, losses)
                    self._renewals[k] += 1

    def at(self, k: int, theta: Tensor) -> Factor:
        """The k-th fit's own Hessian at theta (p, n_outputs), from the sample."""
        return self._factor(k, self._of_losses(k, theta, all_rows=False))

    def _of_losses(self, k: int, theta: Tensor, *, all_rows: bool) -> Tensor:
        """The Hessian of the k-th fit's losses."""
        single = (self.batch if all_rows else self.sample).single(k)
        return replace(single, penalty=ElasticNet()).hessian(single.residual(single.raw(theta)))

    def _factor(self, k: int, losses: Tensor) -> Factor:
        """The Hessian of losses plus the k-th fit's penalty, factored."""
        hessian = losses.clone()
        hessian.diagonal().add_(self._precision[:, k].repeat(len(hessian) // len(self._precision)))
        return factor(hessian)


def solve(batch: Batch, theta: Tensor, hessians: Hessians, gap: float) -> tuple[Tensor, BatchEvaluation]:
    """Minimise all fits of a batch from theta (p, m, n_outputs), each to about gap + TOL * F above its minimum.

    Damped Newton steps; a Hessian is kept until its steps make too little progress. Returns the optima and the
    evaluation there.
    """
    m = len(batch.l2s)
    theta, evaluation = theta.clone(), batch.evaluate(theta)
    steps, t = torch.zeros_like(theta), torch.ones(m, dtype=torch.float64)
    slope, promise = torch.zeros(m, dtype=torch.float64), torch.full((m,), torch.inf, dtype=torch.float64)

    def next_step(k: int, accept_slow: bool) -> bool:
        """Compute the k-th fit's step; False where there is no Hessian yet or, unless accepted, where it is slow."""
        gradient = batch.objective.to_free(evaluation.gradient[:, k])
        free = hessians.solve(k, -gradient)
        if free is None or (not accept_slow and -0.5 * float(gradient @ free) > SLOW_DECREASE * float(promise[k])):
            return False
        steps[:, k] = batch.objective.from_free(free)
        slope[k], t[k] = float(gradient @ free), 1.0
        promise[k] = -0.5 * slope[k]
        return True

    active = moved = list(range(m))
    for _ in range(MAX_STEPS):
        slow = [k for k in moved if not next_step(k, accept_slow=False)]
        hessians.renew(slow, theta)
        for k in slow:
            next_step(k, accept_slow=True)
        active = [k for k in active if promise[k] > gap + TOL * float(evaluation.value[k]) and t[k] > MIN_STEP]
        if not active:
            break
        fits = torch.tensor(active)
        trial = theta[:, fits] + t[fits].to(theta)[:, None] * steps[:, fits]
        tried = batch.select(fits).evaluate(trial)
        decrease = SUFFICIENT_DECREASE * (t * slope)[fits].to(theta)
        value = evaluation.value[fits]
        accepted = (tried.value <= value + decrease + ROUNDING * value.abs()).cpu()
        which = accepted.nonzero()[:, 0]
        theta[:, fits[which]] = trial[:, which]
        evaluation.update(fits[which], tried.select(which))
        t[fits[~accepted]] *= 0.5
        moved = fits[which].tolist()
    return theta, evaluation
