"""Minima of quadratic models: by factors, by conjugate gradients, or, with l1 and bounds, by coordinate descent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.penalties import clipped, soft_thresholded

Accept = Callable[[Tensor, Tensor, float], bool]  # called with x, the residual, and the share of the energy left
# A column counts as linearly dependent on those before it where its squared Cholesky pivot, of a matrix of unit
# diagonal, is no larger than this. Larger: more matrices count as singular.
PIVOT = 1e-12
ROUNDING = 4 * torch.finfo(torch.float64).eps  # error of a gradient, relative to the sum of its absolute terms
# Times the size and the largest diagonal entry: is added to the diagonal, so that a singular matrix has a Cholesky
# factor. Larger: shorter steps along directions without curvature.
DAMPING = 1e-13
ROUGH_DAMPING = 1e-5  # share by which `rough_factor` raises the diagonal, in single precision; larger: a poorer factor
SWEEPS = 50  # the most sweeps of coordinate descent before a Newton step, which costs about as much
TINY = 1e-300  # replaces a zero where the code divides by it


@dataclass(frozen=True, slots=True)
class Factor:
    """A factored positive semi-definite matrix A = S C S, S = diag(scale), C of unit diagonal.

    root: the Cholesky factor of C where it is `triangular`. Where C is singular, the square root of its pseudo-inverse:
    then `rank` is less than the size, and `solve` gives the solution x with the smallest |S x|.
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

    def half(self, right: Tensor) -> Tensor:
        """H right, for (size, columns), where H' H = A^+: column sums of its square are those of right * A^+ right."""
        scaled = right / self.scale[:, None]
        if not self.triangular:
            return self.root.T @ scaled
        solved: Tensor = torch.linalg.solve_triangular(self.root, scaled, upper=False)
        return solved

    def in_range(self, right: Tensor, tolerance: float) -> Tensor:
        """Whether each column of `right` is A x for some x, up to this share of its length in units of the scale."""
        scaled = right / self.scale[:, None]
        directions = self.root / torch.linalg.vector_norm(self.root, dim=0)
        left = torch.zeros_like(scaled) if self.triangular else scaled - directions @ (directions.T @ scaled)
        lengths = (torch.linalg.vector_norm(part, dim=0) for part in (left, scaled))
        return torch.le(next(lengths), tolerance * next(lengths))

    def inverse(self) -> Tensor:
        """A^+, dense."""
        return self.solve(torch.eye(len(self.scale), dtype=self.scale.dtype, device=self.scale.device))


def factor(matrix: Tensor) -> Factor:
    """The factor of a positive semi-definite matrix.

    Coordinates of infinite curvature have solutions of zero; a matrix with NaN has solutions of NaN.

    The diagonal is scaled to one first, so that the units of columns make no difference. The matrix is then factored by
    Cholesky, or, where a pivot shows that a column depends on others, by its eigendecomposition; eigenvalues below
    1e-12 n of the largest count as zero, n their number.
    """
    scale, unit = _scaled(matrix)
    if not bool(unit.isfinite().all()):
        return Factor(scale, torch.full_like(unit, torch.nan), len(scale), True)
    if (root := _definite_root(unit)) is not None:
        return Factor(scale, root, len(scale), True)
    values, vectors = torch.linalg.eigh(unit)
    positive = values > PIVOT * float(values[-1].clamp(min=TINY)) * len(values)
    return Factor(scale, vectors[:, positive] / values[positive].sqrt(), int(positive.sum()), False)


def definite_factor(matrix: Tensor) -> Factor | None:
    """The factor of a positive definite matrix, None for one that is singular or not finite: without eigenvalues."""
    scale, unit = _scaled(matrix)
    root = _definite_root(unit) if bool(unit.isfinite().all()) else None
    return None if root is None else Factor(scale, root, len(scale), True)


def _definite_root(unit: Tensor) -> Tensor | None:
    """The Cholesky factor of a matrix of unit diagonal, None where a pivot shows that a column depends on others."""
    root: Tensor
    root, info = torch.linalg.cholesky_ex(unit)
    return root if int(info) == 0 and bool((root.diagonal().square() > PIVOT).all()) else None


def _scaled(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The scale, roots of the diagonal, and the matrix divided by it on both sides, so that its diagonal is one.

    A zero of the diagonal is left as it is. An infinite entry has an infinite scale, and zeros in the scaled matrix.
    """
    diagonal = matrix.diagonal()
    scale = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal)).sqrt()
    unit = matrix / scale[:, None] / scale[None, :]
    infinite = scale == torch.inf
    return scale, torch.where(infinite[:, None] | infinite, 0.0, unit) if bool(infinite.any()) else unit


@dataclass(frozen=True, slots=True)
class RoughFactor:
    """A Cholesky factor in single precision of a slightly damped positive semi-definite matrix: a preconditioner."""

    scale: Tensor
    root: Tensor

    def solve(self, right: Tensor) -> Tensor:
        """Approximately A^-1 right, for (size, columns)."""
        scaled = (right / self.scale[:, None]).to(self.root.dtype)
        return _solved(self.root, scaled).to(right) / self.scale[:, None]


def rough_factor(matrix: Tensor) -> RoughFactor:
    """The factor of a matrix whose diagonal is raised by 1e-5 of itself, or by as much more as Cholesky needs."""
    (scale, exact), damping = _scaled(matrix), ROUGH_DAMPING
    unit = exact.to(torch.float32)
    while True:
        unit.diagonal().fill_(1 + damping)
        root, info = torch.linalg.cholesky_ex(unit)
        if int(info) == 0 or bool(unit.isnan().any()):
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
    """An approximate solution of A x = right by preconditioned conjugate gradients, and the number of products with A.

    Parameters
    ----------
    product, precondition : callable
        Multiply by A, and by an approximate inverse of A. They return new tensors.
    right : Tensor
        Of any shape; x, and what the functions take and return, have the same.
    accept : callable
        Ends the iteration where it returns True: of x, the residual, and the residual's energy r' precondition(r) as a
        share of that at x = 0.
    max_iter : int
        The most products with A.
    start : Tensor, optional
        The first x; zero by default. Another costs a product.

    References
    ----------
    Hestenes and Stiefel 1952, doi:10.6028/jres.049.044.
    """
    x = torch.zeros_like(right) if start is None else start.clone()
    residual = right.clone() if start is None else right - product(start)
    z = precondition(residual)
    direction, rz = z.clone(), _product(residual, z)
    energy = rz if start is None else _product(right, precondition(right))
    for iteration in range(int(start is not None), max_iter):
        if rz <= 0 or accept(x, residual, rz / energy):
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
    """diag(d) + S'S for few rows S (m, size), inverted through the (m, m) matrix 1 + S diag(1/d) S' (Woodbury 1950)."""

    rows: Tensor
    inverse_diagonal: Tensor
    root: Tensor

    def solve(self, right: Tensor) -> Tensor:
        """The inverse times `right`, for (size, columns)."""
        scaled = right * self.inverse_diagonal[:, None]
        inner = _solved(self.root, self.rows @ scaled)
        return scaled - self.inverse_diagonal[:, None] * (self.rows.T @ inner)


def low_rank(rows: Tensor, diagonal: Tensor) -> LowRank:
    """The factor of diag(diagonal) + rows' rows; a zero of the diagonal is replaced by its column's sum of squares."""
    squares = rows.square().sum(dim=0)
    inverse = 1 / torch.where(diagonal > 0, diagonal, squares.clamp(min=TINY))
    inner = (rows * inverse) @ rows.T
    inner.diagonal().add_(1.0)
    return LowRank(rows, inverse, _damped_root(inner, 0.0))


@dataclass(frozen=True, slots=True)
class Descent:
    """The result of coordinate descent. violation: of the optimality conditions at the end, see `_Boxed.violation`."""

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
    """The minimiser of 1/2 x'Hx + linear'x + sum_j l1_j |x_j| with lower <= x <= upper; zeros and bounds are exact.

    Each round of coordinate descent, over the coordinates that are not at rest at zero or on a bound, is followed by
    Newton steps of the coordinates between zero and their bounds. Where columns are correlated, a Newton step takes the
    place of many sweeps.

    Parameters
    ----------
    hessian : (size, size)
        H, positive semi-definite. Where it is singular, one of the minimisers is returned. Coordinates of infinite
        curvature stay where they start.
    linear, start, l1, lower, upper : (size,)
        The linear term, the first x, and the rates and bounds of the coordinates, which may be infinite.
    tol : float
        The descent ends when the violation is at most tol times that at the start, or within rounding.
    max_sweeps : int
        The most sweeps.

    References
    ----------
    Friedman, Hastie and Tibshirani 2010, doi:10.18637/jss.v033.i01 (coordinate descent over an active set);
    Bertsekas 1982, doi:10.1137/0320018 (projected Newton steps).

    Examples
    --------
    >>> hessian = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    >>> zero, free = torch.zeros(2, dtype=torch.float64), torch.full((2,), torch.inf, dtype=torch.float64)
    >>> coordinate_descent(hessian, zero - 1, zero, zero + 0.5, -free, free, tol=0, max_sweeps=100).solution
    tensor([0.1667, 0.1667], dtype=torch.float64)
    """
    device = start.device
    if len(start) == 0:
        return Descent(start.clone(), 0.0, 0)
    hessian, linear, start, l1, lower, upper = (part.cpu() for part in (hessian, linear, start, l1, lower, upper))
    if bool(hessian.isinf().any()):
        hessian, lower, upper = _infinite_coordinates_fixed(hessian, start, lower, upper)
    linear, lower, upper = _flat_coordinates_fixed(hessian.diagonal() <= 0, linear, l1, lower, upper)
    scale = torch.where(hessian.diagonal() > 0, hessian.diagonal(), 1.0).sqrt()
    model, linear = _Boxed.of(hessian, l1, lower, upper, scale), linear / scale
    x = clipped(start * scale, model.lower, model.upper)
    gradient = model.hessian @ x + linear
    violation = model.violation(x, gradient)
    goal, sweeps, rounds = tol * float(violation.max()), 0, 0
    while sweeps < max_sweeps and float(violation.max()) > max(goal, _rounding(x, linear)):
        moving = (model.between(x) | (violation > 0)).nonzero()[:, 0]
        part, rounds = model.part(moving), rounds + 1
        x[moving], swept = part.descend(x[moving], gradient[moving], goal, max_sweeps - sweeps, 1 + rounds // 4)
        sweeps += swept
        gradient = model.hessian @ x + linear
        violation = model.violation(x, gradient)
    solution = torch.where(x <= model.lower, lower, torch.where(x >= model.upper, upper, x / scale))
    return Descent(clipped(solution, lower, upper).to(device), float(violation.max()), sweeps)


@dataclass(frozen=True, slots=True)
class _Boxed:
    """The problem of `coordinate_descent` in units that make the Hessian's diagonal one. |x| has a kink at zero."""

    hessian: Tensor
    rates: Tensor
    lower: Tensor
    upper: Tensor

    @classmethod
    def of(cls, hessian: Tensor, rates: Tensor, lower: Tensor, upper: Tensor, scale: Tensor) -> _Boxed:
        """The problem in units of 1 / scale, the root of the diagonal; a zero of the diagonal becomes 1, too."""
        unit = (hessian / scale[:, None]).div_(scale).contiguous()
        unit.diagonal().fill_(1.0)
        return cls(unit, rates / scale, lower * scale, upper * scale)

    def part(self, moving: Tensor) -> _Boxed:
        """The problem in these coordinates alone; the others stay where they are."""
        if len(moving) == len(self.rates):
            return self
        hessian = self.hessian.index_select(0, moving).index_select(1, moving)
        return _Boxed(hessian, self.rates[moving], self.lower[moving], self.upper[moving])

    def violation(self, x: Tensor, gradient: Tensor) -> Tensor:
        """How far each coordinate alone would move to its minimum: zero for all of them exactly at the minimum."""
        return (x - clipped(soft_thresholded(x - gradient, self.rates), self.lower, self.upper)).abs()

    def between(self, x: Tensor) -> Tensor:
        """Booleans: whether a coordinate is neither on its kink nor on a bound."""
        return (self.lower < x) & (x < self.upper) & ((x != 0) | (self.rates == 0))

    def descend(self, x: Tensor, gradient: Tensor, goal: float, max_sweeps: int, max_steps: int) -> tuple[Tensor, int]:
        """x after sweeps, and Newton steps until one meets no kink or bound; and the number of sweeps."""
        from torchlogit.kernels.coordinate_loops import sweep

        arrays = [part.numpy() for part in (self.hessian, x, gradient, self.rates, self.lower, self.upper)]
        for swept in range(1, min(max_sweeps, SWEEPS) + 1):
            if sweep(*arrays) <= goal and float(self.violation(x, gradient).max()) <= goal:
                return x, swept
        for _ in range(max_steps):
            end, stopped = self.newton(x, gradient)
            gradient, x = gradient + self.hessian @ (end - x), end
            if not stopped:
                break
        return x, swept

    def newton(self, x: Tensor, gradient: Tensor) -> tuple[Tensor, bool]:
        """x after a Newton step of the coordinates between kinks and bounds, and whether the step met one of these.

        No coordinate crosses its kink or a bound. Those that would are stopped there, if the function falls by the step
        that results; otherwise the whole step ends where the first of them arrives.
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
        """The change of the function from x to x + change."""
        kinks = self.rates @ ((x + change).abs() - x.abs())
        return float(gradient @ change + 0.5 * change @ (self.hessian @ change) + kinks)


def _infinite_coordinates_fixed(
    hessian: Tensor, start: Tensor, lower: Tensor, upper: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """hessian, lower and upper, changed so that coordinates of infinite curvature stay at `start`."""
    fixed = hessian.isinf().any(dim=1)
    hessian = torch.where(fixed[:, None] | fixed, 0.0, hessian)
    return hessian, torch.where(fixed, start, lower), torch.where(fixed, start, upper)


def _flat_coordinates_fixed(
    flat: Tensor, linear: Tensor, rates: Tensor, lower: Tensor, upper: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """linear, lower and upper, changed so that coordinates without curvature (`flat`) go where they descend to.

    Each is fixed at the bound towards which the function falls. Where it does not fall, or there is no such bound, the
    coordinate only gets a linear term of zero, and goes to zero or to the bound nearest to it.
    """
    slope = soft_thresholded(linear, rates)
    end = torch.where(slope > 0, lower, torch.where(slope < 0, upper, torch.inf))
    fixed = flat & end.isfinite()
    return torch.where(flat, 0.0, linear), torch.where(fixed, end, lower), torch.where(fixed, end, upper)


def _rounding(x: Tensor, linear: Tensor) -> float:
    """The largest violation that rounding errors of the gradient can cause."""
    return ROUNDING * float(x.abs().sum() + linear.abs().max())


def _damped_solve(matrix: Tensor, right: Tensor) -> Tensor:
    """(matrix + damping I)^-1 right, refined once.

    It is close to a solution where there is one; elsewhere it is a long step along the directions without curvature.
    """
    root = _damped_root(matrix, DAMPING * len(right))
    solved = _solved(root, right[:, None])
    return (solved + _solved(root, right[:, None] - matrix @ solved))[:, 0]


def _damped_root(matrix: Tensor, damping: float) -> Tensor:
    """The Cholesky factor with damping * (the largest entry) added to the diagonal, or more where it is needed."""
    largest = matrix.diagonal().max()
    while True:
        damped = matrix.clone()
        damped.diagonal().add_(damping * largest)
        root: Tensor
        root, info = torch.linalg.cholesky_ex(damped)
        if int(info) == 0 or not bool(damped.isfinite().all()):
            return root
        damping = max(100 * damping, DAMPING)


def _solved(root: Tensor, right: Tensor) -> Tensor:
    """(L L')^-1 right, L = root. For a vector two triangular solves are many times as fast as torch.cholesky_solve."""
    halfway = torch.linalg.solve_triangular(root, right, upper=False)
    solved: Tensor = torch.linalg.solve_triangular(root.mT, halfway, upper=True)
    return solved
