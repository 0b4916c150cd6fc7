"""Approximate leave-one-out: what every row's loss would be, had the fit not seen it.

Without row i, or that part s_i of its weight that counts as one observation, one Newton step from the optimum, by the
Hessian without it, moves its raw prediction

    z_i  ->  z_i + (I - A_i s_i C_i)^-1 A_i s_i r_i,      A_i = (x_i' (x) I) H^-1 (x_i (x) I),

r_i the residual, C_i the loss's curvature, H the Hessian of F; for two classes z_i + h s_i r_i / (1 - h s_i c_i) with
the leverage h = x_i' H^-1 x_i. Source: Rad and Maleki 2020, arXiv:1801.10243, there for one output and no weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchlogit.objective import Objective
from torchlogit.quadratic import Factor

CHUNK = 1024  # rows that are worked on at once
ROUNDING = 1e-6  # a row alone may hold up all of a direction, nearly, and rounding would have it be more


def left_out(objective: Objective, theta: Tensor, factored: Factor, weight: Tensor) -> Tensor:
    """The loss of every row had it been left out of the fit with optimum theta, (n,), not weighted.

    objective: the rows. factored: the Hessian of all of F at theta, in free coordinates. weight (n,): what is left out
    of each row's weight, at most all of it.

    >>> from torchlogit.design import Dense
    >>> from torchlogit.losses import Logistic
    >>> from torchlogit.penalties import ElasticNet
    >>> from torchlogit.quadratic import factor
    >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    >>> F = Objective.of(Dense.of(x), y, loss=Logistic(), penalty=ElasticNet(l2=1.0))
    >>> theta = torch.tensor([[1.0], [-1.5]], dtype=torch.float64)
    >>> hessian = F.hessian(F.residual(F.raw(theta)))
    >>> left_out(F, theta, factor(hessian), F.weight).shape
    torch.Size([4])
    """
    basis, loss, target = objective.basis(), objective.loss, objective.target
    n_free, p = basis.shape[1], objective.design.shape[1]
    inverse = factored.inverse().reshape(n_free, p, n_free, p)
    raw = objective.raw(theta)
    residual = objective.residual(raw)
    losses = torch.empty_like(weight)
    one = torch.eye(n_free).to(target)
    for start in range(0, len(losses), CHUNK):
        rows = slice(start, min(start + CHUNK, len(losses)))
        x = objective.design.rows(rows.start, rows.stop).dense()
        spread = torch.empty(len(x), n_free, n_free).to(target)
        for k in range(n_free):
            for m in range(k + 1):
                spread[:, k, m] = spread[:, m, k] = ((x @ inverse[k, :, m]) * x).sum(dim=1)
        r, y, s = residual[rows], target[rows], weight[rows, None]
        directions = (loss.curvature_product(r, y, direction.expand_as(r)) @ basis for direction in basis.T)
        curvature = torch.stack(list(directions), dim=2) * s[:, :, None]
        own = (1 - ROUNDING) * (spread @ curvature)
        pull = spread @ (s * (r @ basis))[:, :, None]
        moved = torch.linalg.solve(one - own, pull)[:, :, 0] @ basis.T
        losses[rows] = loss.value(raw[rows] + moved, y)
    return losses


def degrees_of_freedom(objective: Objective, factored: Factor) -> float:
    """tr(H^-1 (H - P)), P the penalty's own Hessian: the parameters that the data determine, intercepts included."""
    n_free = objective.basis().shape[1]
    diagonal = factored.inverse().diagonal()
    return float(factored.rank - objective.precision().repeat(n_free) @ diagonal)
