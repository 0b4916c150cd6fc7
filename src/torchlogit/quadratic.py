"""The Newton model solved: factored, by conjugate gradients, or, with kinks and bounds, by coordinate descent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.penalties import clipped, soft_thresholded

Accept = Callable[[Tensor, Tensor, float], bool]
PIVOT = 1e-12  # smallest squared pivot, with unit diagonal, that still counts as independent of the columns before it
ROUNDING = 4 * torch.finfo(torch.float64).eps  # per absolute term of a gradient
DAMPING = 1e-13  # per coordinate, with unit diagonal: what gives a singular matrix a Cholesky factor
ROUGH_DAMPING = 1e-5  # the same in single precision
SWEEPS = 50  # before a Newton step: about what that costs


@dataclass(frozen=True, slots=True)
class Factor:
    """A factored positive semi-definite matrix A = S C S, S = diag(scale), C of unit diagonal.

    C is held as a Cholesky factor, or, where it is singular, as the pseudo-inverse's square root: then
    `rank` is less than the size and `solve` gives the smallest scaled solution.
    """

    scale: Tensor
    root: Tensor
    rank: int
    triangular: bool

    def solve(self, right: Tensor) -> Tensor:
        """A^+ right, for (size, columns)."""
        scaled = right / self.scale[:, None]
        solved = _solved(self.root, scaled) if self.triangular else self.root @ (self.root.T @ scaled)
        return solved / self.scale[:, None]

    def inverse(self) -> Tensor:
        """A^+, dense."""
        return self.solve(torch.eye(len(self.scale), dtype=self.scale.dtype, device=self.scale.device))


def factor(matrix: Tensor) -> Factor:
    """The factor of a positive semi-definite matrix, whatever the units of its rows and columns.

    The diagonal is scaled to one first (columns in metres or in light years make no difference), then
    Cholesky; where a pivot shows a dependent column, the eigendecomposition, with what lies below
    1e-12 of the largest eigenvalue left out.
    """
    diagonal = matrix.diagonal()
    scale = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal)).sqrt()
    unit = matrix / scale[:, None] / scale[None, :]
    root, info = torch.linalg.cholesky_ex(unit)
    if int(info) == 0 and bool((root.diagonal().square() > PIVOT).all()):
        return Factor(scale, root, len(scale), True)
    values, vectors = torch.linalg.eigh(unit)
    kept = values > PIVOT * float(values[-1].clamp(min=1e-300)) * len(values)
    return Factor(scale, vectors[:, kept] / values[kept].sqrt(), int(kept.sum()), False)


@dataclass(frozen=True, slots=True)
class RoughFactor:
    """A positive semi-definite matrix, nearly: a Cholesky factor in single precision, to precondition with."""

    scale: Tensor
    root: Tensor

    def solve(self, right: Tensor) -> Tensor:
        """About its inverse times `right`, (size, columns)."""
        scaled = (right / self.scale[:, None]).to(self.root.dtype)
        return _solved(self.root, scaled).to(right) / self.scale[:, None]


def rough_factor(matrix: Tensor) -> RoughFactor:
    """The factor of a matrix with a little added to its diagonal, as much as it takes."""
    scale = torch.where(matrix.diagonal() > 0, matrix.diagonal(), 1.0).sqrt()
    unit, damping = (matrix / scale[:, None]).div_(scale).to(torch.float32), ROUGH_DAMPING
    while True:
        unit.diagonal().fill_(1 + damping)
        root, info = torch.linalg.cholesky_ex(unit)
        if int(info) == 0:
            return RoughFactor(scale, root)
        damping *= 10


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    right: Tensor,
    precondition: Callable[[Tensor], Tensor],
    accept: Accept,
    max_iter: int,
    start: Tensor | None = None,
) -> tuple[Tensor, int]:
    """An approximate solution of A x = right, and the products with A it took.

    Preconditioned conjugate gradients (Hestenes and Stiefel 1952, doi:10.6028/jres.049.044), from `start` or 0,
    until accept(x, residual, energy left as a share of that at 0) or max_iter. x, right and what the two functions take
    and return are of one shape, whichever; they return tensors of their own.
    """
    x = torch.zeros_like(right) if start is None else start.clone()
    residual = right.clone() if start is None else right - product(start)
    z = precondition(residual)
    direction, rz = z.clone(), _product(residual, z)
    whole = rz if start is None else _product(right, precondition(right))
    for iteration in range(int(start is not None), max_iter):
        if rz <= 0 or accept(x, residual, rz / whole):
            return x, iteration
        image = product(direction)
        curvature = _product(direction, image)
        if curvature <= 0:
            return x, iteration + 1
        alpha = rz / curvature
        x.add_(direction, alpha=alpha)
        residual.sub_(image, alpha=alpha)
        z = precondition(residual)
        rz, previous = _product(residual, z), rz
        direction = direction.mul_(rz / previous).add_(z)
    return x, max_iter


def _product(first: Tensor, second: Tensor) -> float:
    """The sum of the products of their entries."""
    return float(first.reshape(-1) @ second.reshape(-1))


@dataclass(frozen=True, slots=True)
class LowRank:
    """diag(d) + S'S, of few rows S (m, size), through the (m, m) matrix 1 + S diag(1/d) S' (Woodbury 1950)."""

    rows: Tensor
    inverse_diagonal: Tensor
    root: Tensor

    def solve(self, right: Tensor) -> Tensor:
        """Its inverse times `right`, (size, columns)."""
        scaled = right * self.inverse_diagonal[:, None]
        inner = _solved(self.root, self.rows @ scaled)
        return scaled - self.inverse_diagonal[:, None] * (self.rows.T @ inner)


def low_rank(rows: Tensor, diagonal: Tensor) -> LowRank:
    """The factor of diag(diagonal) + rows' rows; where the diagonal is 0, the size of the column takes its place."""
    size = rows.square().sum(dim=0)
    inverse = 1 / torch.where(diagonal > 0, diagonal, size.clamp(min=1e-300))
    inner = (rows * inverse) @ rows.T
    inner.diagonal().add_(1.0)
    return LowRank(rows, inverse, _damped_root(inner, 0.0))


@dataclass(frozen=True, slots=True)
class Descent:
    """Where coordinate descent ended. violation: what is left of the optimality conditions, see `_Boxed.violation`."""

    solution: Tensor
    violation: float
    sweeps: int


def coordinate_descent(
    hessian: Tensor,
    linear: Tensor,
    start: Tensor,
    l1: Tensor,
    lower: Tensor,
    upper: Tensor,
    *,
    tol: float,
    max_sweeps: int,
) -> Descent:
    """The minimiser of 1/2 x'Hx + linear'x + sum_j l1_j |x_j| where lower <= x <= upper, zeros and bounds exact.

    H (size, size), positive semi-definite, may be singular: then one of the minimisers. All others (size,). Ends once
    the violation is no more than tol of that at the start, or than rounding; or after max_sweeps.

    Rounds of coordinate descent over the coordinates that are not at rest on a kink or a bound (Friedman, Hastie and
    Tibshirani 2010, doi:10.18637/jss.v033.i01), each followed by a Newton step of those between kinks and bounds, which
    ends what descent alone draws out where columns are correlated (after Bertsekas 1982, doi:10.1137/0320018).

    >>> hessian = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    >>> zero, free = torch.zeros(2, dtype=torch.float64), torch.full((2,), torch.inf, dtype=torch.float64)
    >>> coordinate_descent(hessian, zero - 1, zero, zero + 0.5, -free, free, tol=0, max_sweeps=100).solution
    tensor([0.1667, 0.1667], dtype=torch.float64)
    """
    device = start.device
    if len(start) == 0:
        return Descent(start.clone(), 0.0, 0)
    hessian, linear, start, l1, lower, upper = (part.cpu() for part in (hessian, linear, start, l1, lower, upper))
    linear, lower, upper = _flat_settled(hessian.diagonal() <= 0, linear, l1, lower, upper)
    scale = torch.where(hessian.diagonal() > 0, hessian.diagonal(), 1.0).sqrt()
    model, linear = _Boxed.of(hessian, l1, lower, upper, scale), linear / scale
    x = clipped(start * scale, model.lower, model.upper)
    gradient = model.hessian @ x + linear
    violation = model.violation(x, gradient)
    goal, sweeps, rounds = tol * float(violation.max()), 0, 0
    while sweeps < max_sweeps and float(violation.max()) > max(goal, _rounding(x, linear)):
        moving = (model.between(x) | (violation > 0)).nonzero()[:, 0]
        part, rounds = model.part(moving), rounds + 1
        x[moving], taken = part.descend(x[moving], gradient[moving], goal, max_sweeps - sweeps, 1 + rounds // 4)
        sweeps += taken
        gradient = model.hessian @ x + linear
        violation = model.violation(x, gradient)
    solution = torch.where(x <= model.lower, lower, torch.where(x >= model.upper, upper, x / scale))
    return Descent(clipped(solution, lower, upper).to(device), float(violation.max()), sweeps)


@dataclass(frozen=True, slots=True)
class _Boxed:
    """The quadratic, kinks and bounds of coordinate descent in units that make the Hessian's diagonal one."""

    hessian: Tensor
    rates: Tensor
    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, hessian: Tensor, rates: Tensor, lower: Tensor, upper: Tensor, scale: Tensor) -> _Boxed:
        """In units of 1 / scale, the root of the diagonal; coordinates without curvature are given some."""
        unit = (hessian / scale[:, None]).div_(scale).contiguous()
        unit.diagonal().fill_(1.0)
        return cls(unit, rates / scale, lower * scale, upper * scale)

    def part(self, moving: Tensor) -> _Boxed:
        """These coordinates, all others staying where they are."""
        if len(moving) == len(self.rates):
            return self
        hessian = self.hessian.index_select(0, moving).index_select(1, moving)
        return _Boxed(hessian, self.rates[moving], self.lower[moving], self.upper[moving])

    def violation(self, x: Tensor, gradient: Tensor) -> Tensor:
        """How far each coordinate would move, alone; half its square is about what F would lose. 0 at the minimum."""
        return (x - clipped(soft_thresholded(x - gradient, self.rates), self.lower, self.upper)).abs()

    def between(self, x: Tensor) -> Tensor:
        """Whether each coordinate is on neither a kink nor a bound."""
        return (self.lower < x) & (x < self.upper) & ((x != 0) | (self.rates == 0))

    def descend(self, x: Tensor, gradient: Tensor, goal: float, max_sweeps: int, max_steps: int) -> tuple[Tensor, int]:
        """x after some sweeps, and Newton steps until one is not stopped; and the number of sweeps."""
        from torchlogit.kernels.coordinate_loops import sweep

        arrays = [part.numpy() for part in (self.hessian, x, gradient, self.rates, self.lower, self.upper)]
        for taken in range(1, min(max_sweeps, SWEEPS) + 1):
            if sweep(*arrays) <= goal and float(self.violation(x, gradient).max()) <= goal:
                return x, taken
        for _ in range(max_steps):
            end, stopped = self.newton(x, gradient)
            gradient, x = gradient + self.hessian @ (end - x), end
            if not stopped:
                break
        return x, taken

    def newton(self, x: Tensor, gradient: Tensor) -> tuple[Tensor, bool]:
        """x after a Newton step of the coordinates between kinks and bounds, and whether one of those stopped it.

        Coordinates may arrive at a kink or a bound but not cross it: each is stopped there alone where that lowers the
        function, else the step ends where the first one arrives.
        """
        between = self.between(x).nonzero()[:, 0]
        slope = gradient[between] + self.rates[between] * x[between].sign()
        step = torch.zeros_like(x)
        step[between] = _damped_solve(self.part(between).hessian, -slope)
        low = torch.where((self.rates > 0) & (x > 0), self.lower.clamp(min=0), self.lower)
        high = torch.where((self.rates > 0) & (x < 0), self.upper.clamp(max=0), self.upper)
        end = clipped(x + step, low, high)
        if bool((end == x + step).all()):
            return end, False
        if self._rise(x, end - x, gradient) < 0:
            return end, True
        edge = torch.where(step > 0, high, low)
        share = torch.where(step == 0, torch.inf, (edge - x) / step)
        first = share.min()
        return torch.where(share == first, edge, x + first * step), True

    def _rise(self, x: Tensor, change: Tensor, gradient: Tensor) -> float:
        """By how much the change raises the function."""
        kinks = self.rates @ ((x + change).abs() - x.abs())
        return float(gradient @ change + 0.5 * change @ (self.hessian @ change) + kinks)


def _flat_settled(
    flat: Tensor, linear: Tensor, rates: Tensor, lower: Tensor, upper: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """linear, lower and upper with every flat coordinate, one without curvature, fixed where its slope drives it.

    Where that is no bound, linear is zero: the coordinate then goes to zero, or as near as its bounds let it.
    """
    slope = soft_thresholded(linear, rates)
    end = torch.where(slope > 0, lower, torch.where(slope < 0, upper, torch.inf))
    fixed = flat & end.isfinite()
    return torch.where(flat, 0.0, linear), torch.where(fixed, end, lower), torch.where(fixed, end, upper)


def _rounding(x: Tensor, linear: Tensor) -> float:
    """A violation that is no more than rounding in the gradient."""
    return ROUNDING * float(x.abs().sum() + linear.abs().max())


def _damped_solve(matrix: Tensor, right: Tensor) -> Tensor:
    """(matrix + a little I)^-1 right, refined once: close to a solution where there is one, else far along the way."""
    root = _damped_root(matrix, DAMPING * len(right))
    solved = _solved(root, right[:, None])
    return (solved + _solved(root, right[:, None] - matrix @ solved))[:, 0]


def _damped_root(matrix: Tensor, damping: float) -> Tensor:
    """The Cholesky factor, with this share of the largest entry added to the diagonal, or as much more as it takes."""
    largest = matrix.diagonal().max()
    while True:
        damped = matrix.clone()
        damped.diagonal().add_(damping * largest)
        root: Tensor
        root, info = torch.linalg.cholesky_ex(damped)
        if int(info) == 0:
            return root
        damping = max(100 * damping, DAMPING)


def _solved(root: Tensor, right: Tensor) -> Tensor:
    """(L L')^-1 right, L = root: by triangles, many times as fast for a vector as torch.cholesky_solve."""
    halfway = torch.linalg.solve_triangular(root, right, upper=False)
    solved: Tensor = torch.linalg.solve_triangular(root.mT, halfway, upper=True)
    return solved
