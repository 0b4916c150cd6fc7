"""StochasticNewton: small samples first, then Newton steps whose Hessian reads few rows, then exact ones.

1. Warm-up. Nested random samples, each eight times the last, two Newton steps on each: the first few
   digits for a fraction of a pass.
2. All rows. Exact gradient; Hessian from a sample; exact line search on the stored raw predictions, so
   that the next X theta is free. A pass a step.
3. Exact steps. Once the model promises less than `exact_below` of F, the Newton equation is solved for
   all rows. Such a step hands over a dual point, from which `certificate` proves the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.quadratic import factor
from torchlogit.records import Params, State
from torchlogit.solvers.line_search import Ray, search
from torchlogit.solvers.newton_model import NewtonModel, model_for

WARM_UP_GROWTH = 8
WARM_UP_STEPS = 2
POOR_STEP = 0.1  # a step shorter than this, or one that leaves half of what was promised before, is poor


@dataclass(frozen=True, slots=True)
class StochasticNewton:
    """The default solver: nothing to tune, the optimum to the last digits.

    hessian_rows: at least so many rows of the Hessian's sample per free parameter. exact_below: the share of F under
    which steps are solved for all rows. max_dense: free parameters above which the Hessian is never formed.
    seed: of the samples.

    Source: doubling samples after Ada Newton (Mokhtari et al. 2016, arXiv:1605.07659), subsampled Hessians after
    Roosta-Khorasani and Mahoney 2019, doi:10.1007/s10107-018-1346-5.

    >>> StochasticNewton(seed=1).hessian_rows
    30
    """

    hessian_rows: int = 30
    exact_below: float = 1e-5
    max_dense: int = 2500
    seed: int = 0

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """States after each step on all rows, without end; exact steps carry a dual point."""
        generator = torch.Generator().manual_seed(self.seed)
        theta, passes = self._start(objective, start, generator)
        model = self._model(objective, self.hessian_rows, generator)
        raw = objective.raw(theta)
        residual, value, passes = objective.residual(raw), objective.value(theta, raw), passes + 0.5
        exact, poor, last_promise = False, 0, float("inf")
        while True:
            gradient = objective.gradient(theta, residual)
            passes += 0.5
            step, spent = model.step(objective, residual, gradient, exact)
            passes += spent
            promise = -0.5 * float((gradient * step).sum())
            if not exact and promise <= self.exact_below * value:
                exact = True
                if not model.exact:
                    step, spent = model.step(objective, residual, gradient, exact)
                    passes += spent
            raw_step = objective.raw(step)
            passes += 0.5
            solved_for_all = exact or model.exact
            dual = objective.loss.dual_point(residual, objective.target, raw_step) if solved_for_all else None
            landing = search(Ray(objective, theta, raw, step, raw_step, value, -2 * promise))
            theta, raw, residual, value = objective.visible(landing.theta), landing.raw, landing.residual, landing.value
            yield State(objective.params(theta), passes, value, promise, raw, dual)
            poor = poor + 1 if landing.t < POOR_STEP or promise > last_promise / 2 else 0
            last_promise = promise
            if poor >= 2 and not solved_for_all:
                model, poor = self._model(objective, 4 * model.rows_per_parameter, generator), 0

    def _start(
        self, objective: Objective, start: Params | None, generator: torch.Generator
    ) -> tuple[Tensor, float]:
        """The start given, or the end of the warm-up; and the passes it took."""
        if start is not None:
            return objective.visible(objective.theta(start)), 0.0
        n, p = objective.design.shape
        theta, passes = objective.start(), 0.0
        rows = max(512, 8 * p * objective.basis().shape[1])
        if p * objective.basis().shape[1] > self.max_dense or rows * WARM_UP_GROWTH > n:
            return theta, passes
        order = torch.randint(n, (n // WARM_UP_GROWTH,), generator=generator).to(objective.target.device)
        while rows * WARM_UP_GROWTH <= n:
            sample = objective.sample(order[:rows], torch.tensor(n / rows))
            theta = _sample_steps(sample, objective.moments[1] / rows, theta)
            passes += WARM_UP_STEPS * rows / n
            rows *= WARM_UP_GROWTH
        return theta, passes

    def _model(self, objective: Objective, rows_per_parameter: int, generator: torch.Generator) -> NewtonModel:
        return model_for(objective, rows_per_parameter, self.max_dense, generator)


def _sample_steps(sample: Objective, ridge: Tensor, theta: Tensor) -> Tensor:
    """A few damped Newton steps on a sample, with a ridge of one row's worth of every column.

    The ridge keeps a small sample modest, above all about columns that it has hardly seen.
    """
    if sample.design.has_intercept:
        ridge[-1] = 0
    for _ in range(WARM_UP_STEPS):
        raw = sample.raw(theta)
        residual = sample.residual(raw)
        gradient = sample.gradient(theta, residual)
        hessian = sample.hessian(residual)
        hessian.diagonal().add_(ridge.repeat(len(hessian) // len(ridge)))
        right = -sample.to_free(gradient + ridge[:, None] * theta)
        step = sample.from_free(factor(hessian).solve(right[:, None])[:, 0])
        slope = float((gradient * step).sum())
        theta = search(Ray(sample, theta, raw, step, sample.raw(step), sample.value(theta, raw), slope)).theta
    return theta
