"""Approximate leave-one-out: the loss of each row under a fit that does not contain it.

The fit without row i is approximated by one Newton step from the optimum, with the Hessian without that row. If a row
counts as several observations, only the weight s_i of one is left out. The step moves the row's raw prediction

    z_i  ->  z_i + (I - A_i s_i C_i)^-1 A_i s_i r_i,      A_i = (x_i' (x) I) H^-1 (x_i (x) I),

where r_i is the residual, C_i the loss's curvature and H the Hessian of F. For two classes it becomes
z_i + h s_i r_i / (1 - h s_i c_i) with the leverage h = x_i' H^-1 x_i. Source: Rad and Maleki 2020, arXiv:1801.10243,
there for one output and no weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.quadratic import Factor

CHUNK = 1024  # rows computed at once; more: larger temporaries
# Leverages are reduced by this share. A row that alone determines a direction has a leverage of 1, which rounding could
# turn into more, and the system to solve would be singular.
LEVERAGE_MARGIN = 1e-6


def left_out_losses(objective: Objective, theta: Tensor, factored: Factor, weight: Tensor) -> Tensor:
    """The loss of each row if it were left out of the fit, (n,), not weighted.

    objective: the rows. theta: the optimum. factored: the Hessian of all of F at theta, in free coordinates.
    weight (n,): how much of each row's weight is left out, at most all of it.

    >>> from torchlogit.design import Dense
    >>> from torchlogit.losses import Logistic
    >>> from torchlogit.penalties import ElasticNet
    >>> from torchlogit.quadratic import factor
    >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    >>> F = Objective.of(Dense.of(x), y, loss=Logistic(), penalty=ElasticNet(l2=1.0))
    >>> theta = torch.tensor([[1.0], [-1.5]], dtype=torch.float64)
    >>> hessian = F.hessian(F.residual(F.raw(theta)))
    >>> left_out_losses(F, theta, factor(hessian), F.weight).shape
    torch.Size([4])
    """
    basis, loss, target = objective.basis(), objective.loss, objective.target
    n_free, p = basis.shape[1], objective.design.shape[1]
    inverse = factored.inverse().reshape(n_free, p, n_free, p)
    raw = objective.raw(theta)
    residual = objective.residual(raw)
    losses = torch.empty_like(weight)
    identity = torch.eye(n_free).to(target)
    for start in range(0, len(losses), CHUNK):
        rows = slice(start, min(start + CHUNK, len(losses)))
        x = objective.design.rows(rows.start, rows.stop).dense()
        inverse_at_row = torch.empty(len(x), n_free, n_free).to(target)
        for k in range(n_free):
            for m in range(k + 1):
                inverse_at_row[:, k, m] = inverse_at_row[:, m, k] = ((x @ inverse[k, :, m]) * x).sum(dim=1)
        r, y, s = residual[rows], target[rows], weight[rows, None]
        directions = (loss.curvature_product(r, y, direction.expand_as(r)) @ basis for direction in basis.T)
        curvature = torch.stack(list(directions), dim=2) * s[:, :, None]
        leverage = (1 - LEVERAGE_MARGIN) * (inverse_at_row @ curvature)
        step = inverse_at_row @ (s * (r @ basis))[:, :, None]
        moved = torch.linalg.solve(identity - leverage, step)[:, :, 0] @ basis.T
        losses[rows] = loss.value(raw[rows] + moved, y)
    return losses


def degrees_of_freedom(objective: Objective, factored: Factor) -> float:
    """The effective number of parameters, tr(H^-1 (H - P)), P the penalty's Hessian; intercepts are included."""
    diagonal = factored.inverse().diagonal()
    return float(factored.rank - objective.precision.repeat(objective.n_free) @ diagonal)
