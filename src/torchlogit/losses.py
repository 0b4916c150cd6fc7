"""The losses: per row, unreduced, finite for any float, every quantity without cancellation.

Conventions. `raw` is the raw prediction x W + b, shape (n, n_outputs); `target` the wanted
probabilities, same shape (hard labels are 0 and 1). A probability q is carried as its *residual*
q - target: where a hard label is predicted well, the small one of q and 1 - q is then exact, however
small, and with it every curvature and entropy below. The mean of the raw prediction is the case residual(raw, target).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

INSIDE = 1.0 / 16.0  # a dual point keeps at least this share of the model's own probability


class Loss(Protocol):
    """A generalised linear loss in its canonical parameter: gradient = residual, curvature = variance."""

    @property
    def n_outputs(self) -> int:
        """Columns of the raw prediction."""
        ...

    def basis(self) -> Tensor:
        """Orthonormal (n_outputs, n_free): the directions of the raw prediction that the loss can see."""
        ...

    def value(self, raw: Tensor, target: Tensor) -> Tensor:
        """Loss of each row, (n,)."""
        ...

    def residual(self, raw: Tensor, target: Tensor) -> Tensor:
        """Derivative of the loss by the raw prediction, probability - target, (n, n_outputs)."""
        ...

    def evaluate(self, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """`value` and `residual` together."""
        ...

    def curvature_product(self, residual: Tensor, target: Tensor, vector: Tensor) -> Tensor:
        """The variance of the probability that `residual` carries, times `vector`, row by row."""
        ...

    def negative_entropy(self, residual: Tensor, target: Tensor) -> Tensor:
        """sum q ln q of the probability that `residual` carries, (n,): value(raw, q) + this = KL(q || p(raw))."""
        ...

    def canonical(self, residual: Tensor, target: Tensor) -> Tensor:
        """A raw prediction with the probability that `residual` carries, (n, n_outputs)."""
        ...

    def total_variance(self, residual: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The weighted sum of the rows' variances of the probability in `residual`, (n_outputs, n_outputs)."""
        ...

    def curvature(self, residual: Tensor, target: Tensor, weight: Tensor) -> Callable[[slice, Tensor], Tensor]:
        """`curvature_product` times the rows' weights (n,), as a function of some rows and their vector.

        What does not depend on the vector is worked out once.
        """
        ...

    def dual_point(self, residual: Tensor, target: Tensor, raw_step: Tensor) -> Tensor:
        """The residual of p + variance * raw_step, moved inside the simplex where it leaves it."""
        ...

    def spread(self, raw_step: Tensor) -> Tensor:
        """How far a step in the raw prediction moves the log-odds of a row, (n,)."""
        ...

    def margin(self, raw: Tensor, target: Tensor) -> Tensor:
        """By how much the raw prediction favours the target, (n,); never positive where the target is not one class."""
        ...

    def contrasts(self, target: Tensor) -> Tensor:
        """The directions of the raw prediction in which the margin of a hard target grows, (n, m, n_outputs)."""
        ...


def _q_log_q(residual: Tensor, target: Tensor) -> Tensor:
    """q ln q at q = target + residual; near 1 from 1 - q = (1 - target) - residual, which is exact there."""
    q, other = (target + residual).clamp(min=0), ((1 - target) - residual).clamp(0, 0.5)
    return torch.where(q > 0.5, q * torch.log1p(-other), torch.xlogy(q, q))


def _log(q: Tensor) -> Tensor:
    """ln q, finite at 0, where nothing hangs on it."""
    return torch.log(q.clamp(min=1e-300))


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
        """log(1 + e^-|z|) + a |z|, a the target's share of the side that z is not on: no term is negative."""
        return self.evaluate(raw, target)[0]

    def residual(self, raw: Tensor, target: Tensor) -> Tensor:
        """(a - sigma(-|z|)) sign z, which is exactly -sigma(-|z|) or its opposite where the label is z's."""
        return self.evaluate(raw, target)[1]

    def evaluate(self, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both, from the same e^-|z|."""
        side = torch.ge(raw, 0).to(raw.dtype)
        size, other = raw.abs(), (side - target).abs_()
        small = size.neg().exp_()
        value = torch.log1p(small).addcmul_(other, size)
        small.div_(small + 1)
        return value.squeeze(1), other.sub_(small).mul_(side.mul_(2).sub_(1))

    def curvature_product(self, residual: Tensor, target: Tensor, vector: Tensor) -> Tensor:
        """q (1 - q) v."""
        return (target + residual) * ((1 - target) - residual) * vector

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

    def spread(self, raw_step: Tensor) -> Tensor:
        """|step|."""
        return raw_step.abs().squeeze(1)

    def margin(self, raw: Tensor, target: Tensor) -> Tensor:
        """z for class 1, -z for class 0, -|z| for a target in between."""
        between = (target > 0) & (target < 1)
        return torch.where(between, -raw.abs(), (2 * target - 1) * raw).squeeze(1)

    def contrasts(self, target: Tensor) -> Tensor:
        """+1 for class 1, -1 for class 0."""
        return (2 * target - 1)[:, None, :]


def _varied(q: Tensor, likeliest: Tensor, vector: Tensor) -> Tensor:
    """(diag q - q q') v, with v measured from the likeliest class, so that nothing cancels."""
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
        """K."""
        return self.n_classes

    def basis(self) -> Tensor:
        """Helmert contrasts: orthonormal columns, each orthogonal to the all-ones vector the loss cannot see."""
        columns = torch.zeros(self.n_classes, self.n_classes - 1, dtype=torch.float64)
        for k in range(1, self.n_classes):
            columns[:k, k - 1] = 1 / math.sqrt(k * (k + 1))
            columns[k, k - 1] = -k / math.sqrt(k * (k + 1))
        return columns

    def value(self, raw: Tensor, target: Tensor) -> Tensor:
        """log(1 + sum of the others' e^(z_k - max)) + sum_k y_k (max - z_k)."""
        return self.evaluate(raw, target)[0]

    def residual(self, raw: Tensor, target: Tensor) -> Tensor:
        """p_k (1 - y_k) - y_k (1 - p_k), with 1 - p_k summed from the others' terms."""
        return self.evaluate(raw, target)[1]

    def evaluate(self, raw: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both, from the same e^(z_k - max)."""
        top, arg = raw.max(dim=1, keepdim=True)
        below = raw - top
        e = torch.exp(below)
        others_of_top = e.scatter(1, arg, 0.0).sum(dim=1, keepdim=True)
        value = torch.log1p(others_of_top).squeeze(1).sub_((target * below).sum(dim=1))
        total = 1 + others_of_top
        others = (total - e).scatter_(1, arg, others_of_top)
        return value, e.mul_(1 - target).sub_(others.mul_(target)).div_(total)

    def curvature_product(self, residual: Tensor, target: Tensor, vector: Tensor) -> Tensor:
        """(diag q - q q') v, as q_k (v_k - sum_l q_l v_l) with v measured from the likeliest class."""
        q = target + residual
        return _varied(q, q.argmax(dim=1, keepdim=True), vector)

    def negative_entropy(self, residual: Tensor, target: Tensor) -> Tensor:
        """sum_k q_k ln q_k."""
        return _q_log_q(residual, target).sum(dim=1)

    def canonical(self, residual: Tensor, target: Tensor) -> Tensor:
        """ln q."""
        return _log(target + residual)

    def total_variance(self, residual: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """sum s (diag q - q q'), its diagonal from the products with the others: rows sum to zero."""
        q = target + residual
        products = (q * weight[:, None]).T @ q
        products.fill_diagonal_(0.0)
        return torch.diag(products.sum(dim=1)) - products

    def curvature(self, residual: Tensor, target: Tensor, weight: Tensor) -> Callable[[slice, Tensor], Tensor]:
        """s (diag q - q q') v."""
        likeliest = (target + residual).argmax(dim=1, keepdim=True)
        return lambda rows, vector: _varied(target[rows] + residual[rows], likeliest[rows], vector).mul_(
            weight[rows, None]
        )

    def dual_point(self, residual: Tensor, target: Tensor, raw_step: Tensor) -> Tensor:
        """p_k (1 + step_k - mean step), each factor at least 1/16, renormalised."""
        p = target + residual
        step = self.curvature_product(residual, target, raw_step)
        moved = residual + step
        floor = INSIDE * p - target
        lifted = torch.maximum(moved, floor)
        excess = (lifted - moved).sum(dim=1, keepdim=True)  # what lifting added; taken from all in proportion
        return torch.where(excess > 0, (lifted - excess * target) / (1 + excess), lifted)

    def spread(self, raw_step: Tensor) -> Tensor:
        """max_k step_k - min_k step_k."""
        return raw_step.amax(dim=1) - raw_step.amin(dim=1)

    def margin(self, raw: Tensor, target: Tensor) -> Tensor:
        """The smallest z of a wanted class less the largest of the others; of all, where several are wanted."""
        wanted = target > 0
        hard = wanted.sum(dim=1, keepdim=True) == 1
        own = raw.masked_fill(~wanted, math.inf).amin(dim=1)
        return own - raw.masked_fill(wanted & hard, -math.inf).amax(dim=1)

    def contrasts(self, target: Tensor) -> Tensor:
        """e_y - e_k for every other class k."""
        n, k = target.shape
        others = torch.eye(k, dtype=target.dtype, device=target.device).expand(n, k, k)
        return (target[:, None, :] - others)[target == 0].reshape(n, k - 1, k)


def loss_for(n_classes: int) -> Loss:
    """The loss for this many classes: one logit for two, softmax for more."""
    return Logistic() if n_classes == 2 else Softmax(n_classes)


LOSSES: dict[str, Loss] = {"logistic": Logistic(), "softmax": Softmax(3)}
