"""The objective F, and the only place where rows are summed.

    F(W, b) = sum_i s_i loss(x_i W + b + o_i, y_i) + Omega(W)

Conventions, written once:

- theta (p, n_outputs) stacks the coefficients and, last, the intercept; a design's rows carry the
  matching constant 1, so that no formula mentions the intercept again. The penalty skips it.
- Everything is a sum over rows (nats), never a mean. Sums and theta are float64.
- raw (n, n_outputs) is X theta plus the offset, a fixed addition to each row, zero unless given; residual
  (n, n_outputs) is the derivative of the loss by it.
- Free coordinates: a softmax loss does not change when a constant is added to a row of theta. Hessians and
  steps are therefore computed in the coordinates theta B, where B is the loss's orthonormal basis
  (n_outputs, n_free), n_free = 1 or K - 1, and the rows of solutions sum to zero. A penalty with kinks (l1)
  or bounds does change, and then B is the identity. A Hessian is (n_free p, n_free p), blocks of one output first.
- A *pass* is one product with X and one with X'; a product alone is half a pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from torchlogit.conditioning import Conditioning
from torchlogit.design import DesignMatrix, Rows, sum_blocks
from torchlogit.errors import InputError
from torchlogit.losses import Loss, is_soft
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params
from torchlogit.storage import IN_MEMORY, Storage

CHUNK = 1 << 17  # entries of the raw prediction in a chunk of rows, 1 MiB: temporaries stay in the processor's cache
DEVICE_CHUNK = 1 << 24  # the same on a GPU, 128 MiB: enough to keep it busy
# A column is centred where its variance is below this share of its mean square, since float64 has then lost half of the
# variance's digits. Larger: more columns are centred.
FAR = 1e-8
# Of the intercepts of the empty model with an offset. A class's intercept is accepted once the sum of its probabilities
# is within this share of the right one, and those of all classes once none moved by more than MOVE log-odds. Larger:
# starts that are further from the optimum. At most SWEEPS times all classes, which offsets of hundreds may need, and
# EVALUATIONS of one sum, as many as bisection takes where offsets differ by 1e25.
SHARE = 1e-6
MOVE = 0.01
SWEEPS = 10
EVALUATIONS = 100
CANDIDATES = 1000  # rows whose value nearest to a column's mean becomes its center; more: a center nearer to the mean
# A column counts as constant where no value differs from its center by more than this share of it, two roundings of its
# mean. Larger: more columns count as constant.
CONSTANT = 2 * torch.finfo(torch.float64).eps
# The mean square of a column below which float64 starts to lose its square: 1e-100 is the smallest value whose square,
# times a residual of 1e-100, is a normal number. Such a column is multiplied by a power of two.
TINY_SQUARE = 1e-200


@dataclass(frozen=True)
class Objective:
    """F for some rows, as a function of theta.

    Parameters
    ----------
    design : DesignMatrix
        X, (n, p).
    target : (n, n_outputs) float64
        Probabilities; 0 and 1 for labels.
    weight : (n,) float64
        Weights, not negative.
    loss : Loss
        The loss of a row.
    penalty : ElasticNet
        Omega.
    offset : (n, n_outputs) float64, optional
        A fixed addition to the raw prediction; zero by default.
    storage : Storage
        Where arrays with an entry per row are allocated: main memory, or memory-mapped files.
    conditioning : Conditioning, optional
        How the design's columns follow from the columns of X as given; None where they are the same. theta is a point
        of the conditioned problem; `Params` are for the columns as given.
    """

    design: DesignMatrix
    target: Tensor
    weight: Tensor
    loss: Loss
    penalty: ElasticNet
    offset: Tensor | None = None
    storage: Storage = IN_MEMORY
    conditioning: Conditioning | None = None

    @classmethod
    def of(
        cls,
        design: DesignMatrix,
        target: Tensor,
        *,
        loss: Loss,
        penalty: ElasticNet,
        weight: Tensor | None = None,
        offset: Tensor | None = None,
        storage: Storage = IN_MEMORY,
    ) -> Objective:
        """The objective of these parts, which are checked; InputError where shapes or values are wrong."""
        n = design.shape[0]
        target = target.to(torch.float64).contiguous()
        expected = (n, loss.n_outputs)
        if target.shape != expected:
            raise InputError(f"target has shape {tuple(target.shape)}: expected {expected}, rows and outputs")
        if not _within(target, 1.0):
            raise InputError("target holds values outside [0, 1]: expected class probabilities, 0 and 1 for labels")
        if weight is None:
            weight = torch.ones((), dtype=target.dtype, device=target.device).expand(n)
        else:
            weight = weight.to(target)
            if weight.shape != (n,) or not _within(weight, torch.finfo(weight.dtype).max):
                raise InputError(f"sample_weight: expected {n} finite numbers, none negative")
            if not float(weight.max()) > 0:
                raise InputError("sample_weight is zero on every row: expected at least one positive weight")
        if offset is not None:
            offset = offset.to(target)
            if offset.shape != expected or not bool(torch.isfinite(offset).all()):
                raise InputError(f"offset: expected finite numbers of shape {expected}, rows and outputs")
        return cls(design, target, weight, loss, penalty, offset, storage)

    @cached_property
    def total_weight(self) -> float:
        """sum_i s_i."""
        return float(self.weight.sum())

    @cached_property
    def soft_weight(self) -> float:
        """The total weight of the rows whose target is no label, but probabilities."""
        return float(self.total(lambda rows: [is_soft(self.target[rows]).to(torch.float64)]))

    # -- points ---------------------------------------------------------------------------------

    def theta(self, params: Params) -> Tensor:
        """The point theta (p, n_outputs) of these parameters."""
        coef, intercept = params.coef.to(self.target), params.intercept.to(self.target)
        if self.conditioning is not None:
            moved = self.conditioning.conditioned(coef.cpu().numpy(), intercept.cpu().numpy())
            coef, intercept = (torch.from_numpy(part).to(self.target) for part in moved)
        return torch.cat([coef, intercept[None, :]]) if self.design.has_intercept else coef.clone()

    def params(self, theta: Tensor) -> Params:
        """The parameters of theta, for the columns of X as given, as they are returned to the user: copies.

        The intercept is zero where there is none. Those of several classes are determined up to a constant, which is
        chosen so that their sum is zero.
        """
        if not self.design.has_intercept:
            coef, intercept = theta.clone(), torch.zeros_like(theta[0])
        else:
            coef, intercept = theta[:-1].clone(), theta[-1].clone()
            intercept -= intercept.mean() if len(intercept) > 1 else 0.0
        if self.conditioning is not None:
            own = self.conditioning.own(coef.cpu().numpy(), intercept.cpu().numpy())
            coef, intercept = (torch.from_numpy(part).to(theta) for part in own)
        return Params(coef, intercept)

    def coef(self, theta: Tensor) -> Tensor:
        """theta, or anything with its rows, without the intercept's row: a view."""
        return theta[:-1] if self.design.has_intercept else theta

    def start(self) -> Tensor:
        """Zero coefficients and the intercept of the empty model's optimum; with an offset, one that is close to it.

        Without an offset it predicts the mean target.
        """
        theta = torch.zeros(self.design.shape[1], self.loss.n_outputs, dtype=torch.float64, device=self.target.device)
        if self.design.has_intercept:
            mean = (self.weight @ self.target / self.weight.sum()).clamp(1e-12, 1 - 1e-12)
            if self.offset is not None:
                theta[-1] = _intercepts_given_offsets(self, self.offset, mean)
            else:
                theta[-1] = torch.log(mean) - torch.log1p(-mean) if self.loss.n_outputs == 1 else torch.log(mean)
        return self.visible(theta)

    def visible(self, theta: Tensor) -> Tensor:
        """theta without the part that does not change the loss, theta B B'. The penalty is not larger there."""
        basis = self.basis()
        return theta if basis.shape[0] == basis.shape[1] else theta @ (basis @ basis.T)

    def feasible(self, theta: Tensor) -> Tensor:
        """The point within the penalty's bounds that is nearest to theta."""
        if self.penalty.smooth:
            return theta
        lower, upper = (end.to(theta)[:, None] for end in self.penalty.box(self.n_features))
        theta = theta.clone()
        self.coef(theta).clamp_(lower, upper)
        return theta

    def basis(self) -> Tensor:
        """B: an orthonormal basis of the directions of theta's rows that change F, (n_outputs, n_free)."""
        basis = self.loss.basis() if self.penalty.smooth else torch.eye(self.loss.n_outputs, dtype=torch.float64)
        return basis.to(self.target.device)

    @property
    def n_features(self) -> int:
        """The columns of X that have coefficients: all but the intercept's."""
        return self.design.shape[1] - self.design.has_intercept

    @property
    def n_free(self) -> int:
        """The number of columns of B: free coordinates for each column of X."""
        return self.basis().shape[1]

    @property
    def n_parameters(self) -> int:
        """The number of free coordinates, n_free p."""
        return self.design.shape[1] * self.n_free

    def to_free(self, theta: Tensor) -> Tensor:
        """The free coordinates of theta, (n_free p,)."""
        return (theta @ self.basis()).T.reshape(-1)

    def from_free(self, free: Tensor) -> Tensor:
        """The theta of these free coordinates, (p, n_outputs)."""
        return free.reshape(-1, self.design.shape[1]).T @ self.basis().T

    # -- sums over rows -------------------------------------------------------------------------

    def empty(self) -> Tensor:
        """An uninitialised tensor of the target's shape, float64."""
        if self.target.device.type != "cpu":
            return torch.empty_like(self.target)
        return torch.from_numpy(self.storage.empty(self.target.shape, np.float64))

    def vector(self) -> Tensor:
        """An uninitialised tensor with a number for every row, (n,), float32."""
        n = len(self.target)
        if self.target.device.type != "cpu":
            return torch.empty(n, dtype=torch.float32, device=self.target.device)
        return torch.from_numpy(self.storage.empty((n,), np.float32))

    def product(self, theta: Tensor) -> Tensor:
        """X theta, (n, n_outputs): half a pass."""
        product = self.empty()
        for rows, block in self.design.blocks():
            product[rows] = block.matmul(theta)
        return product

    def raw(self, theta: Tensor) -> Tensor:
        """X theta + offset, (n, n_outputs): half a pass."""
        raw = self.product(theta)
        return raw if self.offset is None else raw.add_(self.offset)

    def value(self, theta: Tensor, raw: Tensor) -> float:
        """F, from the raw prediction at theta: no pass."""
        losses = self.total(lambda rows: [self.loss.value(raw[rows], self.target[rows])])
        return float(losses) + self.penalty.value(self.coef(theta))

    def residual(self, raw: Tensor) -> Tensor:
        """Derivative of each row's loss, unweighted, (n, n_outputs): no pass."""
        return self.each(lambda rows: self.loss.residual(raw[rows], self.target[rows]))

    def evaluate(self, theta: Tensor, raw: Tensor) -> tuple[float, Tensor]:
        """`value` and `residual` together."""
        residual = self.empty()

        def losses(rows: slice) -> list[Tensor]:
            value, residual[rows] = self.loss.evaluate(raw[rows], self.target[rows])
            return [value]

        return float(self.total(losses)) + self.penalty.value(self.coef(theta)), residual

    def each(self, term: Callable[[slice], Tensor]) -> Tensor:
        """term(rows) of all rows, (n, n_outputs), a chunk of them at a time: no pass."""
        result = self.empty()
        for rows in self.chunks():
            result[rows] = term(rows)
        return result

    def total(self, terms: Callable[[slice], Sequence[Tensor]]) -> Tensor:
        """The weighted sum over all rows of each of the terms(rows), a chunk of them at a time: no pass.

        A term is (rows,), or (rows, outputs), whose outputs are added up too.
        """
        parts = []
        for rows in self.chunks():
            weight = self.weight[rows]
            parts.append(
                torch.stack([(term * (weight if term.ndim == 1 else weight[:, None])).sum() for term in terms(rows)])
            )
        return torch.stack(parts).sum(dim=0)

    def chunks(self) -> Iterator[slice]:
        """All rows in order, in chunks for work that needs raw predictions and targets, but not X."""
        n, outputs = self.target.shape
        size = max(1, (CHUNK if self.target.device.type == "cpu" else DEVICE_CHUNK) // outputs)
        return (slice(start, min(n, start + size)) for start in range(0, n, size))

    def sum_blocks(self, term: Callable[[slice, Rows], Tensor], start: Tensor | None = None) -> Tensor:
        """The sum of term(rows, block) over the blocks of X, added to `start` in place if it is given: X is read once.

        The term applies the rows' weights itself.
        """
        return sum_blocks(self.design, term, start)

    def dual(self, residual: Tensor) -> Tensor:
        """-X'(s residual), (p, n_outputs): half a pass. At the optimum of a smooth F it is Omega's gradient."""
        return -self.sum_blocks(lambda rows, block: block.rmatmul(residual[rows] * self.weight[rows, None]))

    def gradient(self, theta: Tensor, residual: Tensor) -> Tensor:
        """Derivative of F's smooth part by theta, (p, n_outputs): half a pass."""
        return self.penalty_gradient(theta) - self.dual(residual)

    def penalty_gradient(self, theta: Tensor) -> Tensor:
        """Derivative of Omega's smooth part by theta, (p, n_outputs), zero for the intercept."""
        return self.precision[:, None] * theta

    @cached_property
    def precision(self) -> Tensor:
        """Omega's second derivative by each row of theta, (p,), zero for the intercept."""
        return self._with_intercept(self.penalty.precision(self.n_features))

    @cached_property
    def dual_range(self) -> tuple[Tensor, Tensor]:
        """The ends of the interval of `dual` where Omega's conjugate is finite, (p, 1) each; 0 for the intercept."""
        low, high = self.penalty.dual_range(self.n_features)
        return self._with_intercept(low)[:, None], self._with_intercept(high)[:, None]

    def _with_intercept(self, by_feature: Tensor) -> Tensor:
        """The values (n_features,) and a zero for the intercept, if there is one: (p,)."""
        return torch.cat([by_feature, torch.zeros(int(self.design.has_intercept))]).to(self.target)

    def hessian(self, residual: Tensor) -> Tensor:
        """The Hessian of F in free coordinates at the probabilities target + residual: X is read once."""
        hessian = self.hessian_of_losses(residual)
        hessian.diagonal().add_(self.precision.repeat(self.n_free))
        return hessian

    def hessian_of_losses(self, residual: Tensor) -> Tensor:
        """`hessian` without the penalty."""
        basis = self.basis()
        p, n_free = self.design.shape[1], basis.shape[1]
        first, second = torch.tril_indices(n_free, n_free).tolist()

        def term(rows: slice, block: Rows) -> Tensor:
            return block.gram(self._curvature(rows, residual, basis)[:, first, second])

        grams = self.sum_blocks(term)
        hessian = torch.zeros(n_free, p, n_free, p, dtype=torch.float64, device=self.target.device)
        for k, m, gram in zip(first, second, grams, strict=True):
            hessian[k, :, m, :] = gram
        for k in range(n_free):
            for m in range(k):
                hessian[m, :, k, :] = hessian[k, :, m, :].T
        return hessian.reshape(n_free * p, n_free * p)

    def hessian_operator(self, residual: Tensor) -> Callable[[Tensor], Tensor]:
        """A function that multiplies a direction of theta, (p, n_outputs), by the Hessian: one pass, X read once."""
        curvature, precision = self.loss.curvature(residual, self.target, self.weight), self.precision[:, None]

        def operator(direction: Tensor) -> Tensor:
            curved = self.sum_blocks(lambda rows, block: block.rmatmul(curvature(rows, block.matmul(direction))))
            return curved.addcmul_(precision, direction)

        return operator

    def hessian_diagonal(self, residual: Tensor) -> Tensor:
        """The second derivative of F by each entry of theta, (p, n_outputs): X is read once."""
        every = torch.eye(self.loss.n_outputs).to(self.target)

        def term(rows: slice, block: Rows) -> Tensor:
            residuals, target, weight = residual[rows], self.target[rows], self.weight[rows]
            curved = [self.loss.curvature_product(residuals, target, one.expand_as(target)) @ one for one in every]
            return block.squares(torch.stack(curved, dim=1).mul_(weight[:, None]))

        return self.sum_blocks(term).add_(self.precision[:, None])

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Weighted sums of every column and of its square, (p,) each: X is read at the first use."""
        sums = self.sum_blocks(lambda rows, block: block.moments(self.weight[rows]))
        return sums[0], sums[1]

    def _curvature(self, rows: slice, residual: Tensor, basis: Tensor) -> Tensor:
        """The rows' weighted second derivatives by the raw prediction, in free coordinates, (rows, n_free, n_free)."""
        residual, target = residual[rows], self.target[rows]
        columns = [
            self.loss.curvature_product(residual, target, direction.expand_as(residual)) @ basis
            for direction in basis.T
        ]
        return torch.stack(columns, dim=2) * self.weight[rows, None, None]

    # -- parts ----------------------------------------------------------------------------------

    def sample(self, indices: Tensor, multiplier: Tensor) -> Objective:
        """An estimate of F from a sample: the objective of these rows, each weight times `multiplier`."""
        return replace(
            self,
            design=self.design.take(indices),
            target=self.target[indices],
            weight=self.weight[indices] * multiplier,
            offset=None if self.offset is None else self.offset[indices],
            storage=IN_MEMORY,
        )

    def rows(self, start: int, stop: int) -> Objective:
        """The objective of the rows start..stop-1, with the whole penalty: views."""
        return replace(
            self,
            design=self.design.rows(start, stop),
            target=self.target[start:stop],
            weight=self.weight[start:stop],
            offset=None if self.offset is None else self.offset[start:stop],
        )

    def conditioned(self) -> Objective:
        """The same objective on conditioned columns (conditioning.py); this one where no column needs it.

        A column whose mean is more than 1e4 of its standard deviations is centred at one of its values, so that a
        constant column becomes exactly zero; one that is constant up to rounding is replaced by zeros. Columns of tiny
        values without a penalty are multiplied by a power of two. Without an intercept no column is centred, nor is one
        with implicit zeros.
        """
        center, scale, rounded = self._center(), torch.ones(self.n_features).to(self.target), list[int]()
        far = center.nonzero()[:, 0]
        if len(far):
            size = self._largest(far, center)
            may_be_zero = self.penalty.allows_zero(self.n_features).to(far.device)[far]
            constant = (size <= CONSTANT * center[far].abs()) & may_be_zero
            scale[far] = torch.where(constant, 0.0, 1.0).to(scale)
            rounded = far[(scale[far] == 0) & (size > 0)].tolist()
        tiny = (self.coef(self.moments[1][:, None])[:, 0] < TINY_SQUARE * self.total_weight) & self._is_free()
        tiny = tiny.nonzero()[:, 0]
        if len(tiny):
            size = self._largest(tiny, torch.zeros_like(center), 2.0**600)
            exponent = torch.where(size > 0, 600 - torch.frexp(size).exponent, 0)
            scale[tiny] = torch.ldexp(torch.ones_like(size), exponent.clamp(0, 1000))
        if not len(far) and bool((scale == 1).all()):
            return self
        bounded = torch.stack(self.penalty.box(self.n_features)).isfinite().any(dim=0).numpy()
        conditioning = Conditioning(center.cpu().numpy(), scale.cpu().numpy(), tuple(rounded), bounded)
        return self.conditioned_as(conditioning)

    def conditioned_as(self, conditioning: Conditioning | None) -> Objective:
        """The same objective on columns conditioned in this way."""
        if conditioning is None:
            return self
        center, scale = (torch.from_numpy(part).to(self.target) for part in (conditioning.center, conditioning.scale))
        design, penalty = self.design.conditioned(center, scale), self.penalty.scaled(scale)
        return replace(self, design=design, penalty=penalty, conditioning=conditioning)

    def _center(self) -> Tensor:
        """The center of every feature that is far from zero, 0 for all others, (n_features,)."""
        if not self.design.has_intercept:
            return torch.zeros(self.n_features).to(self.target)
        means, squares = (part[:-1] / self.total_weight for part in self.moments)
        far = squares - means.square() < FAR * squares
        if bool(far.any()):
            far &= self.design.can_center()
        center, columns = torch.zeros_like(means), far.nonzero()[:, 0]
        if len(columns):
            rows = (self.weight > 0).nonzero()[:CANDIDATES, 0]
            values = self.design.take(rows).columns(columns).dense()[:, :-1]
            nearest = (values - means[columns]).abs().argmin(dim=0, keepdim=True)
            center[columns] = values.gather(0, nearest)[0]
        return center

    def _largest(self, columns: Tensor, center: Tensor, factor: float = 1.0) -> Tensor:
        """max_i |x_ij - center_j| factor of some features over the rows with weight, (columns,): X is read once."""
        chosen, largest = columns.tolist(), [0.0] * len(columns)
        centers = center[columns].tolist()
        for rows, block in self.design.blocks():
            counted = self.weight[rows] > 0
            for k, (stored, values) in enumerate(block.entries(chosen)):
                sizes = (values - centers[k]).abs_().mul_(factor)[counted[stored]]
                largest[k] = max(largest[k], float(sizes.max()) if len(sizes) else 0.0)
        return torch.tensor(largest, dtype=torch.float64, device=self.target.device)

    def _is_free(self) -> Tensor:
        """Booleans (n_features,): whether a coefficient has no penalty."""
        no_l1 = self.penalty.l1_rates(self.n_features) == 0
        return ((self.penalty.precision(self.n_features) == 0) & no_l1).to(self.target.device)

    def columns(self, indices: Tensor) -> Objective:
        """The objective of these features and the intercept; all other coefficients are zero."""
        moved = None if self.conditioning is None else self.conditioning.columns(indices.cpu().numpy())
        design, penalty = self.design.columns(indices), self.penalty.columns(indices)
        return replace(self, design=design, penalty=penalty, conditioning=moved)


def _within(values: Tensor, highest: float) -> bool:
    """Whether all values are from 0 to `highest`, and none is NaN. Makes no copy: there is a value for every row."""
    low, high = (float(end) for end in values.aminmax()) if values.numel() else (0.0, 0.0)
    return low >= 0 and high <= highest


def _intercepts_given_offsets(objective: Objective, offset: Tensor, mean: Tensor) -> Tensor:
    """The intercepts (n_outputs,) with which mean probabilities are close to `mean`, for coefficients of zero.

    One class after the other: given the other intercepts, its log-odds are its raw prediction less the logarithm of the
    sum of the others' exponentials, which makes a problem of two classes.
    """
    if len(mean) == 1:
        return _intercept_given_log_odds(objective, offset[:, 0], float(mean))[None]
    intercepts = torch.log(mean) - offset.median(dim=0).values
    for _ in range(SWEEPS):
        before = intercepts.clone()
        for k in range(len(mean)):
            log_odds = torch.cat([_log_odds(offset[rows] + intercepts, k) for rows in objective.chunks()])
            intercepts[k] += _intercept_given_log_odds(objective, log_odds, float(mean[k]))
        if float((intercepts - before).abs().max()) <= MOVE:
            break
    return intercepts - intercepts.mean()


def _log_odds(raw: Tensor, k: int) -> Tensor:
    """The log-odds of class k against all others, (n,)."""
    others = raw.clone()
    others[:, k] = -math.inf
    return raw[:, k] - others.logsumexp(dim=1)


def _intercept_given_log_odds(objective: Objective, log_odds: Tensor, mean: float) -> Tensor:
    """The b at which sigma(log_odds + b) has this weighted mean, 0 < mean < 1: Newton's method, kept in a bracket.

    Where nearly all probabilities are 0 or 1, Newton's steps leave the bracket or barely cut it: then it is halved.
    """
    base = torch.tensor(math.log(mean) - math.log1p(-mean)).to(log_odds)
    low, high = base - log_odds.max(), base - log_odds.min()
    b, wanted, last = 0.5 * low + 0.5 * high, mean * objective.total_weight, math.inf

    def probabilities(rows: slice) -> list[Tensor]:
        p = torch.sigmoid(log_odds[rows] + b)
        return [p, p * (1 - p)]

    for _ in range(EVALUATIONS):
        total, slope = objective.total(probabilities)
        if not low < high or abs(total - wanted) <= SHARE * min(wanted, objective.total_weight - wanted):
            break
        low, high = (b, high) if total < wanted else (low, b)
        step = (wanted - total) / slope
        inside = low < b + step < high and abs(step) < 0.5 * last
        last = float(abs(step) if inside else 0.5 * (high - low))
        b = b + step if inside else 0.5 * low + 0.5 * high
    return b
