"""Models of F around a point, and their steps: all rows, a sample of them, or no matrix at all.

A model solves H step = -gradient, or, where the penalty has kinks or bounds, minimises the quadratic model with the
penalty added to it. Its steps are *exact* where H is that of all rows: then they hand over a dual point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Protocol

import torch
from torch import Tensor

from torchlogit.design import DesignMatrix, sum_blocks
from torchlogit.objective import Objective
from torchlogit.quadratic import Accept, conjugate_gradients, coordinate_descent, factor, low_rank, rough_factor
from torchlogit.records import Snapshot
from torchlogit.solvers.newton.sampling import Sampler
from torchlogit.solvers.newton.step import NewtonModel, Point, Step
from torchlogit.solvers.newton.working_set import MOST, WorkingSet, occupied, occupied_columns, promising_columns

CHEAP = 8.0  # operations for each value of X that cost less than reading it: on n / k rows of k values, k^2 each,
DEAR = 96.0  # and that cost as much as the conjugate gradients that a better sample saves
AMPLE_ROWS = 1000  # rows per parameter, of which more make no step better
WHOLE = 0.4  # a sample of more than this share of the rows is no saving
PRECONDITION_ROWS = 4  # rows per column that make a preconditioner,
WIDE = 2500  # and of more columns than these, fewer: what their own Gram matrix allows
KINKED_WIDE = 2500  # with kinks or bounds, columns of which a working set is looked for
SCARCE = 1 / 16  # but where no more of the values than these are not zero, the diagonal does, or, if it does not,
FACTORED, SECOND = 3e4, 1e11  # all rows, if the columns' cube is no more than so many times the values, or this
MOST_FACTORED = 1 << 27  # entries of all factors
LOOSE, TIGHT, VANISHED = 0.1, 1e-2, 1e-20  # what a step may leave unsolved, as a share of what it promises
FAR = 1.0  # a preconditioner serves until some row's log-odds have moved by this much,
EASY, HARD = 6, 10  # or for as long as so many products do; where it takes more than so many, a dearer one is due
MAX_PRODUCTS = 60
QUADRATIC_TOL, MAX_SWEEPS = 1e-9, 1000  # of the inner coordinate descent

Rows = Tensor | None  # indices, None for all rows
Solve = Callable[[Tensor], Tensor]  # of a direction of theta, (p, n_outputs)


class Curvature(Protocol):
    """A way to solve with an estimate of the Hessian: what it takes of a point, little enough to keep, and the way."""

    def taken(self, objective: Objective, point: Point, draw: torch.Generator) -> tuple[Snapshot, float]:
        """What it takes of this point, and the passes that this and the way take."""
        ...

    def way(self, objective: Objective, taken: Snapshot) -> Solve:
        """The way, made of that alone: the same bits each time."""
        ...


class Solvable(Protocol):
    """A factored matrix."""

    def solve(self, right: Tensor) -> Tensor:
        """Its inverse times `right`, (size, columns)."""
        ...


@dataclass(frozen=True, slots=True)
class AllRows:
    """The Hessian of all rows."""

    def step(self, objective: Objective, point: Point, exact: bool) -> Step:
        """Cholesky, or coordinate descent. The reading of X for the Hessian counts as half a pass."""
        return _minimise(objective, point, objective.hessian(point.residual), 0.5, exact=True)

    def moved(self, reach: float) -> None:
        """Nothing is kept."""

    def snapshot(self) -> Snapshot:
        """Nothing."""
        return {}

    def go_on(self, objective: Objective, snapshot: Snapshot) -> None:
        """From nothing."""


@dataclass(frozen=True, slots=True)
class SampleWithKinks:
    """The Hessian of a sample, where the penalty has kinks or bounds; that of all rows for exact steps."""

    sample: Objective
    indices: Tensor

    def step(self, objective: Objective, point: Point, exact: bool) -> Step:
        """Coordinate descent on the quadratic model."""
        if exact:
            return _minimise(objective, point, objective.hessian(point.residual), 0.5, exact=True)
        hessian = self.sample.hessian(point.residual[self.indices])
        passes = 0.5 * len(self.indices) / objective.design.shape[0]
        return _minimise(objective, point, hessian, passes, exact=False)

    def moved(self, reach: float) -> None:
        """Nothing is kept."""

    def snapshot(self) -> Snapshot:
        """Nothing."""
        return {}

    def go_on(self, objective: Objective, snapshot: Snapshot) -> None:
        """From nothing."""


@dataclass(frozen=True, slots=True)
class BlocksWithKinks:
    """One block of the Hessian for each output, where the penalty has kinks or bounds and they are too many together.

    Its steps are no more than steps towards the optimum, of a proximal gradient method in a good metric; their dual
    points are evaluated like any other, and become good as the steps become small.
    """

    by_output: ByOutput
    draw: torch.Generator

    def step(self, objective: Objective, point: Point, exact: bool) -> Step:
        """Coordinate descent on each block."""
        start, gradient = objective.to_free(point.theta), objective.to_free(point.gradient)
        kinks, p = _kinks(objective), objective.design.shape[1]
        free, bend, passes = torch.zeros_like(start), 0.0, 0.0
        for k, (rows, weight) in enumerate(self.by_output.samples(objective, point, self.draw)):
            gram = _gram(_at(objective.design, rows), weight, objective.precision())
            place = slice(k * p, (k + 1) * p)
            free[place] = _boxed(gram, start[place], gradient[place], *(part[place] for part in kinks))
            bend += float(free[place] @ gram @ free[place])
            passes += 0.5 * len(weight) / (objective.design.shape[0] * objective.loss.n_outputs)
        return _kinked(objective, point, free, bend, passes, exact=True)

    def moved(self, reach: float) -> None:
        """Nothing is kept."""

    def snapshot(self) -> Snapshot:
        """How far the draw has come."""
        return {"draw": self.draw.get_state()}

    def go_on(self, objective: Objective, snapshot: Snapshot) -> None:
        """With the draw that follows."""
        self.draw.set_state(snapshot["draw"].cpu())


@dataclass
class _Kept:
    """What Preconditioned keeps from step to step.

    dear: whether the dearer curvature has taken over. taken: what the curvature took of the point it is of. moved: how
    far log-odds have moved since. products: that the last step took. loose: what it left, or may leave. promise: its.
    """

    dear: bool = False
    taken: Snapshot | None = None
    moved: float = 0.0
    products: int = 0
    loose: float = LOOSE
    promise: float = math.inf


class Preconditioned:
    """Curvature from a sample: as the model itself where it has rows enough, and as a preconditioner of all rows'.

    trusted: whether a step may go by the sample alone. max_dense: parameters up to which all rows' Hessian is formed,
    where nothing less gives a dual point. dearer: what takes the curvature's place once it proves to be too little.
    """

    def __init__(
        self, curvature: Curvature, trusted: bool, max_dense: int, dearer: Curvature | None = None, seed: int = 0
    ) -> None:
        self.curvature, self.trusted, self.max_dense, self.dearer = curvature, trusted, max_dense, dearer
        self._draw = torch.Generator().manual_seed(seed)
        self._kept = _Kept()
        self._solve: Solve | None = None  # made of what is kept
        self._at: Point | None = None  # between the steps from one point,
        self._known: Tensor | None = None  # the solution so far

    def step(self, objective: Objective, point: Point, exact: bool) -> Step:
        """The sample's step where that will do; conjugate gradients otherwise; all rows' Hessian where it has to be."""
        size, kept = objective.n_parameters, self._kept
        if exact and not _penalised(objective) and size <= self.max_dense:
            return _minimise(objective, point, objective.hessian(point.residual), 0.5, exact=True)
        direct = self.trusted and not exact
        solve, spent = self._refreshed(objective, point, fresh=direct)
        right = -point.gradient
        if direct:
            self._at, self._known = point, None
            return _smooth(objective, point, solve(right), spent, exact=False)
        found, products = conjugate_gradients(
            objective.hessian_operator(point.residual),
            right,
            solve,
            _certifiably(objective, right, point.room) if exact else _roughly(kept.loose),
            MAX_PRODUCTS,
            start=self._known if self._at is point else None,
        )
        self._at, self._known, kept.products = point, found, products
        step = _smooth(objective, point, found, spent + products, exact=exact)
        shrunk = step.promise / kept.promise if kept.promise > 0 else 0.0
        kept.loose, kept.promise = min(LOOSE, max(TIGHT, shrunk * shrunk)), step.promise
        return step

    def moved(self, reach: float) -> None:
        """A preconditioner is of use for a while."""
        self._kept.moved += reach

    def snapshot(self) -> Snapshot:
        """What is kept, and how far the draw has come."""
        return {**vars(self._kept), "draw": self._draw.get_state()}

    def go_on(self, objective: Objective, snapshot: Snapshot) -> None:
        """With the curvature made again of what it took."""
        kept = dict(snapshot)
        self._draw.set_state(kept.pop("draw").cpu())
        self._kept = _Kept(**kept)
        if self._kept.taken is not None:
            self._solve = self._curvature().way(objective, self._kept.taken)

    def _curvature(self) -> Curvature:
        return self.dearer if self._kept.dear and self.dearer is not None else self.curvature

    def _refreshed(self, objective: Objective, point: Point, fresh: bool) -> tuple[Solve, float]:
        """The curvature of this point, or of one near or good enough to precondition; passes taken."""
        kept = self._kept
        if kept.products > HARD and self.dearer is not None and not kept.dear:
            kept.dear, self._solve = True, None
        useful = self._at is point or (not fresh and (kept.moved <= FAR or kept.products <= EASY))
        if self._solve is not None and useful:
            return self._solve, 0.0
        kept.taken, passes = self._curvature().taken(objective, point, self._draw)
        self._solve, kept.moved = self._curvature().way(objective, kept.taken), 0.0
        return self._solve, passes


@dataclass(frozen=True, slots=True)
class SampleHessian:
    """The Hessian of one sample, factored."""

    sample: Objective
    indices: Tensor

    def taken(self, objective: Objective, point: Point, draw: torch.Generator) -> tuple[Snapshot, float]:
        """The sample's residuals."""
        passes = 0.5 * len(self.indices) / objective.design.shape[0]
        return {"residual": point.residual[self.indices]}, passes

    def way(self, objective: Objective, taken: Snapshot) -> Solve:
        """By its Cholesky factor."""
        factored = factor(self.sample.hessian(taken["residual"]))

        def solve(theta: Tensor) -> Tensor:
            return objective.from_free(factored.solve(objective.to_free(theta)[:, None])[:, 0])

        return solve


@dataclass(frozen=True, slots=True)
class Diagonal:
    """The Hessian's diagonal: where columns are many and hardly overlap, the rest of it is not worth its cost."""

    def taken(self, objective: Objective, point: Point, draw: torch.Generator) -> tuple[Snapshot, float]:
        """The diagonal."""
        return {"diagonal": objective.hessian_diagonal(point.residual)}, 0.5

    def way(self, objective: Objective, taken: Snapshot) -> Solve:
        """By division."""
        diagonal = torch.where(taken["diagonal"] > 0, taken["diagonal"], 1.0)
        return lambda theta: objective.visible(theta / diagonal)


@dataclass(frozen=True, slots=True)
class ByOutput:
    """The Hessian's diagonal blocks, one for each output, each from a sample of its own.

    Rows are drawn by the curvature that they have in the output, besides what they hold up of a column: most rows say
    next to nothing of most classes.
    """

    sampler: Callable[[], Sampler]
    rows: int

    def taken(self, objective: Objective, point: Point, draw: torch.Generator) -> tuple[Snapshot, float]:
        """The rows of each output, None for all, and their weights."""
        samples = list(self.samples(objective, point, draw))
        read = sum(len(weight) for _, weight in samples) / (objective.design.shape[0] * len(samples))
        return {"samples": [{"rows": rows, "weight": weight} for rows, weight in samples]}, 0.5 * read

    def way(self, objective: Objective, taken: Snapshot) -> Solve:
        """By a factor for each output."""
        blocks = [
            _block_factor(_at(objective.design, sample["rows"]), sample["weight"], objective.precision())
            for sample in taken["samples"]
        ]

        def solve(theta: Tensor) -> Tensor:
            return objective.visible(torch.cat([b.solve(theta[:, k : k + 1]) for k, b in enumerate(blocks)], dim=1))

        return solve

    def samples(self, objective: Objective, point: Point, draw: torch.Generator) -> Iterator[tuple[Rows, Tensor]]:
        """Rows and their weights for each output: X' diag(weight) X estimates its block, but for the penalty."""
        for unit in torch.eye(objective.loss.n_outputs).to(objective.target):
            curvature = self._curvature(objective, point, unit)
            if self.rows >= len(curvature):
                yield None, curvature
            else:
                yield self.sampler().by_weight(curvature, self.rows, draw)

    def _curvature(self, objective: Objective, point: Point, unit: Tensor) -> Tensor:
        """The weighted second derivative of every row's loss by this output, (n,)."""
        curved = torch.empty_like(objective.target[:, 0])
        for rows in objective.chunks():
            residual, target = point.residual[rows], objective.target[rows]
            curved[rows] = objective.loss.curvature_product(residual, target, unit.expand_as(target)) @ unit
        return curved.mul_(objective.weight)


def _at(design: DesignMatrix, rows: Rows) -> DesignMatrix:
    return design if rows is None else design.take(rows)


def _gram(design: DesignMatrix, weight: Tensor, precision: Tensor) -> Tensor:
    """X' diag(weight) X + diag(precision), roughly."""
    gram = sum_blocks(design, lambda rows, block: block.rough_gram(weight[rows, None])[0])
    gram.diagonal().add_(precision)
    return gram


def _block_factor(design: DesignMatrix, weight: Tensor, precision: Tensor) -> Solvable:
    """The factor of X' diag(weight) X + diag(precision): of as many rows as columns, or more, by that matrix."""
    n, p = design.shape
    if n >= p:
        return (factor if p <= WIDE else rough_factor)(_gram(design, weight, precision))
    return low_rank(design.dense() * weight.sqrt()[:, None], precision)


def model_for(
    objective: Objective, sampler: Callable[[], Sampler], *, hessian_rows: int, max_dense: int, growth: int
) -> NewtonModel:
    """The cheapest model for this shape; `growth` times the rows of what it would be by shape alone."""
    p, smooth = objective.design.shape[1], objective.penalty.smooth
    build = partial(_smooth_model if smooth else _kinked_model, hessian_rows=hessian_rows, growth=growth)
    if not smooth and p > KINKED_WIDE:
        more = max(max_dense, MOST + 1)
        return WorkingSet(promising_columns, lambda part: build(part, _own_sampler(part), max_dense=more))
    if p > WIDE and int(occupied(objective).sum()) <= p / 2:
        return WorkingSet(occupied_columns, lambda part: build(part, _own_sampler(part), max_dense=max_dense))
    return build(objective, sampler, max_dense=max_dense)


def _own_sampler(objective: Objective) -> Callable[[], Sampler]:
    """One sampler, made on first use."""
    return cache(lambda: Sampler.of(objective, torch.Generator().manual_seed(objective.design.shape[1])))


def _smooth_model(
    objective: Objective, sampler: Callable[[], Sampler], *, hessian_rows: int, max_dense: int, growth: int
) -> NewtonModel:
    n, p = objective.design.shape
    size = p * objective.basis().shape[1]
    rows = sample_rows(objective, hessian_rows, max_dense)
    if size <= max_dense and growth * rows >= WHOLE * n:
        return AllRows()
    if size <= max_dense and rows >= hessian_rows * size and growth == 1:
        return Preconditioned(SampleHessian(*sampler().sample(rows)), True, max_dense)
    if p > WIDE and objective.design.n_values <= SCARCE * n * p:
        affordable = p**3 <= max(SECOND, FACTORED * objective.design.n_values) and size * p <= MOST_FACTORED
        dearer = ByOutput(sampler, n) if affordable else None
        return Preconditioned(Diagonal(), False, max_dense, dearer)
    return Preconditioned(ByOutput(sampler, min(n, growth * rows)), False, max_dense, seed=rows)


def _kinked_model(
    objective: Objective, sampler: Callable[[], Sampler], *, hessian_rows: int, max_dense: int, growth: int
) -> NewtonModel:
    n, p = objective.design.shape
    size = p * objective.basis().shape[1]
    dense = size <= max_dense
    rows = max(sample_rows(objective, hessian_rows, max_dense), hessian_rows * (size if dense else p))
    if dense and growth * rows >= WHOLE * n:
        return AllRows()
    if dense:
        return SampleWithKinks(*sampler().sample(growth * rows))
    return BlocksWithKinks(ByOutput(sampler, min(n, growth * rows)), torch.Generator().manual_seed(rows))


def sample_rows(objective: Objective, hessian_rows: int, max_dense: int) -> int:
    """How many rows a curvature is taken from: enough to precondition, and to go by where that is not too dear."""
    n, p = objective.design.shape
    n_free = objective.basis().shape[1]
    size = p * n_free
    rows = PRECONDITION_ROWS * p if p <= WIDE else WIDE
    if size > max_dense:
        return min(n, rows)
    width = objective.design.n_values / n + objective.design.has_intercept
    as_dear_as_a_pass = n * 2 / (max(1.0, width) * (n_free + 1))
    rows = max(rows, int(min(CHEAP * as_dear_as_a_pass, AMPLE_ROWS * size)))
    if hessian_rows * size <= DEAR * as_dear_as_a_pass:
        rows = max(rows, hessian_rows * size)
    return min(n, rows)


def _minimise(objective: Objective, point: Point, hessian: Tensor, passes: float, exact: bool) -> Step:
    """The step to the minimum of the quadratic model with this Hessian, the penalty's kinks and bounds included."""
    if objective.penalty.smooth:
        factored = factor(hessian)
        free = factored.solve(-objective.to_free(point.gradient)[:, None])[:, 0]
        return _smooth(objective, point, objective.from_free(free), passes, exact)
    free = _boxed(hessian, objective.to_free(point.theta), objective.to_free(point.gradient), *_kinks(objective))
    return _kinked(objective, point, free, float(free @ hessian @ free), passes, exact)


def _boxed(hessian: Tensor, start: Tensor, gradient: Tensor, rates: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """The step from start to the minimum of the quadratic with kinks and bounds."""
    linear = gradient - hessian @ start
    found = coordinate_descent(hessian, linear, start, rates, lower, upper, tol=QUADRATIC_TOL, max_sweeps=MAX_SWEEPS)
    return found.solution - start


def _kinked(objective: Objective, point: Point, free: Tensor, bend: float, passes: float, exact: bool) -> Step:
    """The step, whose second derivative by the model is `bend`."""
    start, rates = objective.to_free(point.theta), _kinks(objective)[0]
    slope = float(objective.to_free(point.gradient) @ free + rates @ ((start + free).abs() - start.abs()))
    return Step(objective.from_free(free), slope, -slope - 0.5 * bend, passes, exact)


def _smooth(objective: Objective, point: Point, step: Tensor, passes: float, exact: bool) -> Step:
    slope = float((point.gradient * step).sum())
    return Step(step, slope, -0.5 * slope, passes, exact)


def _kinks(objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
    """The rate of |theta| and the bounds of every free coordinate, (n_free p,) each; none for the intercept."""
    penalty, n_features = objective.penalty, objective.coef(objective.precision()[:, None]).shape[0]
    last = (0, objective.design.shape[1] - n_features)
    inf, outputs = float("inf"), objective.loss.n_outputs
    pad = torch.nn.functional.pad
    lower, upper = penalty.box(n_features)
    padded = pad(penalty.l1_rates(n_features), last), pad(lower, last, value=-inf), pad(upper, last, value=inf)
    rates, low, high = (part.to(objective.target).repeat(outputs) for part in padded)
    return rates, low, high


def _penalised(objective: Objective) -> bool:
    """Whether every feature has a quadratic penalty."""
    precision = objective.coef(objective.precision()[:, None])
    return bool((precision > 0).all())


def _roughly(loose: float) -> Accept:
    """Good enough for a direction.

    What is left of the energy is a tenth, or, since steps that close in shrink quadratically, the square of what
    the last step was to the one before.
    """
    return lambda step, left, energy: energy <= loose


def _certifiably(objective: Objective, right: Tensor, room: float) -> Accept:
    """Good enough for a dual point: what is left adds no more than `room`, or a hundredth of the step's promise.

    To F, that is, at the step's end, and to the dual gap: left r_j on a column of precision l2_j, the penalty's part of
    the gap is r_j^2 / (2 l2_j); the intercept's part is repaired afterwards. Columns without a penalty leave no room:
    there the energy has to vanish.
    """
    precision, penalised = objective.precision(), _penalised(objective)
    weight = torch.where(precision > 0, 0.5 / precision.clamp(min=1e-300), torch.zeros_like(precision))

    def accept(step: Tensor, left: Tensor, energy: float) -> bool:
        promise = 0.5 * float((step * right).sum())
        enough = max(room, TIGHT * promise)
        if energy > (LOOSE if penalised else VANISHED) or energy * promise > enough:
            return False
        return float((weight @ left.square()).sum()) <= enough

    return accept
