"""Modules for torch networks: the objective as a loss, and as the last layer of a network.

    F = sum over the batches of  sum_i s_i loss(raw_i, y_i)  +  (the batch's share of all weight) * Omega(W)

The formulas are those of `losses` and `penalties`; autograd functions connect them with their derivatives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from torchlogit.errors import InputError
from torchlogit.losses import Logistic, Loss, Softmax, loss_for
from torchlogit.metrics import targets
from torchlogit.penalties import ElasticNet


class LogisticLoss(nn.Module):
    """The loss sum_i s_i loss(raw_i, y_i), in nats.

    It is a sum, so that the losses of batches add up to the loss of all rows; for a mean, divide it by the weight. The
    loss and its first and second derivatives are finite for any finite raw prediction.

    Notes
    -----
    One column of raw predictions holds the logits of the second of two classes; several columns are the inputs of a
    softmax. Half precision is computed in float32.

    Examples
    --------
    >>> raw = torch.tensor([[0.0], [2.0], [-1.0]], requires_grad=True)
    >>> loss = LogisticLoss()(raw, torch.tensor([1, 1, 0]), torch.tensor([1.0, 0.5, 2.0]))
    >>> round(loss.item(), 4)
    1.3831
    >>> torch.autograd.grad(loss, raw)[0].squeeze()
    tensor([-0.5000, -0.0596,  0.5379])
    """

    def forward(self, raw: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of these rows, a scalar.

        Parameters
        ----------
        raw : Tensor of shape (n, 1) or (n, n_classes)
            Raw predictions.
        target : Tensor
            Either class indices, integers (n,); or probabilities, floats: of the second of two classes, (n,) or (n, 1),
            or of each class, (n, n_classes).
        weight : Tensor of shape (n,), optional
            Weights, not negative.

        Raises
        ------
        InputError
            For other shapes, and for targets outside [0, 1] or that require a gradient.
        """
        if raw.ndim != 2 or not raw.is_floating_point():
            raise InputError(f"raw of shape {tuple(raw.shape)}, {raw.dtype}: expected floats, (n, 1) or (n, classes)")
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        loss: Loss = Logistic() if raw.shape[1] == 1 else Softmax(raw.shape[1])
        probabilities = _probabilities(loss, target, len(raw)).to(raw)
        values: Tensor = _Value.apply(raw, probabilities, loss)  # type: ignore[no-untyped-call]
        if weight is None:
            return values.sum()
        if weight.shape != values.shape:
            raise InputError(f"weight of shape {tuple(weight.shape)}: expected {tuple(values.shape)}, one number a row")
        return (values * weight.to(values)).sum()


class LogisticHead(nn.Module):
    """The last layer of a network: a linear layer from features to raw predictions, and its penalised objective.

    Parameters
    ----------
    in_features : int
        The number of features.
    n_classes : int, default 2
        The number of classes.
    l1, l2 : float
        Strengths of the penalty, as in `LogisticRegression`: they do not depend on the number of rows, and the bias is
        not penalised.

    Attributes
    ----------
    linear : torch.nn.Linear
        One output for two classes, n_classes outputs for more; weight and bias are zero at first.

    Examples
    --------
    >>> head = LogisticHead(2, n_classes=3, l2=2.0)
    >>> features, target = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 2])
    >>> round(head.objective(head(features), target, total_weight=2).item(), 4)  # 2 ln 3
    2.1972
    """

    def __init__(self, in_features: int, n_classes: int = 2, *, l1: float = 0.0, l2: float = 1.0) -> None:
        super().__init__()
        if n_classes < 2:
            raise InputError(f"n_classes={n_classes}: expected at least two classes")
        self.penalty = ElasticNet(l1, l2)
        self.loss = LogisticLoss()
        self.linear = nn.Linear(in_features, loss_for(n_classes).n_outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Raw predictions, (n, 1) for two classes or (n, n_classes) for more, from features (n, in_features)."""
        raw: Tensor = self.linear(features)
        return raw

    def objective(self, raw: Tensor, target: Tensor, weight: Tensor | None = None, *, total_weight: float) -> Tensor:
        """The share of F that belongs to these rows; the shares of all batches of an epoch add up to F.

        The penalty is divided among batches in proportion to their weight. The derivative of l1 |w| at w = 0 is taken
        to be 0.

        Parameters
        ----------
        raw, target, weight
            As in `LogisticLoss`.
        total_weight : float
            The weight of all rows of the epoch; their number, where all weights are 1.
        """
        if not total_weight > 0:
            raise InputError(f"total_weight={total_weight}: expected the positive total weight of all rows")
        share = (len(raw) if weight is None else weight.sum()) / total_weight
        omega: Tensor = _Penalty.apply(self.linear.weight, self.penalty)  # type: ignore[no-untyped-call]
        loss: Tensor = self.loss(raw, target, weight)
        return loss + share * omega


class _Value(torch.autograd.Function):
    """`Loss.value`, (n,). Its derivative with respect to the raw prediction is the residual."""

    @staticmethod
    def forward(raw: Tensor, target: Tensor, loss: Loss) -> Tensor:
        return loss.value(raw, target)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Loss], output: Tensor) -> None:
        raw, target, ctx.loss = inputs
        ctx.save_for_backward(raw, target)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        residual: Tensor = _Residual.apply(*ctx.saved_tensors, ctx.loss)  # type: ignore[no-untyped-call]
        return gradient[:, None] * residual, None, None


class _Residual(torch.autograd.Function):
    """`Loss.residual`, (n, n_outputs). Its derivative is the curvature, one symmetric matrix per row."""

    @staticmethod
    def forward(raw: Tensor, target: Tensor, loss: Loss) -> Tensor:
        return loss.residual(raw, target)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Loss], output: Tensor) -> None:
        _, target, ctx.loss = inputs
        ctx.save_for_backward(output, target)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.loss.curvature_product(*ctx.saved_tensors, gradient), None, None


class _Penalty(torch.autograd.Function):
    """`ElasticNet.value` of a Linear's weight (n_outputs, n_features), the transpose of the penalty's coefficients."""

    @staticmethod
    def forward(weight: Tensor, penalty: ElasticNet) -> Tensor:
        return weight.new_tensor(penalty.value(weight.T))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ElasticNet], output: Tensor) -> None:
        weight, ctx.penalty = inputs
        ctx.save_for_backward(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        rates = ctx.penalty.l1_rates(weight.shape[1]).to(weight)
        return gradient * (ctx.penalty.gradient(weight.T).T + rates * weight.sign()), None


def _probabilities(loss: Loss, target: Tensor, n: int) -> Tensor:
    """The target as (n, n_outputs) probabilities."""
    if target.requires_grad:
        raise InputError("target requires a gradient, which the loss does not compute: detach it")
    if target.shape == (n,) and not target.is_floating_point():
        last_class = max(loss.n_outputs, 2) - 1
        if n and (int(target.min()) < 0 or int(target.max()) > last_class):
            raise InputError(
                f"target holds classes outside 0 to {last_class}: the raw prediction has no output for them"
            )
        return targets(loss, target)
    shaped = target[:, None] if target.ndim == 1 and loss.n_outputs == 1 else target
    if shaped.shape != (n, loss.n_outputs) or not shaped.is_floating_point():
        raise InputError(
            f"target of shape {tuple(target.shape)} and {target.dtype}: expected ({n},) whole numbers, the classes, or "
            f"({n}, {loss.n_outputs}) floats, their probabilities"
        )
    if not bool(((shaped >= 0) & (shaped <= 1)).all()):
        raise InputError("target holds values outside [0, 1]: expected probabilities, or whole numbers, the classes")
    return shaped
