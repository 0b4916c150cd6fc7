"""StochasticNewton: small samples first, then Newton steps whose Hessian reads few rows, then exact ones.

1. Warm-up. Nested importance samples, each eight times the last, each solved until its own error is what is left:
   the first digits for a fraction of a pass.
2. All rows. Exact gradient; Hessian from a sample, or conjugate gradients that it preconditions; exact line search on
   the stored raw predictions, so that the next X theta is free.
3. Exact steps. Once the model promises less than `exact_below` of F, the Newton equation is solved for
   all rows. Such a step hands over a dual point, from which `certificate` proves the answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.records import Params, Snapshot, State
from torchlogit.solvers.newton.line_search import Ray, search
from torchlogit.solvers.newton.models import model_for, sample_rows
from torchlogit.solvers.newton.sampling import Sampler
from torchlogit.solvers.newton.step import NewtonModel, Point

GROWTH = 8
MIN_ROWS, MIN_PER_PARAMETER = 512, 8
WARM_UP_STEPS = 10
SETTLED = 0.05  # a sample is solved once its model promises less than this share of the sample's own error
ROOM = 0.25  # of what the bound may be, the share that is left to equations not solved to the end
SHRINK = 0.25  # and what is left of that after a step whose dual point did not do
POOR_STEP = 0.1  # a step shorter than this, or one that leaves half of what was promised before, is poor


@dataclass(frozen=True, slots=True)
class StochasticNewton:
    """The default solver: nothing to tune, the optimum to the last digits.

    aim: the bound that is asked for, relative to F: exact steps begin in time for it, solved no better than it needs.
    hessian_rows: a step goes by a sample alone where it has so many rows per free parameter. exact_below: the share of
    F, or, where that is more, three times the aim, under which steps are solved for all rows. max_dense: free
    parameters above which the Hessian is never formed. seed: of the samples.

    Source: doubling samples after Ada Newton (Mokhtari et al. 2016, arXiv:1605.07659), subsampled Hessians after
    Roosta-Khorasani and Mahoney 2019, doi:10.1007/s10107-018-1346-5.

    >>> StochasticNewton(seed=1).hessian_rows
    30
    """

    aim: float = 1e-6
    hessian_rows: int = 30
    exact_below: float = 3e-5
    max_dense: int = 2500
    seed: int = 0

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """States after each step on all rows, without end; exact steps carry a dual point.

        A state's raw prediction is that of the state only until the next one is asked for.
        """
        reader = _Reader(objective, self.seed)
        way = _Descent.at(objective, objective.theta(start)) if start is not None else None
        if way is None or not way.value <= _without_features(objective):  # a start that is worse than none is none
            begin = self._warmed_up(objective, reader)
            way = _Descent.at(objective, begin, way.passes if way is not None else 0.0)
        yield from self._states(way, reader, _Pace())

    def resumed(self, objective: Objective, snapshot: Snapshot) -> Iterator[State]:
        """The states after the one of the snapshot; samples and factors are made again, no pass counted twice."""
        reader, pace = _Reader(objective, self.seed, **snapshot["reader"]), _Pace(**snapshot["pace"])
        model = None
        if snapshot["model"] is not None:
            model = self._model(objective, reader, pace.growth)
            model.go_on(objective, snapshot["model"])
        yield from self._states(_Descent.resumed(objective, snapshot["way"]), reader, pace, model)

    def _states(self, way: _Descent, reader: _Reader, pace: _Pace, model: NewtonModel | None = None) -> Iterator[State]:
        """States from here on. model: None where one is to be made, for the pace."""
        objective = way.objective
        while True:
            model = self._model(objective, reader, pace.growth) if model is None else model
            took = way.advance(model, max(self.exact_below, 3 * self.aim), self.aim)
            passes = reader.passes + way.passes
            model = None if pace.too_slow(took) else model
            yield State(
                objective.params(way.theta), passes, way.value, took.promise, way.raw, took.dual,
                snapshot=partial(_snapshot, way, reader, pace, model),
            )  # fmt: skip

    def _warmed_up(self, objective: Objective, reader: _Reader) -> Tensor:
        """The optimum of the largest sample, nearly, by way of smaller ones; the empty model's where there is none."""
        n, p = objective.design.shape
        size = p * objective.basis().shape[1]
        theta = objective.feasible(objective.start())
        largest = sample_rows(objective, self.hessian_rows, self.max_dense)
        smallest = max(MIN_ROWS, MIN_PER_PARAMETER * size)
        levels = [rows for i in range(20) if smallest <= (rows := largest // GROWTH**i) <= n / 4]
        for rows in reversed(levels):
            sample, _ = reader.sampler.sample(rows)
            ridge = objective.moments[1][: p - objective.design.has_intercept] / rows
            modest = replace(sample, penalty=sample.penalty.plus(ridge))
            theta, passes = self._solved(modest, theta, enough=SETTLED * n / rows * size / 2)
            reader.passes += passes * sample.design.shape[0] / n
        return theta

    def _solved(self, sample: Objective, theta: Tensor, enough: float) -> tuple[Tensor, float]:
        """A few Newton steps, until they promise no more than `enough`; and the passes they took."""
        reader = _Reader(sample, self.seed)
        way, model = _Descent.at(sample, theta), self._model(sample, reader, 1)
        for _ in range(WARM_UP_STEPS):
            if way.advance(model, exact_below=0.0).promise <= enough:
                break
        return way.theta, reader.passes + way.passes

    def _model(self, objective: Objective, reader: _Reader, growth: int) -> NewtonModel:
        return model_for(
            objective, lambda: reader.sampler, hessian_rows=self.hessian_rows, max_dense=self.max_dense, growth=growth
        )


def _without_features(objective: Objective) -> float:
    """F of the model of an intercept alone, infinite where bounds rule it out: reads no X."""
    theta = objective.start()
    if not torch.equal(objective.feasible(theta), theta):
        return math.inf
    raw = torch.zeros_like(objective.target) if objective.offset is None else objective.offset.clone()
    return objective.value(theta, raw.add_(objective.params(theta).intercept))


class _Reader:
    """Draws samples of an objective's rows, once they are asked for, and counts the passes that it takes.

    counted: whether those of the sampler are.
    """

    def __init__(self, objective: Objective, seed: int, passes: float = 0.0, counted: bool = False) -> None:
        self.objective, self.seed, self.passes, self.counted = objective, seed, passes, counted

    @cached_property
    def sampler(self) -> Sampler:
        """Made on first use: a pass."""
        self.passes += 0.0 if self.counted else 1.0
        self.counted = True
        return Sampler.of(self.objective, torch.Generator().manual_seed(self.seed))


@dataclass
class _Pace:
    """How the last steps went. growth: of the model's rows. poor: such steps in a row. last_promise: the last one's."""

    growth: int = 1
    poor: int = 0
    last_promise: float = math.inf

    def too_slow(self, took: _Advance) -> bool:
        """Whether, after this step, a model of more rows is due."""
        self.poor = self.poor + 1 if took.t < POOR_STEP or took.promise > self.last_promise / 2 else 0
        self.last_promise = took.promise
        if self.poor < 2 or took.dual is not None:
            return False
        self.growth, self.poor = 4 * self.growth, 0
        return True


@dataclass(frozen=True, slots=True)
class _Advance:
    """What a step promised, how much of it was taken, and, where it was exact, its dual point."""

    promise: float
    t: float
    dual: Tensor | None


@dataclass
class _Descent:
    """Newton's way: theta, its raw prediction, residual and F, one step after the other.

    exact: whether steps are by now. shrink: of the room that they leave, for what they leave unsolved.
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
        """At its start: half a pass, after so many others."""
        theta = objective.feasible(objective.visible(theta))
        raw = objective.raw(theta)
        value, residual = objective.evaluate(theta, raw)
        return cls(objective, theta, raw, residual, value, passes + 0.5)

    @classmethod
    def resumed(cls, objective: Objective, snapshot: Snapshot) -> _Descent:
        """Where this snapshot was taken: the residual is made again of the raw prediction, as the search made it."""
        residual = objective.evaluate(snapshot["theta"], snapshot["raw"])[1]
        return cls(objective, residual=residual, **snapshot)

    def snapshot(self) -> Snapshot:
        """All that moves, but for the residual."""
        return {name: kept for name, kept in vars(self).items() if name not in ("objective", "residual")}

    def advance(self, model: NewtonModel, exact_below: float, aim: float = 0.0) -> _Advance:
        """A step; an exact one, once what the model promises is less than this share of F."""
        objective, room = self.objective, self.shrink * ROOM * aim * self.value
        point = Point(self.theta, self.residual, objective.gradient(self.theta, self.residual), room)
        step = model.step(objective, point, self.exact)
        self.passes += 0.5 + step.passes
        if not self.exact and step.promise <= exact_below * self.value:
            self.exact = True
            if not step.exact:
                step = model.step(objective, point, True)
                self.passes += step.passes
        raw_step = objective.product(step.step)
        self.passes += 0.5
        dual = self._dual(raw_step) if step.exact and exact_below > 0 else None
        self.shrink *= SHRINK if dual is not None else 1.0
        ray = Ray(objective, self.theta, self.raw, step.step, raw_step, self.value, step.slope, self.residual)
        landing = search(ray)
        self.theta, self.value = objective.feasible(ray.at(landing.t)), landing.value
        for rows in objective.chunks():  # as the search did: the residual is that of these bits
            self.raw[rows].add_(raw_step[rows], alpha=landing.t)
        model.moved(landing.t * ray.reach())
        return _Advance(step.promise, landing.t, dual)

    def _dual(self, raw_step: Tensor) -> Tensor:
        """The dual point that a step solved for all rows hands over."""
        target, residual, dual_point = self.objective.target, self.residual, self.objective.loss.dual_point
        return self.objective.each(lambda rows: dual_point(residual[rows], target[rows], raw_step[rows]))


def _snapshot(way: _Descent, reader: _Reader, pace: _Pace, model: NewtonModel | None) -> Snapshot:
    return {
        "way": way.snapshot(),
        "reader": {"passes": reader.passes, "counted": reader.counted},
        "pace": dict(vars(pace)),
        "model": None if model is None else model.snapshot(),
    }
