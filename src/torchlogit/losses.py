"""The losses of single rows: finite for any finite raw prediction, without cancellation.

Conventions. `raw` is the raw prediction x W + b, (n, n_outputs). `target` holds the probabilities of the
labels, of the same shape: 0 and 1 for hard labels. A probability q is carried as its *residual* q - target.
Where a hard label is predicted well, the smaller of q and 1 - q is then exact, however small, and with it
every curvature and entropy below. `residual(raw, target)` carries the model's own probability.

`Loss` documents the methods; `Logistic` and `Softmax` add their formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# A dual probability is at least this share of the model's probability, so that it stays inside the simplex. Smaller: it
# may be nearer to 0.
INSIDE = 1 / 16
EPS = torch.finfo(torch.float64).eps
TINY = 1e-300  # replaces smaller probabilities in logarithms that only have to be finite


class Loss(Protocol):
    """The negative log-likelihood of a label in its canonical parameter: gradient = residual, Hessian = variance."""

    @property
    def n_outputs(self) -> int:
        """The number of raw predictions of a row."""
        ...

    def basis(self) -> Tensor:
        """An orthonormal basis of the directions of the raw prediction that change the loss, (n_outputs, n_free)."""
        ...

    def value(self, raw: Tensor, target: Tensor) -> Tensor:
        """The loss of each row, (n,)."""
        ...

    def residual(self, raw: Tensor, target: Tensor) -> Tensor:
        """The derivative of the loss by the raw prediction, probability - target, (n, n_outputs)."""
        ...

    def evaluate(self, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """`value` and `residual` together."""
        ...

    def curvature_product(self, residual: Tensor, target: Tensor, vector: Tensor) -> Tensor:
        """The variance of the label at the probability in `residual`, times `vector`, (n, n_outputs), row by row."""
        ...

    def far_curvature(self, raw: Tensor) -> Tensor:
        """A second derivative, (n,), with which a quadratic is near the loss as far as its minimum, and at `raw`.

        Far from its minimum the loss is nearly linear, and its own curvature there is lost in rounding. This one tells
        how far the minimum is.
        """
        ...

    def negative_entropy(self, residual: Tensor, target: Tensor) -> Tensor:
        """sum q ln q at the probability q in `residual`, (n,): value(raw, q) + sum q ln q = KL(q || p(raw))."""
        ...

    def canonical(self, residual: Tensor, target: Tensor) -> Tensor:
        """A raw prediction whose probability is the one in `residual`, (n, n_outputs)."""
        ...

    def total_variance(self, residual: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The weighted sum of the rows' variances at the probabilities in `residual`, (n_outputs, n_outputs)."""
        ...

    def curvature(self, residual: Tensor, target: Tensor, weight: Tensor) -> Callable[[slice, Tensor], Tensor]:
        """`curvature_product` times the rows' weights (n,), as a function of a slice of rows and their vector.

        What does not depend on the vector is computed once.
        """
        ...

    def dual_point(self, residual: Tensor, target: Tensor, raw_step: Tensor) -> Tensor:
        """The residual of p + variance * raw_step, p the probability in `residual`; moved inside the simplex."""
        ...

    def inside(self, residual: Tensor, target: Tensor) -> Tensor:
        """The residual of the nearest probabilities that are none of them negative, also without rounding.

        Those of a row sum to one: with several classes, the likeliest class's is one less all others'.
        """
        ...

    def spread(self, raw_step: Tensor) -> Tensor:
        """The largest change of the log-odds of two classes by this step in the raw prediction, (n,)."""
        ...

    def margin(self, raw: Tensor, target: Tensor) -> Tensor:
        """By how much the raw prediction favours the label, (n,); not positive for a target that is not one class."""
        ...

    def contrasts(self, target: Tensor) -> Tensor:
        """The likeliest class's raw prediction less every other class's, as directions, (n, m, n_outputs)."""
        ...

    def shared(self, target: Tensor) -> Tensor:
        """Booleans (n, m): whether the other class of a contrast has a positive probability in the target, too."""
        ...


def is_soft(target: Tensor) -> Tensor:
    """Booleans (n,): whether a target is no label, but has probabilities between 0 and 1."""
    return ((target > 0) & (target < 1)).any(dim=1)


def _q_log_q(residual: Tensor, target: Tensor) -> Tensor:
    """q ln q at q = target + residual; for q > 1/2 from 1 - q = (1 - target) - residual, which is exact there."""
    q, other = (target + residual).clamp(min=0), ((1 - target) - residual).clamp(0, 0.5)
    return torch.where(q > 0.5, q * torch.log1p(-other), torch.xlogy(q, q))


def _log(q: Tensor) -> Tensor:
    """ln q, finite at 0: there it is multiplied by a variance of 0."""
    return torch.log(q.clamp(min=TINY))


@dataclass(frozen=True, slots=True)
class Logistic:
    """Two classes, one logit: log(1 + e^z) - y z.

    >>> Logistic().value(torch.tensor([[1e4], [-1e4]]), torch.tensor([[1.0], [1.0]]))
    tensor([    0., 10000.])
    """

    @property
    def n_outputs(self) -> int:
        """One logit."""
        return 1

    def basis(self) -> Tensor:
        """[[1]]."""
        return torch.ones(1, 1, dtype=torch.float64)

    def value(self, raw: Tensor, target: Tensor) -> Tensor:
        """log(1 + e^-|z|) + a |z|, a the target's probability of the class that z makes unlikely: no negative term."""
        return self.evaluate(raw, target)[0]

    def residual(self, raw: Tensor, target: Tensor) -> Tensor:
        """(a - sigma(-|z|)) sign z, which is exactly -sigma(-|z|) sign z where z is on the label's side."""
        return self.evaluate(raw, target)[1]

    def evaluate(self, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both, from one e^-|z|."""
        side = torch.ge(raw, 0).to(raw.dtype)
        size, other = raw.abs(), (side - target).abs_()
        small = size.neg().exp_()
        value = torch.log1p(small).addcmul_(other, size)
        small.div_(small + 1)
        return value.squeeze(1), other.sub_(small).mul_(side.mul_(2).sub_(1))

    def curvature_product(self, residual: Tensor, target: Tensor, vector: Tensor) -> Tensor:
        """q (1 - q) v."""
        return (target + residual) * ((1 - target) - residual) * vector

    def far_curvature(self, raw: Tensor) -> Tensor:
        """tanh(|z| / 2) / (2 |z|): the quadratic is an upper bound (Jaakkola and Jordan 2000)."""
        return 0.5 * _tanh_ratio(raw.abs().squeeze(1))

    def negative_entropy(self, residual: Tensor, target: Tensor) -> Tensor:
        """a ln a + (1 - a) ln(1 - a), a the smaller of q and 1 - q."""
        smaller = torch.minimum(target + residual, (1 - target) - residual).clamp_(min=0)
        other = torch.log1p(-smaller).mul_(1 - smaller)
        return torch.xlogy(smaller, smaller).add_(other).squeeze(1)

    def canonical(self, residual: Tensor, target: Tensor) -> Tensor:
        """ln q - ln(1 - q)."""
        return _log(target + residual) - _log((1 - target) - residual)

    def total_variance(self, residual: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """sum s q (1 - q)."""
        return (weight @ ((target + residual) * ((1 - target) - residual)))[:, None]

    def curvature(self, residual: Tensor, target: Tensor, weight: Tensor) -> Callable[[slice, Tensor], Tensor]:
        """s q (1 - q) v."""
        each = (target + residual).mul_((1 - target).sub_(residual)).mul_(weight[:, None])
        return lambda rows, vector: each[rows] * vector

    def dual_point(self, residual: Tensor, target: Tensor, raw_step: Tensor) -> Tensor:
        """p + p (1 - p) step, with q >= p / 16 and 1 - q >= (1 - p) / 16."""
        p, other = target + residual, (1 - target) - residual
        moved = residual + p * other * raw_step
        return torch.minimum(torch.maximum(moved, INSIDE * p - target), (1 - target) - INSIDE * other)

    def inside(self, residual: Tensor, target: Tensor) -> Tensor:
        """-y <= q - y <= 1 - y - 4 eps, or 0 where that is more: 1 - y is rounded where y is no label."""
        highest = (1 - target).sub_(4 * EPS).clamp_(min=0)
        return torch.minimum(torch.maximum(residual, -target), highest)

    def spread(self, raw_step: Tensor) -> Tensor:
        """|step|."""
        return raw_step.abs().squeeze(1)

    def margin(self, raw: Tensor, target: Tensor) -> Tensor:
        """z for class 1, -z for class 0, -|z| for a target in between."""
        between = (target > 0) & (target < 1)
        return torch.where(between, -raw.abs(), (2 * target - 1) * raw).squeeze(1)

    def contrasts(self, target: Tensor) -> Tensor:
        """[[1]] for class 1, [[-1]] for class 0; for a target in between, the sign of the likelier one."""
        return torch.where(target >= 0.5, 1.0, -1.0).to(target)[:, None, :]

    def shared(self, target: Tensor) -> Tensor:
        """[True] for a target between 0 and 1."""
        return (target > 0) & (target < 1)


def _tanh_ratio(size: Tensor) -> Tensor:
    """tanh(size / 2) / size for sizes that are not negative; 1/2 at zero."""
    return torch.where(size < TINY, 0.5, torch.tanh(0.5 * size) / size.clamp(min=TINY))


def _variance_product(q: Tensor, likeliest: Tensor, vector: Tensor) -> Tensor:
    """(diag q - q q') v. The likeliest class's entry of v is first subtracted from v.

    That does not change the product, and avoids cancellation.
    """
    relative = vector - vector.gather(1, likeliest)
    return relative.sub_((q * relative).sum(dim=1, keepdim=True)).mul_(q)


@dataclass(frozen=True, slots=True)
class Softmax:
    """K classes, K raw predictions: log sum_k e^(z_k) - sum_k y_k z_k.

    >>> Softmax(3).value(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]]))
    tensor([1.0986])
    """

    n_classes: int

    @property
    def n_outputs(self) -> int:
        """The number of classes, K."""
        return self.n_classes

    def basis(self) -> Tensor:
        """Helmert contrasts: orthonormal columns orthogonal to the vector of ones, which does not change the loss."""
        columns = torch.zeros(self.n_classes, self.n_classes - 1, dtype=torch.float64)
        for k in range(1, self.n_classes):
            columns[:k, k - 1] = 1 / math.sqrt(k * (k + 1))
            columns[k, k - 1] = -k / math.sqrt(k * (k + 1))
        return columns

    def value(self, raw: Tensor, target: Tensor) -> Tensor:
        """log(1 + sum of e^(z_k - max) over all k but the largest) + sum_k y_k (max - z_k)."""
        return self.evaluate(raw, target)[0]

    def residual(self, raw: Tensor, target: Tensor) -> Tensor:
        """p_k (1 - y_k) - y_k (1 - p_k), with 1 - p_k of the largest summed from the other classes' terms."""
        return self.evaluate(raw, target)[1]

    def evaluate(self, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both, from one e^(z_k - max)."""
        top, arg = raw.max(dim=1, keepdim=True)
        below = raw - top
        e = torch.exp(below)
        others_of_top = e.scatter(1, arg, 0.0).sum(dim=1, keepdim=True)
        value = torch.log1p(others_of_top).squeeze(1).sub_((target * below).sum(dim=1))
        total = 1 + others_of_top
        others = (total - e).scatter_(1, arg, others_of_top)
        return value, e.mul_(1 - target).sub_(others.mul_(target)).div_(total)

    def curvature_product(self, residual: Tensor, target: Tensor, vector: Tensor) -> Tensor:
        """(diag q - q q') v."""
        q = target + residual
        return _variance_product(q, q.argmax(dim=1, keepdim=True), vector)

    def far_curvature(self, raw: Tensor) -> Tensor:
        """tanh(s / 2) / s, s = max_k z_k - min_k z_k, as for two classes; at least 2 max_k p_k (1 - p_k).

        No curvature at `raw` is larger than that.
        """
        p = torch.softmax(raw, dim=1)
        return torch.maximum(_tanh_ratio(self.spread(raw)), (2 * p * (1 - p)).amax(dim=1))

    def negative_entropy(self, residual: Tensor, target: Tensor) -> Tensor:
        """sum_k q_k ln q_k."""
        return _q_log_q(residual, target).sum(dim=1)

    def canonical(self, residual: Tensor, target: Tensor) -> Tensor:
        """ln q."""
        return _log(target + residual)

    def total_variance(self, residual: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """sum s (diag q - q q'), its diagonal summed from the other entries, so that rows sum to zero exactly."""
        q = target + residual
        products = (q * weight[:, None]).T @ q
        products.fill_diagonal_(0.0)
        return torch.diag(products.sum(dim=1)) - products

    def curvature(self, residual: Tensor, target: Tensor, weight: Tensor) -> Callable[[slice, Tensor], Tensor]:
        """s (diag q - q q') v."""
        likeliest = (target + residual).argmax(dim=1, keepdim=True)
        return lambda rows, vector: _variance_product(target[rows] + residual[rows], likeliest[rows], vector).mul_(
            weight[rows, None]
        )

    def dual_point(self, residual: Tensor, target: Tensor, raw_step: Tensor) -> Tensor:
        """p_k (1 + step_k - sum_l p_l step_l), each factor at least 1/16, renormalised."""
        p = target + residual
        step = self.curvature_product(residual, target, raw_step)
        moved = residual + step
        floor = INSIDE * p - target
        lifted = torch.maximum(moved, floor)
        excess = (lifted - moved).sum(dim=1, keepdim=True)  # q sums to 1 + excess: all are divided by that
        return torch.where(excess > 0, (lifted - excess * target) / (1 + excess), lifted)

    def inside(self, residual: Tensor, target: Tensor) -> Tensor:
        """q_k - y_k >= -y_k."""
        return torch.maximum(residual, -target)

    def spread(self, raw_step: Tensor) -> Tensor:
        """max_k step_k - min_k step_k."""
        return raw_step.amax(dim=1) - raw_step.amin(dim=1)

    def margin(self, raw: Tensor, target: Tensor) -> Tensor:
        """z_y minus the largest other z; for a soft target the smallest z of its classes minus the largest of all."""
        possible = target > 0
        hard = possible.sum(dim=1, keepdim=True) == 1
        own = raw.masked_fill(~possible, math.inf).amin(dim=1)
        return own - raw.masked_fill(possible & hard, -math.inf).amax(dim=1)

    def contrasts(self, target: Tensor) -> Tensor:
        """e_y - e_k for every other class k, in ascending order."""
        n, k = target.shape
        every = torch.eye(k, dtype=target.dtype, device=target.device)
        likeliest = target.argmax(dim=1)
        others = torch.arange(k, device=target.device) != likeliest[:, None]
        return (every[likeliest][:, None, :] - every)[others].reshape(n, k - 1, k)

    def shared(self, target: Tensor) -> Tensor:
        """Whether y_k > 0 for every other class k, in ascending order."""
        n, k = target.shape
        others = torch.arange(k, device=target.device) != target.argmax(dim=1, keepdim=True)
        return (target > 0)[others].reshape(n, k - 1)


def loss_for(n_classes: int) -> Loss:
    """The loss for this number of classes: `Logistic` for two, `Softmax` for more."""
    return Logistic() if n_classes == 2 else Softmax(n_classes)
