"""StochasticNewton: Newton steps from small samples first, then from Hessians of few rows, then exact ones.

1. Warm-up. F is minimised on nested importance samples, each eight times as large as the one before, and on each only
   as exactly as its sampling error warrants. This finds the first digits in a fraction of a pass.
2. All rows. The gradient is exact; the Hessian is that of a sample, or conjugate gradients multiply by it and a sample
   preconditions them. The line search works on the stored raw predictions and does not read X.
3. Exact steps. Once the model predicts that F falls by less than `exact_below` of it, the Newton equation is solved for
   all rows. A dual point follows from such a step, and from that a bound (`certificate.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers.newton.far import better_step, far_step, lost_losses
from torchlogit.solvers.newton.line_search import LineProblem, line_search
from torchlogit.solvers.newton.model_choice import DEFAULT, ModelChoice, model_for, sample_rows
from torchlogit.solvers.newton.sampling import Sampler
from torchlogit.solvers.newton.step import Iterate, ModelWithMemory, NewtonModel, NewtonStep, snapshot_of

GROWTH = 8  # the size of a warm-up sample over that of the one before; larger: fewer samples, more steps on each
MIN_ROWS = 512  # the smallest warm-up sample, and its fewest rows per parameter; larger: warm-ups begin later
MIN_ROWS_PER_PARAMETER = 8
WARM_UP_STEPS = 10  # the most Newton steps on one sample
# Predicted decrease on a sample, over its own sampling error (about half a nat per parameter, times n / rows), at which
# the sample is solved well enough. Larger: fewer steps on each sample.
SOLVED_RATIO = 0.05
# Exact steps may solve their equation inexactly, as long as that adds at most the share GAP_SHARE of the bound that is
# asked for. After each dual point, whose bound was not small enough if the fit continues, the share is multiplied by
# GAP_SHRINK. Larger: cheaper exact steps, whose bounds are too large more often.
GAP_SHARE = 0.25
GAP_SHRINK = 0.25
POOR_STEP = 0.1  # a step is poor if it is cut below this length; larger: the model gets more rows earlier
POOR_DECREASE = 0.5  # or if it predicts more than this share of the decrease that the step before predicted


@dataclass(frozen=True, slots=True)
class StochasticNewton:
    """Newton's method with Hessians of samples: the default solver, without anything to tune.

    Each step minimises the quadratic model of F at theta, plus the penalty where that has kinks or bounds:

        theta + t argmin_d  g'd + d'H d / 2

    g is the gradient of all rows, H the Hessian of a sample or, near the optimum, of all rows, and t comes from a line
    search.

    Parameters
    ----------
    aim : float
        The bound that is asked for, relative to F. It determines when exact steps begin and how exactly they are
        solved.
    hessian_rows : int
        Rows per free parameter from which a step is that of a sample alone, without conjugate gradients on all rows.
    exact_below : float
        Steps are exact once the predicted decrease is below this share of F, or below three times `aim`, where that is
        more.
    max_dense : int
        Free parameters above which the Hessian of all of them is not formed.
    seed : int
        Seed of the samples.
    choice : ModelChoice
        The thresholds between the models that give H; for tests and measurements.

    References
    ----------
    Doubling samples: Ada Newton, Mokhtari et al. 2016, arXiv:1605.07659. Subsampled Hessians: Roosta-Khorasani and
    Mahoney 2019, doi:10.1007/s10107-018-1346-5.

    Examples
    --------
    >>> StochasticNewton(seed=1).hessian_rows
    30
    """

    aim: float = 1e-6
    hessian_rows: int = 30
    exact_below: float = 3e-5
    max_dense: int = 2500
    seed: int = 0
    choice: ModelChoice = field(default=DEFAULT, repr=False, metadata={"omit_default": True})

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The state after each step on all rows, without end; exact steps have a dual point.

        A state's raw prediction is overwritten by the next step.
        """
        reader = _Reader(objective, self.seed)
        descent = _Descent.at(objective, objective.theta(start)) if start is not None else None
        if descent is None or not descent.value <= _empty_model_value(objective):
            begin = self._warmed_up(objective, reader)  # also where the start is worse than an intercept alone
            descent = _Descent.at(objective, begin, descent.passes if descent is not None else 0.0)
        yield from self._states(descent, reader, _Pace())

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after that of the snapshot. Samples and factors are computed again; their passes do not count."""
        reader, pace = _Reader(objective, self.seed, **snapshot["reader"]), _Pace(**snapshot["pace"])
        model = None
        if snapshot["model"] is not None:
            model = self._model(objective, reader, pace.growth)
            if isinstance(model, ModelWithMemory):
                model.restore(objective, snapshot["model"])
        yield from self._states(_Descent.resumed(objective, snapshot["way"]), reader, pace, model)

    def _states(
        self, descent: _Descent, reader: _Reader, pace: _Pace, model: NewtonModel | None = None
    ) -> Iterator[State]:
        """The states after this one. If `model` is None, it is made first."""
        objective = descent.objective
        while True:
            model = self._model(objective, reader, pace.growth) if model is None else model
            step = descent.advance(model, max(self.exact_below, 3 * self.aim), self.aim)
            passes = reader.passes + descent.passes
            model = None if pace.too_slow(step) else model
            yield State(
                objective.params(descent.theta), passes, descent.value, step.predicted_decrease, descent.raw, step.dual,
                snapshot=partial(_snapshot, descent, reader, pace, model),
            )  # fmt: skip

    def _warmed_up(self, objective: Objective, reader: _Reader) -> Tensor:
        """The approximate optimum of the largest sample, by way of smaller ones; for few rows, the empty model."""
        (n, p), size = objective.design.shape, objective.n_parameters
        theta = objective.feasible(objective.start())
        largest = sample_rows(objective, self.hessian_rows, self.max_dense, self.choice)
        smallest = max(MIN_ROWS, MIN_ROWS_PER_PARAMETER * size)
        levels = [rows for i in range(20) if smallest <= (rows := largest // GROWTH**i) <= n / 4]
        for rows in reversed(levels):
            sample, _ = reader.sampler.sample(rows)
            ridge = objective.moments[1][: p - objective.design.has_intercept] / rows
            ridged = replace(sample, penalty=sample.penalty.plus(ridge))  # one row's worth of every column
            theta, passes = self._solved(ridged, theta, SOLVED_RATIO * n / rows * size / 2)
            reader.passes += passes * sample.design.shape[0] / n
        return theta

    def _solved(self, sample: Objective, theta: Tensor, tolerance: float) -> tuple[Tensor, float]:
        """theta after Newton steps, until one predicts a decrease of at most the tolerance; and their passes."""
        reader = _Reader(sample, self.seed)
        descent, model = _Descent.at(sample, theta), self._model(sample, reader, 1)
        for _ in range(WARM_UP_STEPS):
            if descent.advance(model, exact_below=0.0).predicted_decrease <= tolerance:
                break
        return descent.theta, reader.passes + descent.passes

    def _model(self, objective: Objective, reader: _Reader, growth: int) -> NewtonModel:
        return model_for(
            objective, lambda: reader.sampler, hessian_rows=self.hessian_rows, max_dense=self.max_dense, growth=growth,
            choice=self.choice,
        )  # fmt: skip


def _empty_model_value(objective: Objective) -> float:
    """F of the model with an intercept alone, infinite where bounds rule that out. Does not read X."""
    theta = objective.start()
    if not torch.equal(objective.feasible(theta), theta):
        return math.inf
    raw = torch.zeros_like(objective.target) if objective.offset is None else objective.offset.clone()
    return objective.value(theta, raw.add_(objective.params(theta).intercept))


class _Reader:
    """The sampler of an objective's rows, made on first use, and the passes that it takes.

    counted: whether `passes` holds the sampler's pass already, as after a fit was resumed.
    """

    def __init__(self, objective: Objective, seed: int, passes: float = 0.0, counted: bool = False) -> None:
        self.objective, self.seed, self.passes, self.counted = objective, seed, passes, counted

    @cached_property
    def sampler(self) -> Sampler:
        """Made on first use, for a pass."""
        self.passes += 0.0 if self.counted else 1.0
        self.counted = True
        return Sampler.of(self.objective, torch.Generator().manual_seed(self.seed))


@dataclass
class _Pace:
    """Decides when the model needs more rows.

    growth: the factor on the rows of the model. poor: poor steps in a row. last_promise: the last predicted decrease.
    """

    growth: int = 1
    poor: int = 0
    last_promise: float = math.inf

    def too_slow(self, step: _Advance) -> bool:
        """Whether two steps in a row were poor, so that a model of more rows has to be made."""
        slow = step.t < POOR_STEP or step.predicted_decrease > POOR_DECREASE * self.last_promise
        self.poor = self.poor + 1 if slow else 0
        self.last_promise = step.predicted_decrease
        if self.poor < 2 or step.dual is not None:
            return False
        self.growth, self.poor = 4 * self.growth, 0
        return True


@dataclass(frozen=True, slots=True)
class _Advance:
    """The decrease of F that a step predicted, the step length t, and the dual point of an exact step."""

    predicted_decrease: float
    t: float
    dual: Tensor | None


@dataclass
class _Descent:
    """The current point of Newton's method: theta, and the raw prediction, the residuals and F there.

    exact: whether steps have become exact. shrink: the factor on GAP_SHARE, lowered after each dual point. The names of
    the fields are keys of snapshots.
    """

    objective: Objective
    theta: Tensor
    raw: Tensor
    residual: Tensor
    value: float
    passes: float = 0.5
    exact: bool = False
    shrink: float = 1.0

    @classmethod
    def at(cls, objective: Objective, theta: Tensor, passes: float = 0.0) -> _Descent:
        """The descent at a starting point. passes: those spent before; evaluating the point takes half a pass."""
        theta = objective.feasible(objective.visible(theta))
        raw = objective.raw(theta)
        value, residual = objective.evaluate(theta, raw)
        return cls(objective, theta, raw, residual, value, passes + 0.5)

    @classmethod
    def resumed(cls, objective: Objective, snapshot: Snapshot) -> _Descent:
        """From a snapshot. The residual is computed again from the raw prediction, as the line search computed it."""
        residual = objective.evaluate(snapshot["theta"], snapshot["raw"])[1]
        return cls(objective, residual=residual, **snapshot)

    def snapshot(self) -> Snapshot:
        """All that steps change, without the residual."""
        return {name: value for name, value in vars(self).items() if name not in ("objective", "residual")}

    def advance(self, model: NewtonModel, exact_below: float, aim: float = 0.0) -> _Advance:
        """A step; an exact one, once the predicted decrease is less than this share of F."""
        objective, gap_allowance = self.objective, self.shrink * GAP_SHARE * aim * self.value
        gradient = objective.gradient(self.theta, self.residual)
        iterate = Iterate(self.theta, self.raw, self.residual, gradient, gap_allowance)
        step = model.step(objective, iterate, self.exact)
        self.passes += 0.5 + step.passes
        if not self.exact and step.predicted_decrease <= exact_below * self.value:
            self.exact = True
            if not step.exact:
                step = model.step(objective, iterate, True)
                self.passes += step.passes
        self.passes -= step.passes
        step = better_step(objective, iterate, step, self.value)
        self.passes += step.passes
        line = self._line(step)
        dual = self._dual(line.raw_step) if step.exact and exact_below > 0 else None
        self.shrink *= GAP_SHRINK if dual is not None else 1.0
        found = line_search(line)
        if found.t == 0 and lost_losses(objective, iterate) > 0:
            step = far_step(objective, iterate)
            self.passes += step.passes
            line = self._line(step)
            found = line_search(line)
        self.theta, self.value = objective.feasible(line.point(found.t)), found.value
        for rows in objective.chunks():  # the line search's chunks, so that raw has the same bits as there
            self.raw[rows].add_(line.raw_step[rows], alpha=found.t)
        if isinstance(model, ModelWithMemory):
            model.after_step(found.t * line.reach())
        return _Advance(step.predicted_decrease, found.t, dual)

    def _line(self, step: NewtonStep) -> LineProblem:
        """F along the step: half a pass."""
        raw_step = self.objective.product(step.direction)
        self.passes += 0.5
        return LineProblem(
            self.objective, self.theta, self.raw, step.direction, raw_step, self.value, step.slope_bound, self.residual
        )

    def _dual(self, raw_step: Tensor) -> Tensor:
        """The dual point of an exact step, (n, n_outputs)."""
        target, residual, dual_point = self.objective.target, self.residual, self.objective.loss.dual_point
        return self.objective.each(lambda rows: dual_point(residual[rows], target[rows], raw_step[rows]))


def _snapshot(descent: _Descent, reader: _Reader, pace: _Pace, model: NewtonModel | None) -> Snapshot:
    return {
        "way": descent.snapshot(),
        "reader": {"passes": reader.passes, "counted": reader.counted},
        "pace": dict(vars(pace)),
        "model": None if model is None else snapshot_of(model),
    }
